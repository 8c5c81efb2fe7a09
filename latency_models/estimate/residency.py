"""Where in a core's caches the tensors of a network lie when a kernel comes to touch them."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Touch:
    """A memory area that a kernel call touches.

    Attributes:
        area: what it is; equal where it is the same memory.
        size_bytes: of the area.
    """

    area: Hashable
    size_bytes: int


def shares_beyond(calls: Sequence[Sequence[Touch]], cache_bytes: Sequence[int]) -> list[tuple[float, ...]]:
    """For each call and each cache, the share of the call's bytes that lies beyond that cache when the call begins.

    An area is still in a cache when it and all that was touched since fit there together (least recently used out, by
    whole areas: the stack distance of Mattson et al. 1970, "Evaluation techniques for storage hierarchies"). Inferences
    follow one another, so that a network's weights are found where the rest of the last inference has left them.

    Args:
        calls: what each kernel call of an inference touches, in order; the output last.
        cache_bytes: sizes of the caches, innermost first.
    """
    recent: OrderedDict[Hashable, int] = OrderedDict()
    shares: list[tuple[float, ...]] = []
    for _ in range(2):
        shares = []
        for touches in calls:
            distances = [_distance(recent, touch) for touch in touches]
            total = sum(touch.size_bytes for touch in touches) or 1
            shares.append(
                tuple(
                    sum(t.size_bytes for t, d in zip(touches, distances, strict=True) if d is None or d > size) / total
                    for size in cache_bytes
                )
            )
            for touch in touches:
                recent[touch.area] = touch.size_bytes
                recent.move_to_end(touch.area)
    return shares


def _distance(recent: OrderedDict[Hashable, int], touch: Touch) -> int | None:
    """Bytes of the area and of all that was touched since; None where it never was."""
    if touch.area not in recent:
        return None
    since = 0
    for area, size_bytes in reversed(recent.items()):
        if area == touch.area:
            break
        since += size_bytes
    return since + touch.size_bytes


@dataclass(frozen=True)
class Tensors:
    """Activations of one kernel call.

    Attributes:
        inputs: names of those it reads.
        output: name of the one it writes.
        output_bytes: its size.
        others: sizes of its weights.
        workspace_bytes: what else it touches.
    """

    inputs: tuple[str, ...]
    output: str
    output_bytes: int
    others: tuple[int, ...] = ()
    workspace_bytes: int = 0


def touches(calls: Sequence[Tensors], given: dict[str, int]) -> list[list[Touch]]:
    """What each call touches, where activations share memory as a runtime's memory plan lets them.

    An activation that nothing reads any more leaves its memory to the next one: the smallest that is large enough, or
    else the largest, which then is made larger. Workspaces are taken from the same memory every time.

    Args:
        calls: in order.
        given: the network's inputs and their sizes in bytes; their memory is never used for anything else.
    """
    last_read = {name: number for number, call in enumerate(calls) for name in (*call.inputs, call.output)}
    sizes: dict[Hashable, int] = {}
    tensor_bytes = dict(given)
    area: dict[str, Hashable] = {name: ("input", name) for name in given}
    free: list[Hashable] = []
    made: list[list[Touch]] = []
    for number, call in enumerate(calls):
        place = _place(free, sizes, call.output_bytes)
        area[call.output] = place
        tensor_bytes[call.output] = call.output_bytes
        reads = [Touch(area[name], tensor_bytes[name]) for name in call.inputs]
        weights = [Touch(("weight", number, i), size) for i, size in enumerate(call.others)]
        workspace = [Touch("workspace", call.workspace_bytes)] if call.workspace_bytes else []
        made.append([*reads, *weights, *workspace, Touch(place, call.output_bytes)])
        for name in {*call.inputs, call.output}:
            if last_read[name] == number and name not in given:
                free.append(area[name])
    return made


def _place(free: list[Hashable], sizes: dict[Hashable, int], size_bytes: int) -> Hashable:
    """Takes memory for an activation out of what is free, or anew."""
    if not free:
        place: Hashable = ("activation", len(sizes))
    else:
        large = [each for each in free if sizes[each] >= size_bytes]
        place = min(large, key=lambda each: sizes[each]) if large else max(free, key=lambda each: sizes[each])
        free.remove(place)
    sizes[place] = max(sizes.get(place, 0), size_bytes)
    return place
