"""What `nas targets` shows: every target that ships, whether it can be used here, and what it takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from latency_models.backend import BACKENDS, Missing, backend_of, estimator_of
from latency_models.errors import LatencyError
from latency_models.precisions import PRECISIONS, refusal
from latency_models.profiles import ESTIMATE, RPC, load_profile, shipped
from latency_models.target import Target

State = Literal["ready", "board", "no"]
WIDTH = 100
HOST = "HOST"
MANY = 3
"""More targets than this are counted where they share a reason, as the table shows which they are."""
COLUMNS = ("--target", "here now", "computes in", "error", "what it is")
GROUPS = {
    "local": "On this machine, measured:",
    "rpc": f"On a board that runs TVM's RPC server at {HOST} (HOST:PORT where the port is not 9090), measured:",
    "estimate": "Without a board, estimated:",
}
"""How targets are reached, in words; what runs here first."""
TVM = Missing(
    "the packages apache-tvm and apache-tvm-ffi",
    "pip install apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.14.post1",
)
WRONG_MODEL = Missing("a believable model of this core in LLVM", "Measure on a board, or estimate another core.")
UNKNOWN_ERROR = Missing("a known error of such estimates (`known_error` in the profile)", "Measure on a board.")


@dataclass(frozen=True)
class Row:
    """A target as a user may name it.

    Attributes:
        spec: what follows `--target`; `HOST` stands for a board's address.
        target: what that names.
        missing: why it cannot be used here now; empty where it can.
    """

    spec: str
    target: Target
    missing: tuple[Missing, ...]

    @property
    def state(self) -> State:
        """Whether it can be used here now. A board is not asked whether it is there."""
        return "no" if self.missing else "board" if self.target.access == "rpc" else "ready"

    @property
    def error(self) -> str:
        """How wrong its latencies are known to be; "" where a clock takes them."""
        error = self.target.known_error if self.target.access == "estimate" else None
        return "" if error is None else f"{100 * error:.0f} %"


def rows() -> list[Row]:
    """Every target that ships: what runs here first, then boards, then estimates."""
    found = [
        Row(spec, target, tuple(missing(target)))
        for spec, target in (pair for name in shipped() for pair in _ways(name))
    ]
    access = tuple(GROUPS)
    return sorted(
        found,
        key=lambda row: (
            access.index(row.target.access),
            row.target.device == "cuda",
            row.target.cuda_arch != "",
            row.spec,
        ),
    )


def missing(target: Target) -> list[Missing]:
    """What a target lacks on this machine, whatever of it is installed."""
    try:
        if target.access != "estimate":
            return backend_of(target).missing(target)
        lacking = estimator_of(target).missing(target)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("tvm", "tvm_ffi"):
            return [TVM]
        module = BACKENDS[target.access, target.runtime, target.device]
        return [Missing(f"a part of the program: {module} ({error})", "pip install --upgrade understudy-nas")]
    if target.processor is not None and not target.processor.machine_model:
        return [WRONG_MODEL]
    return lacking + ([UNKNOWN_ERROR] if target.known_error is None else [])


def targets_table() -> RenderableType:
    """The table for a terminal of 100 columns, and below it what is missing and what the columns mean."""
    shown = rows()
    numbers = {
        entry: number
        for number, entry in enumerate(dict.fromkeys(entry for row in shown for entry in row.missing), start=1)
    }
    cells = {row.spec: _cells(row, numbers) for row in shown}
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells.values(), strict=True)]
    parts: list[RenderableType] = [
        Text("What to write after --target of nas search, bench, explain and tune:"),
        Text(),
        _grid([COLUMNS], widths, "bold"),
    ]
    for access, title in GROUPS.items():
        some = [row for row in shown if row.target.access == access]
        parts += [Text(title, style="dim"), _grid([cells[row.spec] for row in some], widths)]
    lines = [Text(f"[{number}] missing: {entry.what}. {_remedy(entry)}") for entry, number in numbers.items()]
    return Constrain(Group(*parts, Text(), *lines, *([Text()] if lines else []), *_notes(shown)), WIDTH)


def _cells(row: Row, numbers: Mapping[Missing, int]) -> tuple[str, ...]:
    marks = f" [{','.join(str(numbers[entry]) for entry in row.missing)}]" if row.missing else ""
    return row.spec, f"{row.state}{marks}", ", ".join(row.target.precisions), row.error, row.target.about


def _grid(lines: Iterable[Sequence[str]], widths: Sequence[int], style: str = "") -> Table:
    """Lines below each other; only the last column gives way where the terminal is narrow."""
    colours = {"ready": "green", "board": "yellow", "no": "red"}
    view = Table.grid(padding=(0, 2, 0, 0))
    for width in widths[:-1]:
        view.add_column(no_wrap=True, width=width)
    view.add_column()
    for spec, state, *others in lines:
        view.add_row(Text(spec), Text(state, style=colours.get(state.partition(" ")[0], "")), *others, style=style)
    return view


def _ways(name: str) -> list[tuple[str, Target]]:
    """How a shipped profile can be named, and the target that each names."""
    specs = (name, f"{RPC}{name}@{HOST}", f"{ESTIMATE}{name}")
    found = []
    for spec in specs:
        try:
            target = load_profile(spec).target
        except LatencyError:
            continue  # a profile is of this machine or of another, of a processor or of a GPU
        found.append((spec, replace(target, name=spec)))
    return found


def _remedy(entry: Missing) -> str:
    """A sentence; a command is set off."""
    is_command = entry.remedy.split(maxsplit=1)[0] in ("pip", "apt", "apt-get")
    return f"Get it: {entry.remedy}" if is_command else entry.remedy


def _notes(shown: Sequence[Row]) -> list[Text]:
    """Why precisions are left out, and how to go on."""
    without: dict[tuple[str, str], list[str]] = {}
    for row in shown:
        for precision in PRECISIONS:
            reason = refusal(row.target, precision)
            if reason is not None:
                without.setdefault((precision, reason), []).append(row.spec)
    notes = [f"No {precision} {_on(specs, shown)}: {reason}." for (precision, reason), specs in without.items()]
    notes += [
        "nvidia-sm..: as tvm-cuda, and refused on a GPU of another architecture.",
        "board: it is not asked now whether it answers. error: by how much such an estimate's milliseconds were off at "
        "the median where it could be held against a clock; a student's share of its teacher's is off by less.",
        f"For a board or core of your own write a profile: {RPC}my-board.yaml, {ESTIMATE}my-board.yaml; see "
        "docs/targets.md.",
    ]
    return [Text(note, style="dim") for note in notes]


def _on(specs: Sequence[str], shown: Sequence[Row]) -> str:
    """Which targets these are, in few words."""
    if set(specs) == {row.spec for row in shown if row.target.runtime == "tvm"}:
        return "with TVM"
    names = dict.fromkeys(spec.rpartition(":")[2].removesuffix(f"@{HOST}") for spec in specs)
    return f"on {' or '.join(names)}" if len(names) <= MANY else f"on {len(names)} of them"
