"""A device that one kind of kernel becomes slower on, and what is measured again then."""

from pathlib import Path
from typing import cast

import pytest

from latency_models.artifact import Artifact
from latency_models.drift import Watched
from latency_models.measured import Measured
from tests.latency_models.simulated import Device, Simulated, chain


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def simulated(device: Device, tmp_path: Path) -> Simulated:
    return Simulated(device, chain(tmp_path / "teacher.onnx", [64, 64, 64]))


@pytest.fixture
def students(tmp_path: Path) -> list[Artifact]:
    return [chain(tmp_path / f"{i}.onnx", [16 + 4 * i, 32], n_pools=40) for i in range(6)]


def watched(simulated: Simulated, every: int) -> Watched:
    return Watched(cast(Measured, simulated), every)


def test_on_a_steady_device_checks_find_nothing(simulated: Simulated, students: list[Artifact]) -> None:
    model = watched(simulated, 3)
    for one in students * 5:
        assert model.latency(one).source == "measured"
    assert model.n_checks == 10
    assert model.take_affected() == []
    assert len(simulated.asked) - 30 in range(10, 13)  # a visit each, and a second where one was off by chance
    assert {one.digest for one in simulated.asked[3::4]} == {students[0].digest}


def test_a_drift_affects_what_was_measured_since_the_last_good_check(
    simulated: Simulated, students: list[Artifact], device: Device
) -> None:
    model = watched(simulated, 3)
    latencies = [model.latency(one) for one in students[:4]]
    assert model.n_checks == 1
    device.slower["MaxPool"] = 3.0  # students have pools, the teacher has none
    latencies += [model.latency(one) for one in students[4:]]
    assert model.n_checks == 2
    affected = model.take_affected()
    assert [one for one, _ in affected] == students[3:6]
    assert [visit for _, visit in affected] == [one.visits[-1] for one in latencies[3:]]
    assert model.take_affected() == []
    for one in (*students[3:], *students):  # it stays as it is now, which is the new normal
        model.latency(one)
    assert model.n_checks == 5
    assert model.take_affected() == []
    device.slower.clear()
    assert not model.check()


def test_what_slows_everything_alike_is_no_drift(
    simulated: Simulated, students: list[Artifact], device: Device
) -> None:
    model = watched(simulated, 3)
    model.latency(students[0])
    device.slower = dict.fromkeys(("Conv", "MaxPool", "Gemm", "GlobalAveragePool"), 1.002)
    assert model.check()


def test_each_precision_has_a_control_and_a_lost_one_is_replaced(
    simulated: Simulated, students: list[Artifact]
) -> None:
    model = watched(simulated, 100)
    for one in students[:2]:
        model.latency(one)
    students[0].path.unlink()
    assert model.check()  # nothing to go by
    n = len(simulated.asked)
    model.latency(students[2])
    assert model.check()
    assert [one.digest for one in simulated.asked[n:]] == [students[2].digest] * 2


def test_earlier_measurements_hold_unless_all_of_them_moved(
    simulated: Simulated, students: list[Artifact], device: Device
) -> None:
    model = watched(simulated, 100)
    known = [(one, simulated.latency(one).visits) for one in students[:3]]
    assert model.agrees(known)
    device.slower["MaxPool"] = 1.5
    assert not model.agrees(known)
    assert model.agrees([*known, (students[3], simulated.latency(students[3]).visits)])
