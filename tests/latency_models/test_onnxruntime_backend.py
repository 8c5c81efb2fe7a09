from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from latency_models import onnxruntime_backend
from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.onnxruntime_backend import OrtRunner
from latency_models.target import Target
from tests.latency_models.contract import FEED, BackendContract, two_input_network


class TestOnnxRuntime(BackendContract):
    target = Target()

    def load(self, artifact: Artifact, target: Target, feed: Mapping[str, NDArray[np.generic]]) -> OrtRunner:
        return onnxruntime_backend.load(artifact, target, feed)

    def environment(self, target: Target) -> dict[str, str]:
        return onnxruntime_backend.environment(target)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_are_the_targets(tmp_path: Path, n_threads: int) -> None:
    artifact = two_input_network(tmp_path / "n.onnx")
    options = onnxruntime_backend.load(artifact, Target(n_threads=n_threads), FEED).session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (n_threads, 1)
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_run_computes_the_bound_feed(tmp_path: Path) -> None:
    runner = onnxruntime_backend.load(two_input_network(tmp_path / "n.onnx"), Target(), FEED)
    bound = runner.binding.get_outputs()[0]
    bound.update_inplace(np.zeros((1, 2), np.float32))
    runner.run()
    np.testing.assert_array_equal(bound.numpy(), [[5, 5]])


def test_environment_names_the_versions() -> None:
    environment = onnxruntime_backend.environment(Target())
    assert environment["onnxruntime"] == onnxruntime.__version__
    assert environment["numpy"] == np.__version__


def test_refusals_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    artifact = two_input_network(tmp_path / "n.onnx")
    artifact.path.write_bytes(b"not a network")
    with pytest.raises(LatencyError):
        onnxruntime_backend.load(Artifact.from_file(artifact.path, "float32"), Target(), FEED)
    assert capfd.readouterr() == ("", "")
