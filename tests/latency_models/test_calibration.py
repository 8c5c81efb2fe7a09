"""Measurements that outlive the process, and never meet those of another teacher or machine."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from latency_models.calibration import FILE, Measurement, folder_of, forget, keep, kept, reference_s
from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.predict.kernels import network_of
from tests.latency_models.simulated import chain


def measurement(folder: Path, name: str = "a") -> Measurement:
    network = network_of(chain(folder / "it.onnx", [8, 16]))
    shares = tuple((kernel, 0.1 * i) for i, kernel in enumerate(network.kernels, 1))
    return Measurement(name, "float32", network, (Visit((1.0, 2.0), (4.0, 4.0)), Visit((3.0,), (6.0,))), shares)


def test_what_is_kept_comes_back_equal_and_in_order(tmp_path: Path) -> None:
    first, second = measurement(tmp_path, "b"), measurement(tmp_path, "a")
    assert kept(tmp_path / "none") == ()
    for one in (first, second):
        keep(tmp_path / "kept", one)
    assert kept(tmp_path / "kept") == (first, second)
    newer = replace(first, visits=(Visit((5.0,), (5.0,)),))
    keep(tmp_path / "kept", newer)
    assert kept(tmp_path / "kept") == (newer, second)
    forget(tmp_path / "kept", ["b", "unknown"])
    assert kept(tmp_path / "kept") == (second,)


def test_a_sample_is_the_ratio_on_one_scale_for_all(tmp_path: Path) -> None:
    one = measurement(tmp_path)
    # Visits of ratios sqrt(1/4 * 2/4) and 3/6, their median in logarithms.
    assert one.ratio == pytest.approx((0.125**0.5 * 0.5) ** 0.5)
    assert reference_s([one]) == 4.0
    sample = one.sample(10.0)
    assert sample.seconds == pytest.approx(10 * one.ratio)
    assert [seconds for _, seconds in sample.kernel_s] == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_the_folder_is_of_a_target_an_environment_and_a_teacher_but_for_its_weights(tmp_path: Path) -> None:
    teacher = chain(tmp_path / "a.onnx", [8, 16])
    retrained = chain(tmp_path / "b.onnx", [8, 16], seed=1)
    wider = chain(tmp_path / "c.onnx", [8, 17])
    assert teacher.digest != retrained.digest
    here = folder_of("cpu-1t", {"os": "x"}, teacher, tmp_path)
    assert here.parent == tmp_path
    assert here.name.startswith("cpu-1t-")
    assert folder_of("cpu-1t", {"os": "x"}, retrained, tmp_path) == here
    others = [
        folder_of("cpu-1t", {"os": "x"}, wider, tmp_path),
        folder_of("cpu-1t", {"os": "y"}, teacher, tmp_path),
        folder_of("cpu:2t", {"os": "x"}, teacher, tmp_path),
    ]
    assert len({here, *others}) == 4
    assert others[2].name.startswith("cpu-2t-")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("this is no database, but it is long enough to be taken for one " * 10)
    with pytest.raises(LatencyError, match="cannot be used"):
        kept(tmp_path)
    with pytest.raises(LatencyError, match="delete that folder"):
        keep(tmp_path, measurement(tmp_path))


def test_a_process_that_is_killed_leaves_what_it_had_kept(tmp_path: Path) -> None:
    keep(tmp_path, measurement(tmp_path, "before"))
    script = (
        "import sys; from pathlib import Path\n"
        "from latency_models.calibration import keep, kept; from dataclasses import replace\n"
        "folder = Path(sys.argv[1]); one = kept(folder)[0]\n"
        "keep(folder, replace(one, name='during')); print('kept', flush=True)\n"
        "while True: keep(folder, replace(one, name='again'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "kept\n"
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [one.name for one in kept(tmp_path)][:2] == ["before", "during"]
