import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from latency_models.errors import LatencyError
from latency_models.target import Processor, Target
from tests.latency_models.tvm_backend.networks import TARGET, network, node, normal

tvm = pytest.importorskip("tvm", reason="TVM is not installed")

from latency_models.artifact import Artifact  # noqa: E402
from latency_models.tvm_backend.build import compile_network  # noqa: E402

X = normal(1, 4)
WEIGHT = normal(4, 24, seed=1)


def small(path: Path) -> Artifact:
    return network(path, [node("MatMul", "x w", "m"), node("Relu", "m", "y")], {"x": X}, {"w": WEIGHT})


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_an_exported_library_computes_the_same_whether_its_kernels_are_new_or_known(tmp_path: Path) -> None:
    for name in ("new", "known"):
        compiled = compile_network(small(tmp_path / "n.onnx"), TARGET, {"x": (1, 4)})
        library = tvm.runtime.load_module(str(compiled.export(tmp_path / f"{name}.so", "gcc")))
        machine = tvm.relax.VirtualMachine(library, tvm.cpu())
        found = machine["main"](tvm.runtime.tensor(X)).numpy()
        np.testing.assert_allclose(found, np.maximum(X @ WEIGHT, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no cross compiler is installed")
def test_a_library_for_arm_is_one(tmp_path: Path) -> None:
    processor = Processor("aarch64-linux-gnu", "cortex-a72", vector_bits=128, n_vector_registers=32)
    compiled = compile_network(small(tmp_path / "n.onnx"), Target("pi4", "tvm", processor=processor), {"x": (1, 4)})
    library = compiled.export(tmp_path / "n.so", "aarch64-linux-gnu-gcc")
    header = subprocess.run(["aarch64-linux-gnu-readelf", "-h", library], capture_output=True, text=True, check=True)
    assert "AArch64" in header.stdout


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path) -> None:
    compiled = compile_network(small(tmp_path / "n.onnx"), TARGET, {"x": (1, 4)})
    with pytest.raises(LatencyError, match="no-such-gcc cannot link"):
        compiled.export(tmp_path / "n.so", "no-such-gcc")
