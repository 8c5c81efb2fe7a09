"""Why a student is, or is not, faster than its teacher: kernel by kernel, and in words. Pure: nothing is timed here."""

from dataclasses import dataclass, replace

from latency_models.ceilings import Ceilings
from latency_models.explaining.finding import Compared, Finding, percent
from latency_models.explaining.layers import efficiency, factorised, memory, slower, small, width
from latency_models.explaining.matching import Pair, Profile, match
from latency_models.explaining.passing import conversion, layout, no_operations, overhead
from latency_models.kernel import KernelTime

RULES = (small, slower, factorised, width, memory, layout, conversion, no_operations, efficiency, overhead)
"""In this order: what one rule explains no later one counts again."""
N_IN_SUMMARY = 2
WORTH_A_SUMMARY = 0.05
"""Share of the student's time that a finding takes at least to be named in the summary."""
NO_GAP = 0.05
"""Difference of the shares of operations and of time that went, below which time followed the operations."""


@dataclass(frozen=True)
class Row:
    """One kernel of the student beside its counterpart.

    Attributes:
        pair: the two; one may be missing.
        share: of the student's latency that the student's kernel takes; 0 where it has none.
        flops_per_s, bytes_per_s: achieved by the student's kernel; 0 where its work is unknown.
        roofline: least time that the machine's ceilings allow, as a share of the time taken; None where unknown. The
            ceilings are measured with other code, so a kernel may come out a little above 1.
        bound: `compute` or `memory`, what the least time is limited by; "" where unknown.
    """

    pair: Pair
    share: float
    flops_per_s: float
    bytes_per_s: float
    roofline: float | None
    bound: str


@dataclass(frozen=True)
class Explanation:
    """A student beside its teacher.

    Attributes:
        student, teacher: their kernels and latencies.
        rows: the student's kernels in order of execution, the teacher's without counterpart between them.
        findings: causes, the most time first.
        summary: one or two sentences.
    """

    student: Profile
    teacher: Profile
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    summary: str


def explain(student: Profile, teacher: Profile, step: int = 0, ceilings: Ceilings | None = None) -> Explanation:
    """Compares two profiles of one target.

    Args:
        student, teacher: what was timed.
        step: channels of float32 that a vector register of the target holds; 0 where unknown, and then widths are not
            judged.
        ceilings: what the machine can do at most; None where that is unknown, as on a device.

    Raises:
        ValueError: a latency is not above zero.
    """
    if min(student.end_to_end_s, teacher.end_to_end_s) <= 0:
        raise ValueError("a latency is above zero")
    pairs = match(student.kernels, teacher.kernels)
    compared = Compared(student, teacher, pairs, step, ceilings)
    findings = list[Finding]()
    for rule in RULES:
        findings += rule(compared)
        compared = replace(compared, explained=frozenset(name for one in findings for name in one.kernels))
    findings.sort(key=lambda finding: -finding.seconds)
    rows = tuple(_row(pair, compared) for pair in pairs)
    return Explanation(student, teacher, rows, tuple(findings), summary(compared, findings))


def summary(compared: Compared, findings: list[Finding]) -> str:
    """How much of the operations and of the time went, and what takes most of what is left."""
    student, teacher = compared.student, compared.teacher
    time_went = 1 - student.end_to_end_s / teacher.end_to_end_s
    precision = _precision(student)
    inside = f" (in {precision})" if precision != _precision(teacher) else ""
    time = f"{percent(time_went)} of the time" if time_went >= 0 else f"the time grew by {percent(-time_went)}"
    if not teacher.n_flops or not student.n_flops:
        first, behind = f"{time[0].upper()}{time[1:]}{' went' if time_went >= 0 else ''}{inside}", True
    else:
        flops_went = 1 - student.n_flops / teacher.n_flops
        behind = time_went < flops_went - NO_GAP
        joined = ", but" if behind else " and"
        only = " only" if behind and time_went >= 0 else ""
        gone = percent(flops_went) if flops_went >= 0.005 else "None"
        first = f"{gone} of the operations went{joined}{only} {time}{inside}"
    causes = [one for one in findings if one.kind != "small" and compared.share(one.seconds) >= WORTH_A_SUMMARY]
    if causes:
        named = [f"{percent(compared.share(one.seconds))} is {one.clause}" for one in causes[:N_IN_SUMMARY]]
        return f"{first}. Of what is left, {' and '.join(named)}."
    return f"{first}; no single cause stands out." if behind else f"{first}."


def _row(pair: Pair, compared: Compared) -> Row:
    kernel = pair.student
    if kernel is None:
        return Row(pair, 0.0, 0.0, 0.0, None, "")
    seconds = kernel.seconds
    flops, moved = (kernel.n_flops / seconds, kernel.n_bytes / seconds) if seconds else (0.0, 0.0)
    roofline, bound = _roofline(kernel, compared.ceilings)
    return Row(pair, compared.share(seconds), flops, moved, roofline, bound)


def _roofline(kernel: KernelTime, ceilings: Ceilings | None) -> tuple[float | None, str]:
    known = ceilings is not None and kernel.seconds > 0 and (kernel.n_flops or kernel.n_bytes)
    least = ceilings.least_s(kernel.n_flops, kernel.n_bytes, kernel.precision) if ceilings and known else None
    return (None, "") if least is None else (least[0] / kernel.seconds, least[1])


def _precision(profile: Profile) -> str:
    """What most of the operations are computed in."""
    flops: dict[str, int] = {}
    for kernel in profile.kernels:
        flops[kernel.precision] = flops.get(kernel.precision, 0) + kernel.n_flops
    return max(flops, key=lambda name: flops[name], default="float32")
