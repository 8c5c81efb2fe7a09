"""What runs and re-timings leave behind, as JSON, so that invocations add up."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nas.files import write_json

ROOT = Path(__file__).parent.parent.parent
OURS = "understudy"


@dataclass(frozen=True)
class Point:
    """A student's file.

    Attributes:
        name: what its maker calls it.
        file: below the repository's folder, or absolute.
        digest: SHA-256 of the file.
        size_bytes: of the file.
        validation_accuracy: a fraction, where its maker measured it.
    """

    name: str
    file: str
    digest: str
    size_bytes: int
    validation_accuracy: float | None = None

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return ROOT / self.file


@dataclass(frozen=True)
class Entry:
    """One run of one contender.

    Attributes:
        contender: `understudy` or a peer.
        task: its name.
        budget_s: CPU seconds allowed.
        seed: of the run.
        cpu_s: CPU seconds used, children included.
        wall_s: seconds by the clock.
        points: every file it offers.
        notes: what else is worth keeping.
    """

    contender: str
    task: str
    budget_s: float
    seed: int
    cpu_s: float
    wall_s: float
    points: tuple[Point, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What a re-timing found of one file.

    Attributes:
        accuracy: on the test set, a fraction, through ONNX Runtime.
        ratios: latency as a share of the teacher's, one for each pass.
    """

    accuracy: float
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class Timing:
    """One re-timing: several passes over the same files.

    Attributes:
        teacher_accuracy: on the test set, a fraction.
        teacher_s: the teacher's latency in each pass, seconds.
        null_ratios: the teacher against itself in each pass: what the machine's noise was.
        files: by SHA-256.
        taken: date, time and machine.
    """

    teacher_accuracy: float
    teacher_s: tuple[float, ...]
    null_ratios: tuple[float, ...]
    files: Mapping[str, Measured]
    taken: Mapping[str, str]


def point_of(name: str, path: Path, validation_accuracy: float | None = None) -> Point:
    """The point whose file lies at `path`."""
    content = path.read_bytes()
    absolute = path.resolve()
    file = absolute.relative_to(ROOT) if absolute.is_relative_to(ROOT) else absolute
    return Point(name, str(file), hashlib.sha256(content).hexdigest(), len(content), validation_accuracy)


def is_whole(point: Point) -> bool:
    """Whether the file is there and still the one that was written down."""
    return point.path.is_file() and point_of(point.name, point.path).digest == point.digest


def save_entry(entry: Entry, folder: Path) -> Path:
    """Writes `<contender>-<budget>s-seed<seed>.json`."""
    path = entry_path(folder, entry.contender, entry.budget_s, entry.seed)
    write_json(path, asdict(entry))
    return path


def entry_path(folder: Path, contender: str, budget_s: float, seed: int) -> Path:
    """Where an entry lies."""
    return folder / f"{contender}-{budget_s:g}s-seed{seed}.json"


def load_entry(path: Path) -> Entry:
    """What `save_entry` wrote."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Entry(**{**raw, "points": tuple(Point(**point) for point in raw["points"])})


def load_entries(folder: Path) -> list[Entry]:
    """All entries of a folder, by budget, contender and seed."""
    entries = [load_entry(path) for path in folder.glob("*-seed*.json")]
    return sorted(entries, key=lambda entry: (entry.budget_s, entry.contender != OURS, entry.contender, entry.seed))


def save_timing(timing: Timing, folder: Path, budget_s: float) -> Path:
    """Writes `timing-<budget>s.json`."""
    path = folder / f"timing-{budget_s:g}s.json"
    write_json(path, asdict(timing))
    return path


def load_timings(folder: Path) -> dict[float, Timing]:
    """All timings of a folder by their budget."""
    found = {}
    for path in folder.glob("timing-*s.json"):
        raw = json.loads(path.read_text(encoding="utf-8"))
        files = {digest: Measured(one["accuracy"], tuple(one["ratios"])) for digest, one in raw["files"].items()}
        lists = {name: tuple(raw[name]) for name in ("teacher_s", "null_ratios")}
        found[float(path.stem.removeprefix("timing-").removesuffix("s"))] = Timing(**{**raw, **lists, "files": files})
    return dict(sorted(found.items()))


def distinct(points: Sequence[Point]) -> list[Point]:
    """The points with equal files only once."""
    return list({point.digest: point for point in points}.values())
