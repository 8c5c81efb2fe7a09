"""What a rule looks at and what it finds."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from latency_models.ceilings import Ceilings
from latency_models.explaining.matching import Pair, Profile
from latency_models.kernel import KernelTime

COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
LAYOUT = ("Reorder",)
CONVERSION = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
SMALL = 0.01
"""Share of the teacher's time below which pruning a layer brings nothing that could be told from noise."""
WORTH_SAYING = 0.02
"""Share of the student's time below which a finding is left out."""
OVERHEAD = 0.1
MARGIN = 1.15
"""How much more of its time than of its operations a kernel must have kept before a cause is looked for."""
N_NAMED = 4


Named = tuple[str, KernelTime, KernelTime]
"""Name, student's kernel, teacher's kernel."""


@dataclass(frozen=True)
class Finding:
    """One cause.

    Attributes:
        kind: `width`, `layout`, `conversion`, `overhead`, `slower`, `memory`, `factorised`, `no_operations`,
            `efficiency` or `small`.
        kernels: names of the student's kernels it is about.
        seconds: that these kernels (or the time between kernels) take in one inference of the student, as measured.
        words: what was found and what would help.
        clause: the same in a few words, to follow "31 % of what is left is".
    """

    kind: str
    kernels: tuple[str, ...]
    seconds: float
    words: str
    clause: str


@dataclass(frozen=True)
class Compared:
    """What the rules look at.

    Attributes:
        student, teacher: the two networks.
        pairs: their kernels side by side.
        step: channels that one vector register holds; 0 where unknown.
        ceilings: of the machine, None where unknown.
        explained: names of the student's kernels that an earlier rule found the cause of; no time counts twice.
    """

    student: Profile
    teacher: Profile
    pairs: tuple[Pair, ...]
    step: int
    ceilings: Ceilings | None
    explained: frozenset[str] = frozenset()

    def share(self, seconds: float) -> float:
        """Of the student's inference."""
        return seconds / self.student.whole_s

    def both(self) -> Iterator[Named]:
        """Name, student's and teacher's kernel of the layers that both have and no rule has explained."""
        for pair in self.pairs:
            mine, theirs = pair.student, pair.teacher
            if mine is None or theirs is None or mine.operator not in COMPUTE or mine.name in self.explained:
                continue
            yield pair.name, mine, theirs


def total_s(kernels: Iterable[KernelTime]) -> float:
    """Seconds of some kernels together."""
    return math.fsum(kernel.seconds for kernel in kernels)


def off_step(kernel: KernelTime, step: int) -> bool:
    """Whether one of a kernel's widths lies between two vector steps; inputs of less than one are read as they are."""
    return step > 1 and bool(kernel.n_out % step or (kernel.n_in > step and kernel.n_in % step))


def listed(items: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(items) - N_NAMED} more" if len(items) > N_NAMED else ""
    return ", ".join(items[:N_NAMED]) + more


def n_of(items: Sequence[object], noun: str) -> str:
    """How many, e.g. "3 layers"."""
    return f"{len(items)} {noun}" if len(items) == 1 else f"{len(items)} {noun}s"


def percent(share: float) -> str:
    """In whole percent, with a digit more below one."""
    return f"{100 * share:.0f} %" if share >= 0.0095 or share < 0.0005 else f"{100 * share:.1f} %"


def microseconds(seconds: float) -> str:
    """In microseconds, or milliseconds from one on."""
    return f"{1e3 * seconds:.2f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.{0 if seconds >= 1e-5 else 1}f} µs"
