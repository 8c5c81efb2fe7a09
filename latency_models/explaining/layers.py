"""Rules about layers: convolutions and matrix products that did not get faster by what was taken from them."""

from latency_models.explaining.finding import (
    MARGIN,
    SMALL,
    WORTH_SAYING,
    Compared,
    Finding,
    Named,
    listed,
    microseconds,
    n_of,
    off_step,
    percent,
    total_s,
)  # fmt: skip
from latency_models.explaining.matching import is_part
from latency_models.kernel import KernelTime


def width(compared: Compared) -> list[Finding]:
    """Layers that were cut to a width between two steps of the vector registers, and whose time shows it."""
    step = compared.step
    off = [
        (name, mine, theirs)
        for name, mine, theirs in compared.both()
        if step > 1
        and _cut_off_step(mine, theirs, step)
        and mine.precision == theirs.precision
        and kept_too_long(mine, theirs)
        and compared.share(mine.seconds) >= SMALL / 2
    ]
    seconds = total_s(mine for _, mine, _ in off)
    if not off or compared.share(seconds) < WORTH_SAYING:
        return []
    off.sort(key=lambda one: -one[1].seconds)
    named = listed([f"{name} {mine.n_in} → {mine.n_out} {_as_if(mine, step)}" for name, mine, _ in off])
    flops = sum(mine.n_flops for _, mine, _ in off) / sum(theirs.n_flops for _, _, theirs in off)
    time = seconds / total_s(theirs for _, _, theirs in off)
    words = (
        f"{n_of(off, 'layer')} whose widths lie between two steps of {step} channels (what a vector register holds) "
        f"and that probably cost as much as at the next step up: {named}. Their operations are {percent(flops)} of "
        f"the teacher's, their time {percent(time)}. Multiples of {step} would fit."
    )
    clause = f"in {n_of(off, 'layer')} whose width is off the vector step of {step} channels"
    return [Finding("width", _names(off), seconds, words, clause)]


def slower(compared: Compared) -> list[Finding]:
    """Layers that take longer than the teacher's, although they do no more."""
    found = [
        (name, mine, theirs)
        for name, mine, theirs in compared.both()
        if mine.seconds > 1.1 * theirs.seconds
        and mine.n_flops <= theirs.n_flops
        and compared.share(mine.seconds) >= WORTH_SAYING
    ]
    if not found:
        return []
    seconds = total_s(mine for _, mine, _ in found)
    each = listed(
        [
            f"{name} {microseconds(mine.seconds)} in {mine.precision} (teacher: {microseconds(theirs.seconds)}"
            f"{'' if mine.precision == theirs.precision else f' in {theirs.precision}'})"
            for name, mine, theirs in found
        ]
    )
    words = f"{n_of(found, 'layer')} became slower than the teacher's though with no more to do: {each}."
    same = [(mine, theirs) for _, mine, theirs in found if mine.precision == theirs.precision]
    if any(off_step(mine, compared.step) and not off_step(theirs, compared.step) for mine, theirs in same):
        words += (
            f" Widths that are no multiples of {compared.step} may keep the runtime from its fastest kernel for such a "
            f"layer; multiples would not."
        )
    if len(same) < len(found):
        words += " Leaving such a layer in the teacher's precision is worth a try."
    clause = f"in {n_of(found, 'layer')} that became slower than the teacher's"
    return [Finding("slower", _names(found), seconds, words, clause)]


def memory(compared: Compared) -> list[Finding]:
    """Layers that wait for memory, whose operations were cut more than their bytes."""
    ceilings = compared.ceilings
    if ceilings is None:
        return []
    found = []
    for name, mine, theirs in compared.both():
        least = ceilings.least_s(mine.n_flops, mine.n_bytes, mine.precision)
        if least is None or least[1] != "memory" or not theirs.n_bytes or not kept_too_long(mine, theirs):
            continue
        if mine.n_bytes / theirs.n_bytes > MARGIN * mine.n_flops / theirs.n_flops:
            found.append((name, mine, theirs))
    seconds = total_s(mine for _, mine, _ in found)
    if not found or compared.share(seconds) < WORTH_SAYING:
        return []
    flops = sum(mine.n_flops for _, mine, _ in found) / sum(theirs.n_flops for _, _, theirs in found)
    n_bytes = sum(mine.n_bytes for _, mine, _ in found) / sum(theirs.n_bytes for _, _, theirs in found)
    words = (
        f"{n_of(found, 'layer')} limited by memory, not by arithmetic: {listed([name for name, _, _ in found])}. Their "
        f"operations are {percent(flops)} of the teacher's, the bytes they move {percent(n_bytes)}; what is smaller "
        f"at both ends of the layer moves less."
    )
    return [Finding("memory", _names(found), seconds, words, f"in {n_of(found, 'layer')} limited by memory")]


