"""Rules about what is no layer of the network: conversions, calls, and kernels without arithmetic."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from latency_models.explaining.finding import (
    COMPUTE,
    CONVERSION,
    LAYOUT,
    MARGIN,
    OVERHEAD,
    WORTH_SAYING,
    Compared,
    Finding,
    listed,
    microseconds,
    n_of,
    off_step,
    percent,
    total_s,
)  # fmt: skip
from latency_models.explaining.matching import is_depthwise
from latency_models.kernel import KernelTime

CONVOLUTIONS = ("Conv", "ConvTranspose")


def layout(compared: Compared) -> list[Finding]:
    """Conversions between memory layouts, and the layers they were put in for."""
    kernels = compared.student.kernels
    found = [kernel for kernel in kernels if kernel.operator in LAYOUT]
    seconds = total_s(found)
    if compared.share(seconds) < WORTH_SAYING:
        return []
    n_teacher = sum(kernel.operator in LAYOUT for kernel in compared.teacher.kernels)
    around = _around(kernels, compared.step)
    names = {pair.student.name: pair.name for pair in compared.pairs if pair.student is not None}
    where = f" around {listed([f'{names[one.name]} ({one.n_in} → {one.n_out})' for one in around])}" if around else ""
    words = (
        f"{n_of(found, 'layout conversion')} (the teacher has {n_teacher}){where}. They compute nothing: the runtime "
        f"puts them between layers that run in different memory layouts."
    )
    odd = [one for one in around if compared.step > 1 and (one.n_in % compared.step or one.n_out % compared.step)]
    if odd:
        words += f" Widths that are multiples of {compared.step} keep a layer in the fast layout."
    beside = f" around {n_of(odd, 'layer')} off the vector step" if odd else ""
    clause = f"in {n_of(found, 'layout conversion')}{beside}"
    return [Finding("layout", tuple(kernel.name for kernel in found), seconds, words, clause)]


def conversion(compared: Compared) -> list[Finding]:
    """Conversions between precisions."""
    found = [kernel for kernel in compared.student.kernels if kernel.operator in CONVERSION]
    seconds = total_s(found)
    if compared.share(seconds) < WORTH_SAYING:
        return []
    counts = Counter(kernel.operator for kernel in found)
    kinds = ", ".join(f"{n} {operator}" for operator, n in counts.items())
    words = (
        f"{n_of(found, 'conversion')} between precisions ({kinds}): {listed([one.name for one in found])}. Each is "
        f"there for an operator that does not compute in the student's precision, or for the network's inputs."
    )
    clause = f"in {n_of(found, 'conversion')} between precisions"
    return [Finding("conversion", tuple(kernel.name for kernel in found), seconds, words, clause)]


def overhead(compared: Compared) -> list[Finding]:
    """Time between kernels, which no narrower layer shortens."""
    seconds = compared.student.between_s
    if compared.share(seconds) < OVERHEAD:
        return []
    teacher_s = compared.teacher.between_s
    beside = f" (teacher: {microseconds(teacher_s)})" if teacher_s else ""
    words = (
        f"{microseconds(seconds)} of an inference pass between its {n_of(compared.student.kernels, 'kernel')}{beside}: "
        f"calling the runtime and starting kernels. Narrower layers do not shorten it; fewer layers may."
    )
    return [Finding("overhead", (), seconds, words, "spent between kernels")]


def no_operations(compared: Compared) -> list[Finding]:
    """Depthwise, pooling and elementwise kernels, which hardly shrink with the network's operations."""

    def light(kernels: Iterable[KernelTime]) -> list[KernelTime]:
        heavy = (*COMPUTE, *LAYOUT, *CONVERSION)
        return [one for one in kernels if is_depthwise(one) or one.operator not in heavy]

    mine = [one for one in light(compared.student.kernels) if one.name not in compared.explained]
    theirs = light(compared.teacher.kernels)
    seconds, teacher_s = (total_s(some) for some in (mine, theirs))
    shrunk = compared.student.n_flops / compared.teacher.n_flops if compared.teacher.n_flops else 1.0
    if compared.share(seconds) < 2.5 * WORTH_SAYING or seconds <= MARGIN * shrunk * teacher_s:
        return []
    words = (
        f"{n_of(mine, 'kernel')} that do little arithmetic (depthwise, pooling, elementwise, moving) take "
        f"{percent(compared.share(seconds))} of the time; in the teacher they take "
        f"{percent(teacher_s / compared.teacher.whole_s)}. They hardly shrink with the network's operations."
    )
    clause = f"in {n_of(mine, 'kernel')} that do little arithmetic"
    return [Finding("no_operations", tuple(one.name for one in mine), seconds, words, clause)]


def _around(kernels: Sequence[KernelTime], step: int) -> list[KernelTime]:
    """Convolutions right before or after a layout conversion; only those off the vector step where there are."""
    computing = [kernel for kernel in kernels if kernel.operator in (*COMPUTE, *LAYOUT)]
    found: dict[str, KernelTime] = {}
    for before, after in pairwise(computing):
        for one, other in ((before, after), (after, before)):
            if one.operator in CONVOLUTIONS and other.operator in LAYOUT:
                found[one.name] = one
    odd = {name: one for name, one in found.items() if off_step(one, step)}
    return list((odd or found).values())
