"""The whole tree passes ruff and mypy, with the settings in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check", "--diff")], ids=["lint", "format"])
def test_ruff(arguments: tuple[str, ...]) -> None:
    _passes("ruff", *arguments, ".")


def test_mypy() -> None:
    _passes("mypy")


def _passes(tool: str, *arguments: str) -> None:
    """Runs a tool of this environment on the repository and fails with what it printed."""
    command = [sys.executable, "-m", tool, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{tool} {' '.join(arguments)} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
