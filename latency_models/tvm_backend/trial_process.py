"""A process beside this one that compiles and runs kernels while tuning, and is killed when they hang or crash."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import ParamSpec, Self, TypeVar, cast, final

from latency_models.errors import LatencyError
from latency_models.frames import GarbledError, read_frame, write_frame
from latency_models.limits import IMPORT_S
from latency_models.tvm_backend.trial_messages import Call, Done, Failed

Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")


class TrialLost(LatencyError):
    """What was called hung or crashed, and its process was ended."""


@final
class TrialProcess:
    """Calls functions in another process, started when needed. Not to be shared between threads."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def call(
        self, limit_s: float, function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Value:
        """The value of a function of a module, computed there.

        Args:
            limit_s: seconds it may take; a fresh process gets `IMPORT_S` more to start.
            function: what is called; its arguments and value are picklable.

        Raises:
            TrialLost: it hung, or the process crashed; the next call gets a fresh one.
            LatencyError: what the function raised.
        """
        assert not kwargs, "arguments go by position"
        if self._child is None:
            self._child = _started()
            limit_s += IMPORT_S
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            write_frame(child.stdin.fileno(), Call(function, args, limit_s), limit_s)
            answer = read_frame(child.stdout.fileno(), limit_s)
        except TimeoutError as error:
            self.close()
            raise TrialLost(f"It did not end within {limit_s:g} s.", "It is left out.") from error
        except (EOFError, BrokenPipeError, GarbledError) as error:
            self.close()
            raise TrialLost("It crashed the process that it ran in.", "It is left out.") from error
        except BaseException:  # interrupted half-way through a message: the next one could not be understood
            self.close()
            raise
        if isinstance(answer, Failed):
            raise LatencyError(answer.problem, answer.remedy)
        return cast(Value, cast(Done, answer).value)

    def close(self) -> None:
        """Ends the process, where one runs."""
        if self._child is not None:
            child, self._child = self._child, None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe is not None
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _started() -> subprocess.Popen[bytes]:
    """In a session of its own, so that the user's Ctrl-C ends the search and not the process."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "latency_models.tvm_backend.trial_main"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        bufsize=0,
    )
