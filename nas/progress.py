"""How a search reports while it runs: live on a terminal, plain lines in a file, or not at all.

No clock is read here: elapsed and remaining seconds come in as callables. The live display has no thread of its own,
since that would disturb the timing of inferences: it is redrawn when something is reported.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.words import about, duration, percent, score

Style = Literal["auto", "rich", "plain", "silent"]

_PLAIN_INTERVAL_S = 5.0
_LIVE_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Best:
    """The best student so far: its score, its share of the teacher's latency, and whether a clock said so."""

    student_id: str
    accuracy: float
    ratio: float
    source: str = "measured"


@dataclass(frozen=True)
class Snapshot:
    """What there is to show at one moment.

    Attributes:
        phase: what the search is doing.
        n_done, n_total: candidates (or steps) of this phase; the total may be unknown.
        n_failed: of those done.
        best: best so far.
        elapsed_s, left_s: of the time budget.
    """

    phase: str = ""
    n_done: int = 0
    n_total: int | None = None
    n_failed: int = 0
    best: Best | None = None
    elapsed_s: float = 0.0
    left_s: float = 0.0

    @property
    def count(self) -> str:
        """E.g. "12/40, 2 failed"; empty before anything is done of a phase without total."""
        total = "" if self.n_total is None else f"/{self.n_total}"
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        return f"{self.n_done}{total}{failed}" if self.n_done or total else ""

    def best_in_words(self, is_share: bool) -> str:
        """E.g. "best 3f9a1c02b7de-r1 93.05 % at 19.0 % of the latency"."""
        if self.best is None:
            return ""
        ratio = about(percent(self.best.ratio, 1), self.best.source)
        return f"best {self.best.student_id} {score(self.best.accuracy, is_share)} at {ratio} of the latency"


