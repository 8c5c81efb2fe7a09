import os
import time

import pytest

from latency_models.errors import LatencyError
from latency_models.tvm_backend.trial_process import TrialLost, TrialProcess


def refuse(why: str) -> None:
    raise LatencyError(why, "Do otherwise.")


def test_values_and_refusals_come_back_and_what_hangs_or_crashes_is_ended() -> None:
    with TrialProcess() as process:
        assert process.call(10, abs, -3) == 3
        with pytest.raises(LatencyError, match="too odd"):
            process.call(10, refuse, "too odd")
        with pytest.raises(TrialLost, match=r"did not end within 0.2 s"):
            process.call(0.2, time.sleep, 60)
        with pytest.raises(TrialLost, match="crashed"):
            process.call(10, os.abort)
        assert process.call(10, abs, -4) == 4
