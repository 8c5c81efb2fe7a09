"""The process in which tuning compiles and runs kernels, one call at a time: any of them could hang or crash.

Started by `latency_models.tvm_backend.trial_process` as `python -m latency_models.tvm_backend.trial_main`, with calls
on standard input and answers on standard output.
"""

import math
import os
import signal
from typing import cast

from latency_models.errors import LatencyError
from latency_models.frames import read_frame, write_frame
from latency_models.tvm_backend.trial_messages import Call, Done, Failed

GRACE_S = 5.0


def main() -> None:
    """Serves until standard input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what native code prints must not get among the answers
    while True:
        try:
            call = cast(Call, read_frame(0))
        except EOFError:
            return
        signal.alarm(math.ceil(call.limit_s + GRACE_S))  # where the parent died, nobody else would end it
        try:
            answer: Done | Failed = Done(call.function(*call.arguments))
        except LatencyError as error:
            answer = Failed(error.problem, error.remedy)
        signal.alarm(0)
        write_frame(answers, answer)


if __name__ == "__main__":
    main()