class Progress:
    """What a search tells its user. Made by `make_progress`; a context manager that closes itself."""

    def __init__(
        self,
        display: "_Display",
        elapsed_s: Callable[[], float],
        left_s: Callable[[], float],
        watch: Callable[[str], None] | None = None,
    ) -> None:
        self._display = display
        self._watch = watch
        self._elapsed_s = elapsed_s
        self._left_s = left_s
        self._snapshot = Snapshot()
        self._notes: list[str] = []
        self._said: set[str] = set()
        self._closed = False

    def phase(self, name: str, n_total: int | None = None) -> None:
        """A new phase begins, with this many candidates or steps where that is known."""
        self._snapshot = replace(self._snapshot, phase=name, n_done=0, n_total=n_total, n_failed=0)
        self._show(is_new_phase=True)

    def advance(self, n: int = 1, *, n_failed: int = 0) -> None:
        """`n` more are done, of which `n_failed` failed; `advance(0)` only brings the time up to date."""
        now = self._snapshot
        self._snapshot = replace(now, n_done=now.n_done + n, n_failed=now.n_failed + n_failed)
        self._show()

    def note(self, text: str) -> None:
        """Something the user should read; it is never dropped, though it may wait for the next line."""
        self._notes.append(" ".join(text.split()))
        self._show()

    def note_once(self, key: str, text: str) -> None:
        """The same, but only the first with this key."""
        if key not in self._said:
            self._said.add(key)
            self.note(text)

    def candidate(self, student_id: str, accuracy: float, ratio: float, source: str = "measured") -> None:
        """A student that meets the budget: score, and latency as a share of the teacher's; the best one is shown."""
        best = self._snapshot.best
        if best is None or accuracy > best.accuracy:
            self._snapshot = replace(self._snapshot, best=Best(student_id, accuracy, ratio, source))
            self._show()

    def close(self) -> None:
        """The search is over; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._display.close(self._timed(), self._notes)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _show(self, is_new_phase: bool = False) -> None:
        if self._watch is not None:
            self._watch(self._snapshot.phase)
        if not self._closed and self._display.show(self._timed(), self._notes, is_new_phase):
            self._notes = []

    def _timed(self) -> Snapshot:
        return replace(self._snapshot, elapsed_s=self._elapsed_s(), left_s=self._left_s())


def make_progress(
    stream: TextIO,
    elapsed_s: Callable[[], float],
    left_s: Callable[[], float],
    style: Style = "auto",
    is_share: bool = True,
    watch: Callable[[str], None] | None = None,
) -> Progress:
    """Progress on this stream.

    Args:
        stream: usually standard error.
        elapsed_s: seconds since the search began.
        left_s: seconds that remain of the time budget.
        style: `auto` is `rich` on a terminal and `plain` elsewhere.
        is_share: whether scores are shown in %.
        watch: told the phase whenever there is something to report.
    """
    if style == "auto":
        style = "rich" if stream.isatty() else "plain"
    displays: dict[Style, Callable[[], _Display]] = {
        "rich": lambda: _LiveDisplay(stream, is_share),
        "plain": lambda: _PlainLines(stream, is_share),
        "silent": _Silence,
    }
    return Progress(displays[style](), elapsed_s, left_s, watch)


class _Silence:
    def show(self, snapshot: Snapshot, notes: list[str], is_new_phase: bool) -> bool:
        return True

    def close(self, snapshot: Snapshot, notes: list[str]) -> None:
        pass


class _PlainLines:
    """One line for each phase, and at most one every few seconds between them."""

    def __init__(self, stream: TextIO, is_share: bool) -> None:
        self._stream = stream
        self._is_share = is_share
        self._last_s = -_PLAIN_INTERVAL_S

    def show(self, snapshot: Snapshot, notes: list[str], is_new_phase: bool) -> bool:
        if not is_new_phase and snapshot.elapsed_s - self._last_s < _PLAIN_INTERVAL_S:
            return False
        self._last_s = snapshot.elapsed_s
        times = f"[{duration(snapshot.elapsed_s)}, {duration(snapshot.left_s)} left]"
        what = " ".join(filter(None, (snapshot.phase, snapshot.count)))
        parts = (what, snapshot.best_in_words(self._is_share), *notes)
        self._stream.write(f"{times} {' · '.join(filter(None, parts))}\n")
        self._stream.flush()
        return True

    def close(self, snapshot: Snapshot, notes: list[str]) -> None:
        self.show(snapshot, notes, is_new_phase=True)


class _LiveDisplay:
    """Phase with a bar, candidates, best so far and time left; notes scroll by above it."""

    def __init__(self, stream: TextIO, is_share: bool) -> None:
        self._is_share = is_share
        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)
        self._live.start()
        self._last_s = -_LIVE_INTERVAL_S

    def show(self, snapshot: Snapshot, notes: list[str], is_new_phase: bool) -> bool:
        if not (is_new_phase or notes) and snapshot.elapsed_s - self._last_s < _LIVE_INTERVAL_S:
            return False
        self._last_s = snapshot.elapsed_s
        for note in notes:
            self._console.print(Text(note, style="dim"))
        self._live.update(self._view(snapshot), refresh=True)
        return True

    def close(self, snapshot: Snapshot, notes: list[str]) -> None:
        self.show(snapshot, notes, is_new_phase=True)
        self._live.stop()

    def _view(self, snapshot: Snapshot) -> Group:
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(snapshot.n_total, snapshot.n_done, width=24) if snapshot.n_total else Text("")
        times = f"{duration(snapshot.elapsed_s)} gone, {duration(snapshot.left_s)} left"
        line.add_row(Text(snapshot.phase, style="bold"), bar, Text(snapshot.count), Text(times, style="cyan"))
        best = snapshot.best_in_words(self._is_share)
        return Group(line, Text(best, style="green")) if best else Group(line)


_Display = _Silence | _PlainLines | _LiveDisplay
"""`show` returns False where it is too early for a line; notes are then kept until the next one."""
