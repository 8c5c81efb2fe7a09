"""Which package may import which, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "search_spaces": {"nas", "latency_models"},
    "latency_models": {"nas", "search_spaces", "torch", "torch_pruning"},
}


def imported(source: str) -> Iterator[str]:
    """Top-level packages that a module imports anywhere, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield from (str(arg.value).partition(".")[0] for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_keep_to_themselves(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 3
    broken = {
        str(file.relative_to(ROOT)): found
        for file in files
        if (found := FORBIDDEN[package] & set(imported(file.read_text())))
    }
    assert broken == {}


def test_the_reader_sees_every_form_of_import() -> None:
    source = "import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n    import h\nimportlib.import_module('i.j')\n"
    assert set(imported(source)) == {"a", "c", "h", "i"}
