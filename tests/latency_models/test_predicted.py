"""Predicted where enough is known, measured where not, and never one taken for the other."""

import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from latency_models.artifact import Artifact
from latency_models.calibration import Measurement, folder_of, keep, predictor_path, reference_s
from latency_models.drift import Watched
from latency_models.errors import LatencyError
from latency_models.estimated import Estimated
from latency_models.measured import Measured
from latency_models.open import open_predicted
from latency_models.predict.kernels import network_of
from latency_models.predict.learned import learn
from latency_models.predict.saved import save
from latency_models.predicted import ANCHOR_S, LEAST, Predicted
from latency_models.target import Target
from tests.latency_models.simulated import Device, Simulated, chain


@pytest.fixture
def simulated(tmp_path: Path) -> Simulated:
    return Simulated(Device(), chain(tmp_path / "teacher.onnx", [64, 64, 64]))


@pytest.fixture
def model(simulated: Simulated, tmp_path: Path) -> Predicted:
    return Predicted(Watched(cast(Measured, simulated)), simulated.anchor, tmp_path / "cache")


def students(folder: Path, n: int, seed: int = 0) -> list[Artifact]:
    generator = np.random.default_rng(seed)
    drawn = [generator.integers(8, 64, 3).tolist() for _ in range(n)]
    return [chain(folder / f"{seed}-{i}.onnx", widths) for i, widths in enumerate(drawn)]


def truth(simulated: Simulated, artifact: Artifact) -> float:
    def seconds(one: Artifact) -> float:
        return 1e-3 + sum(map(simulated.device.kernel_s, network_of(one).kernels))

    return seconds(artifact) / seconds(simulated.anchor)


def test_nothing_is_predicted_before_enough_was_measured(model: Predicted, tmp_path: Path) -> None:
    measured, unseen = students(tmp_path, LEAST), students(tmp_path, 1, seed=1)[0]
    for one in measured:
        assert model.predicted(unseen) is None
        assert model.latency(one).source == "measured"
    assert model.n_known("float32") == LEAST
    latency = model.predicted(unseen)
    assert latency is not None
    assert latency.source == "predicted"


def test_a_prediction_carries_its_interval_its_error_and_no_visit(
    model: Predicted, simulated: Simulated, tmp_path: Path
) -> None:
    for one in students(tmp_path, 30):
        model.latency(one)
    n_asked, inside, off = len(simulated.asked), 0, []
    anchor_s = 1e-3 + sum(map(simulated.device.kernel_s, network_of(simulated.anchor).kernels))
    for one in students(tmp_path, 40, seed=1):
        latency = model.predicted(one)
        if latency is None:
            continue
        assert latency.ratio_low < latency.ratio < latency.ratio_high
        assert latency.median_s / latency.ratio == pytest.approx(anchor_s, rel=0.01)
        assert latency.low_s / latency.median_s == pytest.approx(latency.ratio_low / latency.ratio)
        assert math.log(latency.ratio_high / latency.ratio) >= 0.0099999
        assert latency.visits == ()
        assert latency.known_error is not None
        assert 0 < latency.known_error < 0.05
        assert latency.environment["predicted_from"] == "30 measured students"
        off.append(abs(latency.ratio / truth(simulated, one) - 1))
        inside += latency.ratio_low <= truth(simulated, one) <= latency.ratio_high
    assert len(simulated.asked) == n_asked
    assert len(off) >= 35
    assert np.median(off) < 0.03
    assert inside >= 0.85 * len(off)


def test_what_lies_outside_is_measured_and_learned_from(model: Predicted, tmp_path: Path) -> None:
    for one in students(tmp_path, 12):
        model.latency(one)
    pools = [chain(tmp_path / f"pools{i}.onnx", [16 + i, 16, 16], n_pools=i + 1) for i in range(5)]
    assert model.predicted(pools[4]) is None
    for one in pools[:4]:
        model.latency(one)
    found = model.predicted(pools[3])
    assert found is not None
    assert found.environment["predicted_from"] == "16 measured students"


def test_the_same_network_with_other_weights_is_no_further_student(model: Predicted, tmp_path: Path) -> None:
    first, retrained = (chain(tmp_path / f"{seed}.onnx", [8, 8], seed=seed) for seed in (0, 1))
    once = model.latency(first)
    model.latency(retrained, once.visits)
    assert model.n_known("float32") == 1
    model.latency(chain(tmp_path / "teacher-again.onnx", [64, 64, 64]))
    assert model.n_known("float32") == 1  # the anchor itself tells the scale, and is no student


def calibrate(simulated: Simulated, folder: Path, root: Path, n: int) -> Path:
    where = folder_of(simulated.target.label, simulated.environment(), simulated.anchor, root)
    measured = [
        Measurement(f"{i}", "float32", network_of(one), simulated.latency(one).visits)
        for i, one in enumerate(students(folder, n, seed=3))
    ]
    for one in measured:
        keep(where, one)
    anchor_s = reference_s(measured)
    predictor = learn([one.sample(anchor_s) for one in measured], "simulated-1t", {ANCHOR_S: repr(anchor_s)})
    save(predictor, predictor_path(where, "float32"))
    return where


def test_a_calibration_is_used_from_the_beginning_and_added_to(
    model: Predicted, simulated: Simulated, tmp_path: Path
) -> None:
    calibrate(simulated, tmp_path, tmp_path / "cache", 20)
    n_asked = len(simulated.asked)
    unseen = students(tmp_path, 1, seed=1)[0]
    latency = model.predicted(unseen)
    assert latency is not None
    assert latency.ratio == pytest.approx(truth(simulated, unseen), rel=0.1)
    assert len(simulated.asked) == n_asked
    for one in students(tmp_path, 5, seed=4):
        model.latency(one)
    again = model.predicted(unseen)
    assert again is not None
    assert again.environment["predicted_from"] == "25 measured students"


def test_a_damaged_calibration_is_told_and_not_passed_over(
    model: Predicted, simulated: Simulated, tmp_path: Path
) -> None:
    predictor_path(calibrate(simulated, tmp_path, tmp_path / "cache", 10), "float32").write_text("{}")
    with pytest.raises(LatencyError, match="Run `nas calibrate` again"):
        model.predicted(students(tmp_path, 1, seed=1)[0])


def test_kernels_of_a_measured_student_are_learned_from(model: Predicted, tmp_path: Path) -> None:
    some = students(tmp_path, 9)
    for one in some:
        model.latency(one)
    assert len(model.kernels(some[0])) == 5
    assert model.predicted(students(tmp_path, 1, seed=1)[0]) is not None


def test_an_estimate_stays_one_and_what_measures_is_closed(simulated: Simulated, tmp_path: Path) -> None:
    assert isinstance(
        open_predicted(Target(access="estimate", runtime="tvm", known_error=0.1), simulated.anchor, {}, 0), Estimated
    )
    model = Predicted(Watched(cast(Measured, simulated)), simulated.anchor, tmp_path)
    assert model.refusal("float16") == "no float16 here"
    model.close()
    assert simulated.closed
