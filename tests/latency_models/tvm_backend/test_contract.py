from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from latency_models import tvm_backend
from latency_models.artifact import Artifact
from latency_models.target import Target
from tests.latency_models.contract import FEED, BackendContract, LoadedRunner, two_input_network
from tests.latency_models.tvm_backend.networks import TARGET

pytest.importorskip("tvm", reason="TVM is not installed")


class TestTvm(BackendContract):
    target = TARGET

    def load(self, artifact: Artifact, target: Target, feed: Mapping[str, NDArray[np.generic]]) -> LoadedRunner:
        return tvm_backend.load(artifact, target, feed)

    def environment(self, target: Target) -> dict[str, str]:
        return tvm_backend.environment(target)


def test_environment_names_tvm_and_not_what_does_not_run() -> None:
    environment = tvm_backend.environment(TARGET)
    assert environment["apache-tvm"] == "0.27.0.post1"
    assert "onnxruntime" not in environment


def test_kernels_are_named_once_and_timed(tmp_path: Path) -> None:
    kernels = tvm_backend.kernels(two_input_network(tmp_path / "n.onnx"), TARGET, FEED)
    assert [(one.operator, one.n_flops, one.n_in, one.n_out) for one in kernels] == [("Gemm", 12, 2, 2)]
    assert kernels[0].n_bytes == 4 * (2 + 4 + 2 + 2 + 2)
    assert 0 < kernels[0].seconds < 1e-3
