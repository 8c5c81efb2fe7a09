"""Cross-compiled for aarch64 and run by TVM's RPC server on an emulated ARM board."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_models import onnxruntime_backend
from latency_models.board import Board
from latency_models.errors import LatencyError
from latency_models.measured import Measured
from latency_models.open import open_model
from latency_models.target import Remote, Target
from latency_models.timing import Plan
from tests.latency_models.emulated_arm import emulated_arm
from tests.latency_models.rpc_servers import CONV_FEED, conv_network

__all__ = ["emulated_arm"]
pytestmark = [pytest.mark.arm, pytest.mark.slow]


def test_a_cross_compiled_network_computes_the_same(emulated_arm: Target, tmp_path: Path) -> None:
    teacher, student = conv_network(tmp_path / "teacher.onnx"), conv_network(tmp_path / "student.onnx", seed=1)
    with open_model(emulated_arm, teacher, CONV_FEED, seed=0, plan=Plan(n_pairs=2)) as model:
        assert isinstance(model, Measured)
        outputs = model.outputs(student, [CONV_FEED, {"x": CONV_FEED["x"] ** 2}])
        latency = model.latency(student)
        environment = model.environment()
    reference = onnxruntime_backend.load(student, Target(), CONV_FEED)
    for got, feed in zip(outputs, (CONV_FEED, {"x": CONV_FEED["x"] ** 2}), strict=True):
        np.testing.assert_allclose(got[0], reference.outputs(feed)[0], rtol=1e-4, atol=1e-4)
    assert latency.target == "emulated-1t-emulated"
    assert environment["emulated"] == "yes"
    assert latency.environment == environment


def test_an_emulated_board_whose_profile_does_not_say_so_is_refused(emulated_arm: Target) -> None:
    assert emulated_arm.remote is not None
    silent: Remote = replace(emulated_arm.remote, emulated=False)
    with pytest.raises(LatencyError, match="emulated is emulated, so that its times are no latencies"):
        Board(replace(emulated_arm, remote=silent)).lease()
