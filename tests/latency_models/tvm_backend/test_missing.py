import subprocess
import sys
from importlib import metadata

import pytest

from latency_models import tvm_backend
from latency_models.target import Target


@pytest.mark.parametrize(
    ("found", "what"), [(None, "the package apache-tvm-ffi 0.1.14.post1"), ("0.1.15", "(version 0.1.15 is here)")]
)
def test_another_version_is_missing_too(monkeypatch: pytest.MonkeyPatch, found: str | None, what: str) -> None:
    def version(package: str) -> str:
        if package == "apache-tvm":
            return tvm_backend.PACKAGES[package]
        if found is None:
            raise metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr(metadata, "version", version)
    (missing,) = tvm_backend.missing(Target())
    assert what in missing.what
    assert missing.remedy == "pip install apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.14.post1"


def test_asking_does_not_import_tvm() -> None:
    code = (
        "import sys; from latency_models import tvm_backend; from latency_models.target import Target; "
        "tvm_backend.missing(Target()); tvm_backend.environment(Target()); sys.exit('tvm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
