"""A network whose single layers are changed, run many times on the same inputs: what ran before them is remembered.

A layer that has answered before the first changed one starts cannot depend on it, whatever `forward` does. So modules
that are through by then give their first answer again, the outermost ones first.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.arrange import arranged, channels_last
from search_spaces.statistics import LAYERS

MAP_ROWS, ROWS_PER_CHANNEL = 4096, 5
"""Positions that a map over channels is learned from, and how many it takes for each channel at least."""
MAP_RIDGE = 0.2
"""Pull of such a map towards no change, as a share of the mean diagonal, times channels for each row."""
MAX_BYTES = 256 << 20
"""Of remembered answers; fewer inputs are run where more would be needed."""
Change = Tensor | Callable[[Tensor], Tensor]
"""A layer's weight, or what stands for a whole module of one input."""


@dataclass(frozen=True, eq=False)
class _Call:
    """One run of a module: when it began and ended, its first argument and its answer."""

    start: int
    end: int
    argument: object
    answer: object


class Replay:
    """Runs a copy of a teacher with changes at some of its modules.

    Attributes:
        outputs: (n, ...) of the unchanged network.
    """

    def __init__(
        self, teacher: nn.Module, inputs: tuple[Tensor, ...], images_last: bool = False, bfloat16: bool = False
    ) -> None:
        """
        Args:
            teacher: in eval mode; not modified.
            inputs: (n, ...) each.
            images_last: run with the images' channels side by side in memory (see `Statistics.channels_last`).
            bfloat16: compute in it where the processor has it: what is compared has lost more than its rounding.
        """
        self._network = copy.deepcopy(teacher).eval()
        if images_last:
            arranged(self._network, torch.channels_last)
            inputs = channels_last(inputs)
        self._bfloat16 = bfloat16
        self._modules = {path: module for path, module in self._network.named_modules() if path}
        self._calls: dict[str, list[_Call]] = {}
        self._clock = 0
        self._is_recording = True
        self._from = 0
        self._stand_ins: Mapping[str, Callable[[Tensor], Tensor]] = {}
        for path, module in self._modules.items():
            module.forward = self._wrapped(path, module.forward)
        self._run(tuple(tensor[:1] for tensor in inputs))
        n_bytes = sum(_n_bytes(call.answer) for calls in self._calls.values() for call in calls)
        n = max(1, min(len(inputs[0]), MAX_BYTES // max(n_bytes, 1)))
        self._inputs = tuple(tensor[:n] for tensor in inputs)
        self._calls, self._clock = {}, 0
        self.outputs = self._run(self._inputs)
        self._is_recording = False
        # A module that runs more than once, or with parts that do, cannot be told from its other runs.
        often = {path for path in self._modules if len(self._calls.get(path, ())) != 1}
        self._once = {path for path in self._modules if not any(_is_in(other, path) for other in often)}

    def seen(self, path: str) -> tuple[object, object] | None:
        """First argument and answer of a module of the unchanged network that runs exactly once."""
        calls = self._calls.get(path, [])
        return (calls[0].argument, calls[0].answer) if len(calls) == 1 else None

    @torch.no_grad()
    def changed(self, changes: Mapping[str, Change]) -> Tensor:
        """Outputs (n, ...) with other weights of some layers, or something else in place of some modules.

        Layers behind the first change are mended as far as a linear map over their channels can: what a refit of them
        would do at least.

        Args:
            changes: by path; a tensor has the shape of the layer's weight.
        """
        starts = [call.start for path in changes for call in self._calls.get(path, [])]
        self._from = min(starts, default=self._clock)
        self._stand_ins = {path: change for path, change in changes.items() if not isinstance(change, Tensor)}
        with self._weights({path: change for path, change in changes.items() if isinstance(change, Tensor)}):
            return self._run(self._inputs)

    @contextmanager
    def _weights(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        layers = {path: self._modules[path] for path in weights}
        own = {path: layer.weight for path, layer in layers.items()}
        try:
            for path, layer in layers.items():
                old = own[path]
                assert isinstance(old, nn.Parameter)
                new = torch.empty_like(old).copy_(weights[path].view(old.shape))
                layer.weight = nn.Parameter(new, requires_grad=False)
            yield
        finally:
            for path, layer in layers.items():
                layer.weight = own[path]

    @torch.no_grad()
    def _run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16, cache_enabled=False):
            outputs: Tensor = self._network(*(tensor.clone() for tensor in inputs))
        return outputs.float()

    def _wrapped(self, path: str, forward: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            if self._is_recording:
                start, argument = self._clock, _copied(args[0]) if args else None
                self._clock += 1
                answer = forward(*args, **kwargs)
                self._calls.setdefault(path, []).append(_Call(start, self._clock, argument, _copied(answer)))
                self._clock += 1
                return answer
            if path in self._stand_ins:
                assert isinstance(args[0], Tensor)
                return self._stand_ins[path](args[0])
            if path in self._once and self._calls[path][0].end < self._from:
                return _copied(self._calls[path][0].answer)
            answer = forward(*args, **kwargs)
            return (
                self._mended(path, answer) if path in self._once and self._calls[path][0].start > self._from else answer
            )

        return run

    def _mended(self, path: str, answer: object) -> object:
        """A layer's answer after the linear map that brings it nearest to the first one."""
        wanted = self._calls[path][0].answer
        if not isinstance(self._modules[path], LAYERS) or not isinstance(answer, Tensor):
            return answer
        assert isinstance(wanted, Tensor)
        axis = -1 if isinstance(self._modules[path], nn.Linear) else 1
        return nearest_map(answer, wanted, axis)(answer)


def nearest_map(inputs: Tensor, wanted: Tensor, axis: int) -> Callable[[Tensor], Tensor]:
    """The map over channels, with a bias, that brings inputs nearest to what is wanted.

    Linear where there are positions enough to learn it from, otherwise a scale for each channel.

    Args:
        inputs, wanted: of one shape.
        axis: of the channels.
    """
    x, y = (tensor.movedim(axis, -1).flatten(0, -2) for tensor in (inputs, wanted))
    step = -(-len(x) // MAP_ROWS)
    with torch.autocast("cpu", enabled=False):  # a matrix of rounded sums of products may have no useful inverse
        matrix, bias = _fitted(x[::step].float(), y[::step].float())

    def run(tensor: Tensor) -> Tensor:
        moved = tensor.movedim(axis, -1)
        mapped: Tensor = moved @ matrix.to(moved.dtype) + bias.to(moved.dtype)
        return mapped.movedim(-1, axis)

    return run


def _fitted(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix (n_channels, n_channels) and bias for which x @ matrix + bias comes nearest to y, (n, n_channels) both."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    n_channels = x.shape[1]
    if len(x) >= ROWS_PER_CHANNEL * n_channels:
        gram = x.T @ x
        # Towards no change, the more so the fewer rows there are.
        gram.diagonal().add_(MAP_RIDGE * n_channels / len(x) * gram.diagonal().mean() + 1e-12)
        matrix = torch.eye(n_channels) + torch.linalg.solve(gram, x.T @ (y - x))
    else:
        matrix = torch.diag((x * y).sum(0) / (x.square().sum(0) + 1e-12))
    return matrix, y_mean - x_mean @ matrix


def _is_in(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.")


def _copied(value: object) -> object:
    """A copy that an operation in place may change."""
    if isinstance(value, tuple):
        return tuple(_copied(part) for part in value)
    return value.clone() if isinstance(value, Tensor) else value


def _n_bytes(value: object) -> int:
    if isinstance(value, tuple):
        return sum(map(_n_bytes, value))
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
