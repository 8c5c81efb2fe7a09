"""`nas tune`: a search for faster schedules of the kernels of students that the user picked, stored and reused."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

from latency_models.target import Target
from nas.errors import UserError
from nas.explain import record_of
from nas.onnx_files import any_feed, read_network

if TYPE_CHECKING:
    from types import FrameType

    from latency_models.tvm_backend.tuning import Progress, Tuning
    from latency_models.tvm_backend.tuning_outcome import Outcome

SEED = 0
SMALLEST_S = 20.0


@dataclass(frozen=True)
class Report:
    """What tuning brought; `rich` prints it.

    Attributes:
        names: of the students, as the user named them.
        target: where.
        tuning: kernels and networks.
        stopped: whether the user ended it early.
    """

    names: tuple[str, ...]
    target: Target
    tuning: "Tuning"
    stopped: bool

    def __rich__(self) -> RenderableType:
        from nas.tune_table import shown

        return shown(self)


def tune(place: Path, which: Sequence[str], target: Target, time_budget_s: float, fresh: bool = False) -> Report:
    """Searches, and says on standard error how it goes. The first Ctrl-C ends the search and keeps what was found.

    Args:
        place: a run's folder, or a student's ONNX file.
        which: ids of the run or their unique starts; or further ONNX files.
        target: whose kernels; this machine's processor with TVM.
        time_budget_s: seconds in all.
        fresh: tune again what was tuned before.

    Raises:
        UserError: no such run, id or file; too little time.
        LatencyError: the target is another one or cannot run a network, or the cache cannot be written.
    """
    if time_budget_s < SMALLEST_S:
        raise UserError(
            f"{time_budget_s:g} s are too little to find a faster schedule.", "Give a minute or more: --time-budget 3m."
        )
    files = _files(place, which)
    from latency_models.tvm_backend import tuning  # imports TVM, which takes 2 s

    tuning.check_tunable(target)
    read = [read_network(path) for path in files.values()]
    networks = [(network.artifact, any_feed(network.inputs, SEED)) for network in read]
    console = Console(stderr=True)
    with console.status("preparing ...") as status, _interruptible(console) as stopped:

        def tell(news: "Progress | Outcome") -> None:
            if isinstance(news, tuning.Progress):
                status.update(progress_line(news))
            elif news.latency is not None or news.n_trials:
                console.print(outcome_line(news), highlight=False)

        found = tuning.tune(networks, target, time_budget_s, fresh, tell, stopped)
        return Report(tuple(files), target, found, stopped())


def progress_line(news: "Progress") -> str:
    """Kernel, before, best so far, time left."""
    best = "no schedule yet" if news.best_s is None else f"best so far {1e6 * news.best_s:.1f} µs"
    minutes, seconds = divmod(round(news.left_s), 60)
    return (
        f"{news.number}/{news.n_jobs} {news.job.name}: {1e6 * news.job.before_s:.1f} µs, {best} "
        f"({news.n_trials} tried), {minutes}:{seconds:02} left"
    )


def outcome_line(news: "Outcome") -> str:
    """Kernel, times and verdict."""
    times = f"{1e6 * news.job.before_s:.1f} µs"
    if news.latency is not None:
        before_s = news.latency.median_s / news.latency.ratio
        times = f"{1e6 * before_s:.1f} → {1e6 * news.latency.median_s:.1f} µs"
    return f"{news.job.name}: {times}, {news.verdict}"


def _files(place: Path, which: Sequence[str]) -> dict[str, Path]:
    """What the user calls each student, and its file."""
    if place.is_dir():
        if not which:
            raise UserError("Which students of the run shall be tuned?", f"Name ids; `nas front {place}` shows them.")
        from nas.run import Run  # loads torch

        run = Run.open(place)
        records = [record_of(run, one) for one in which]
        return {record.id: run.artifact_file(record) for record in records}
    if not place.exists():
        raise UserError(f"There is no run and no file {place}.", "Name a folder in results/, or a student's ONNX file.")
    return {str(path): path for path in (place, *map(Path, which))}


@contextmanager
def _interruptible(console: Console) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; a second one raises KeyboardInterrupt at once."""
    pressed = threading.Event()

    def note(number: int, frame: "FrameType | None") -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        console.print("Stopping; what was found is compared and kept. Ctrl-C again leaves at once.", highlight=False)

    if threading.current_thread() is not threading.main_thread():  # only the main one may listen for signals
        yield pressed.is_set
        return
    earlier = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, earlier)
