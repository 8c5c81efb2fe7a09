from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_models import estimate
from latency_models.errors import LatencyError
from latency_models.profiles import resolve
from latency_models.target import Target
from tests.latency_models.small_networks import FEED, convolutional

A72 = resolve("estimate:cortex-a72")
LACKING = [each.what for each in estimate.missing(A72)]
needs_tools = pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")


def changed(**values: object) -> Target:
    assert A72.processor is not None
    return replace(A72, processor=replace(A72.processor, **values))  # type: ignore[arg-type]


def test_a_core_whose_model_is_wrong_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LatencyError) as refusal:
        estimate.estimate(convolutional(tmp_path / "n.onnx"), resolve("estimate:cortex-a53"), FEED)
    assert refusal.value.problem == (
        "LLVM's model of the core cortex-a53 is known to be wrong, so its latency cannot be estimated."
    )
    assert refusal.value.remedy == "Measure on a board instead (target `tvm-rpc:...`)."


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (replace(A72, processor=None), "does not name the core's triple and clock"),
        (changed(clock_hz=0.0), "does not name the core's triple and clock"),
        (changed(cache_bytes=(), cache_bytes_per_cycle=(1.0,)), "gives 0 caches and 1 rates"),
        (changed(cache_bytes_per_cycle=(16.0, 8.0)), "gives 2 caches and 2 rates"),
        (replace(A72, n_threads=4), "holds for one thread"),
        (changed(triple="riscv64-linux-gnu"), "No estimate can be made"),
    ],
)
def test_a_profile_that_says_too_little_is_refused(tmp_path: Path, target: Target, said: str) -> None:
    with pytest.raises(LatencyError, match=said):
        estimate.estimate(convolutional(tmp_path / "n.onnx"), target, FEED)


def test_missing_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    remedies = [each.remedy for each in estimate.missing(A72) if each.remedy.startswith("apt")]
    assert remedies == [
        "apt install gcc-aarch64-linux-gnu", "apt install gcc", "apt install qemu-user", "apt install llvm-19",
    ]  # fmt: skip


@needs_tools
def test_the_environment_names_the_model_and_its_version() -> None:
    environment = estimate.environment(resolve("estimate:cortex-a76"))
    assert environment["machine_model"].startswith("neoverse-n1 of LLVM ")
    assert environment["clock_hz"] == "2400000000"


@pytest.mark.arm
@needs_tools
def test_a_wider_network_takes_longer(tmp_path: Path) -> None:
    """Kernel by kernel in order of execution; a faster clock makes all of them faster alike."""
    times = {n: estimate.estimate(convolutional(tmp_path / f"{n}.onnx", n), A72, FEED) for n in (8, 16)}
    totals = [sum(kernel.seconds for kernel in times[n]) for n in (8, 16)]
    assert totals[0] < totals[1]
    assert 1e-6 < totals[0] < 1e-3
    operators = [kernel.operator for kernel in times[8]]
    assert operators.count("Conv") == 2
    assert operators[-1] == "Gemm"
    assert len({kernel.name for kernel in times[8]}) == len(times[8])
    assert all(kernel.seconds > 0 for kernel in times[8])
    twice = estimate.estimate(convolutional(tmp_path / "8.onnx", 8), changed(clock_hz=3e9), FEED)
    np.testing.assert_allclose([kernel.seconds for kernel in twice], [kernel.seconds / 2 for kernel in times[8]])


@pytest.mark.arm
@needs_tools
def test_a_slower_memory_takes_longer(tmp_path: Path) -> None:
    artifact = convolutional(tmp_path / "n.onnx")
    quick = estimate.estimate(artifact, changed(cache_bytes=(1024,), cache_bytes_per_cycle=(16.0, 8.0)), FEED)
    slow = estimate.estimate(artifact, changed(cache_bytes=(1024,), cache_bytes_per_cycle=(16.0, 0.1)), FEED)
    assert sum(kernel.seconds for kernel in slow) > 1.5 * sum(kernel.seconds for kernel in quick)