def factorised(compared: Compared) -> list[Finding]:
    """Factorised layers whose factors take as long together as the layer did."""
    found: list[tuple[KernelTime, list[KernelTime]]] = []
    for theirs in compared.teacher.kernels:
        parts = [mine for mine in compared.student.kernels if is_part(mine, theirs)]
        if len(parts) > 1 and total_s(parts) > 0.9 * theirs.seconds:
            found.append((theirs, parts))
    parts = [part for _, some in found for part in some]
    seconds = total_s(parts)
    if not found or compared.share(seconds) < WORTH_SAYING:
        return []
    each = listed(
        [
            f"{theirs.name} {microseconds(total_s(some))} (teacher: {microseconds(theirs.seconds)})"
            for theirs, some in found
        ]
    )
    words = f"{n_of(found, 'layer')} won nothing by being factorised, as the factors take as long together: {each}."
    clause = f"in the factors of {n_of(found, 'layer')} that won nothing by being factorised"
    return [Finding("factorised", tuple(part.name for part in parts), seconds, words, clause)]


def efficiency(compared: Compared) -> list[Finding]:
    """Layers that kept more of their time than of their operations for no reason that another rule gave."""
    found = [
        one
        for one in compared.both()
        if one[1].n_flops < 0.9 * one[2].n_flops
        and one[1].precision == one[2].precision
        and kept_too_long(one[1], one[2])
        and compared.share(one[1].seconds) >= SMALL
    ]
    seconds = total_s(mine for _, mine, _ in found)
    if not found or compared.share(seconds) < WORTH_SAYING:
        return []
    found.sort(key=lambda one: -one[1].seconds)
    names = listed([f"{name} ({_rate(mine)}, teacher {_rate(theirs)})" for name, mine, theirs in found])
    words = (
        f"{n_of(found, 'layer')} at a lower rate than the teacher's, so that less time went than operations: {names}. "
        f"Mostly it is that few channels leave little to reuse."
    )
    return [
        Finding("efficiency", _names(found), seconds, words, f"in {n_of(found, 'layer')} that run less efficiently")
    ]


def small(compared: Compared) -> list[Finding]:
    """Layers that were cut although the teacher spends next to nothing in them."""
    found = [
        one
        for one in compared.both()
        if one[1].n_flops < one[2].n_flops
        and one[2].seconds < SMALL * compared.teacher.whole_s
        and compared.share(one[1].seconds) < 2 * SMALL
    ]
    if not found:
        return []
    share = total_s(theirs for _, _, theirs in found) / compared.teacher.whole_s
    words = (
        f"{n_of(found, 'layer')} too small to matter: {listed([name for name, _, _ in found])}. The teacher spends "
        f"{percent(share)} of its time there, so pruning there brings next to nothing."
    )
    clause = f"in {n_of(found, 'layer')} too small to matter"
    return [Finding("small", _names(found), total_s(mine for _, mine, _ in found), words, clause)]


def kept_too_long(mine: KernelTime, theirs: KernelTime) -> bool:
    """Whether a kernel kept clearly more of the teacher's time than of its operations."""
    if not theirs.n_flops or not theirs.seconds:
        return False
    return mine.seconds / theirs.seconds > MARGIN * mine.n_flops / theirs.n_flops


def padding(kernel: KernelTime, step: int) -> float:
    """Operations with both widths filled up to the step, as a multiple of the operations themselves.

    Inputs narrower than one step, and those of integer or matrix kernels, are read as they are.
    """
    n_in, n_out = kernel.n_in, kernel.n_out
    reads_steps = kernel.operator == "Conv" and kernel.groups == 1 and kernel.precision != "int8" and n_in >= step
    return _up(n_out, step) / n_out * (_up(n_in, step) / n_in if reads_steps else 1.0) if n_in and n_out else 1.0


def _cut_off_step(mine: KernelTime, theirs: KernelTime, step: int) -> bool:
    """Whether a width that was cut lies between two steps, and the filled-up width costs at least a tenth more."""
    out = mine.n_out < theirs.n_out and mine.n_out % step > 0
    into = mine.n_in < theirs.n_in and mine.n_in % step > 0
    return (out or into) and padding(mine, step) >= 1.1


def _up(width: int, step: int) -> int:
    return -(-width // step) * step


def _as_if(kernel: KernelTime, step: int) -> str:
    n_in = _up(kernel.n_in, step) if padding(kernel, step) > _up(kernel.n_out, step) / kernel.n_out else kernel.n_in
    return f"(as {n_in} → {_up(kernel.n_out, step)})"


def _rate(kernel: KernelTime) -> str:
    return f"{kernel.n_flops / kernel.seconds / 1e9:.0f} GFLOP/s" if kernel.seconds else "too fast to time"


def _names(found: list[Named]) -> tuple[str, ...]:
    return tuple(mine.name for _, mine, _ in found)
