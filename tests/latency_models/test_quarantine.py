import pytest

from latency_models.errors import DeviceError
from latency_models.quarantine import CoolDown, Quarantine


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_cool_downs_double_up_to_five_minutes() -> None:
    assert [CoolDown().after(n) for n in (1, 2, 3, 6, 7, 8, 10_000)] == [5, 10, 20, 160, 300, 300, 300]


def test_a_device_is_admitted_again_when_its_cool_down_is_over() -> None:
    clock = Clock()
    quarantine = Quarantine("pi4-4t", clock)
    quarantine.admit()
    quarantine.failed("No answer.")
    clock.now_s = 4.9
    with pytest.raises(DeviceError, match=r"pi4-4t is left alone for a while: No answer\."):
        quarantine.admit()
    clock.now_s = 5.0
    quarantine.admit()
    quarantine.failed("No answer.")
    clock.now_s = 14.9
    with pytest.raises(DeviceError):
        quarantine.admit()
    clock.now_s = 15.0
    quarantine.admit()
    quarantine.worked()
    quarantine.failed("No answer.")
    clock.now_s = 20.0
    quarantine.admit()
