from pathlib import Path
from typing import Any

import pytest

from latency_models.cuda_library import DeviceClock, loaded_library, loads, missing_driver
from latency_models.errors import DeviceError


class Runtime:
    """What the clock calls of CUDA's runtime: notes the order, and lets 2.5 ms pass between events."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[str] = []
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> int:
            self.calls.append(name)
            if name.endswith("Create"):
                arguments[0]._obj.value = len(self.calls)
            if name == "cudaEventElapsedTime":
                arguments[0]._obj.value = 2.5
            return 719 if name == self.failing else 0

        return function


def test_seconds_are_between_two_events_around_the_work() -> None:
    runtime = Runtime()
    clock = DeviceClock(runtime)
    assert clock.stream.value == 1
    runtime.calls.clear()
    assert clock.seconds(lambda: runtime.calls.append("work")) == pytest.approx(2.5e-3)
    assert runtime.calls == [
        "cudaEventRecord", "work", "cudaEventRecord", "cudaEventSynchronize", "cudaEventElapsedTime",
    ]  # fmt: skip
    clock.wait()
    assert runtime.calls[-1] == "cudaStreamSynchronize"


@pytest.mark.parametrize("failing", ["cudaStreamCreate", "cudaEventCreate"])
def test_a_runtime_that_refuses_is_the_devices_fault(failing: str) -> None:
    with pytest.raises(DeviceError, match=f"{failing} failed with error 719"):
        DeviceClock(Runtime(failing))


def test_a_failing_event_is_the_devices_fault() -> None:
    clock = DeviceClock(Runtime("cudaEventSynchronize"))
    with pytest.raises(DeviceError, match="cudaEventSynchronize failed with error 719"):
        clock.seconds(lambda: None)


def test_libraries_that_load_and_do_not() -> None:
    assert loads("libc.so.6")
    assert not loads("libnothing_of_this_name.so.1")


def test_a_missing_driver_says_what_to_do() -> None:
    found = missing_driver()
    assert len(found) == (0 if loads("libcuda.so.1") else 1)
    assert all("driver" in entry.what and entry.remedy for entry in found)


def test_libraries_of_this_process(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 08:01 12 /usr/lib/libfoo.so.1\n7f02-7f03 rw-p 00000000 00:00 0\n"
        "7f04-7f05 r-xp 00000000 08:01 13 /opt/a b/libcudart.so.13\n"
    )
    assert loaded_library("libcudart.so", maps) == "/opt/a b/libcudart.so.13"
    assert loaded_library("libbar", maps) is None
    assert loaded_library("libc.so") is not None
