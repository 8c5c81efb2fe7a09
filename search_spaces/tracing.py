"""Where each channel goes, found by running the network: a NaN put into one channel marks all that depends on it.

Layers that make channels (convolutions, linear layers) are replaced by what they answered once, so a mark ends where
a layer sums over it, and what has seen it is exactly what must be cut together with it: through additions,
concatenations, products, flattening, shuffling and whatever else `forward` does. Several channels are told apart in
few runs by marking those whose number has bit b, then those whose number has not; the runs are a batch that begins
where the marks are put and ends with them, everything else runs once.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from search_spaces.slicing import SLICEABLE, is_depthwise, n_features

Side = Literal["in", "out"]
Axis = tuple[str, Side]
MAX_RUNS = 64
"""Marked copies of the example in one pass."""
_BATCH_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


@dataclass(frozen=True)
class Trace:
    """Where one layer's output channels go.

    Attributes:
        n_channels: that the layer makes.
        hits: axis of another layer to its (feature, channel) pairs.
        problem: why none of the channels may be cut, if so.
    """

    n_channels: int
    hits: Mapping[Axis, list[tuple[int, int]]]
    problem: str | None


def makes_channels(module: nn.Module) -> bool:
    """Whether the outputs are sums over the input channels; only the layers that can be cut count."""
    return isinstance(module, SLICEABLE) and isinstance(module, _ConvNd | nn.Linear) and not is_depthwise(module)


@torch.no_grad()
def trace_channels(teacher: nn.Module, example: tuple[Tensor, ...]) -> dict[str, Trace]:
    """Traces every layer that makes channels, in the order in which they first run.

    Args:
        teacher: not modified.
        example: one tensor for each input of the network, batch axis first; only the first sample is used.
    """
    network = _MarkedNetwork(teacher, tuple(tensor[:1] for tensor in example))
    return {path: _trace(network, path) for path in network.answers}


def _trace(network: "_MarkedNetwork", path: str) -> Trace:
    n = n_features(network.model.get_submodule(path), "out")
    n_bits = max(1, (n - 1).bit_length())
    bits = (torch.arange(n)[None] >> torch.arange(n_bits)[:, None]) & 1 == 1
    seen, problem = network.run(path, torch.cat([bits, ~bits]))
    mixed = {axis: (marks[:n_bits] & marks[n_bits:]).any(0) for axis, marks in seen.items()}
    if problem is None and any(bool(features.any()) for features in mixed.values()):
        # Some feature depends on several channels, which the bits cannot tell apart.
        seen, _ = network.run(path, torch.eye(n, dtype=torch.bool))
        return Trace(n, {axis: [(f, c) for c, f in marks.nonzero().tolist()] for axis, marks in seen.items()}, None)
    weights = 1 << torch.arange(n_bits)
    hits: dict[Axis, list[tuple[int, int]]] = {}
    for axis, marks in seen.items():
        touched = (marks.any(0) & ~mixed[axis]).nonzero().flatten()
        channels = (marks[:n_bits, touched].long() * weights[:, None]).sum(0)
        hits[axis] = list(zip(touched.tolist(), channels.tolist(), strict=True))
    return Trace(n, hits, problem)


class _MarkedNetwork:
    """A copy of a network whose layers repeat themselves, with NaN in chosen channels of one of them."""

    def __init__(self, teacher: nn.Module, example: tuple[Tensor, ...]) -> None:
        self.model = copy.deepcopy(teacher).eval()
        self.example = example
        self.answers: dict[str, list[Tensor]] = defaultdict(list)
        self._is_wide = False
        self._n_calls: dict[str, int] = {}
        self._marked = ""
        self._marks = torch.zeros(0, 0, dtype=torch.bool)
        self._seen: dict[Axis, Tensor] = {}
        self._problem: str | None = None
        makers = {path: module for path, module in self.model.named_modules() if makes_channels(module)}
        handles = [layer.register_forward_hook(self._note_answer(path)) for path, layer in makers.items()]
        self.model(*example)
        for handle in handles:
            handle.remove()
        for path, module in self.model.named_modules():
            is_builtin = type(module).__module__.startswith("torch.nn")
            if isinstance(module, SLICEABLE):
                module.register_forward_pre_hook(self._observe(path))
            elif is_builtin and any(True for _ in module.parameters(recurse=False)):
                module.register_forward_pre_hook(self._refuse(path), with_kwargs=True)
                module.register_forward_hook(_clean)
        for path, layer in makers.items():
            if path in self.answers:
                layer.forward = self._stub(path, layer)

    def run(self, path: str, marks: Tensor) -> tuple[dict[Axis, Tensor], str | None]:
        """Marks channels of one layer.

        Args:
            path: of the layer.
            marks: (n_runs, n_channels) bool.

        Returns:
            For every axis that saw a mark, (n_runs, n_features) bool; and what forbids cutting the channels.
        """
        self._marked, self._problem = path, None
        found: list[dict[Axis, Tensor]] = []
        parts = [marks[start : start + MAX_RUNS] for start in range(0, len(marks), MAX_RUNS)]
        for self._marks in parts:
            n_runs = len(self._marks)
            try:
                output = self._forward(1)
            except _BATCH_ERRORS:
                output = self._forward(n_runs)
            found.append(self._seen)
            if self._problem is None and bool(torch.isnan(output).any()):
                self._problem = "its channels are the network's output"
        axes = {axis: seen.shape[1] for part in found for axis, seen in part.items()}
        blank = [{axis: torch.zeros(len(p), n, dtype=torch.bool) for axis, n in axes.items()} for p in parts]
        joined = [{**empty, **part} for empty, part in zip(blank, found, strict=True)]
        return {axis: torch.cat([part[axis] for part in joined]) for axis in axes}, self._problem

    def _forward(self, n_copies: int) -> Tensor:
        """Runs everything that has no marks on this many copies of the example."""
        self._seen, self._n_calls, self._is_wide = {}, defaultdict(int), n_copies > 1
        with _WideConcatenation():
            output: Tensor = self.model(*(torch.cat([tensor] * n_copies) for tensor in self.example))
        return output

    def _note_answer(self, path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            self.answers[path].append(output.clone())

        return hook

    def _stub(self, path: str, layer: nn.Module) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            answer = self.answers[path][self._n_calls[path]]
            self._n_calls[path] += 1
            n_runs = len(self._marks) if self._is_wide or path == self._marked else 1
            output = answer.expand(n_runs, *answer.shape).clone()  # axis 1 has rows where batch and others are folded
            if path == self._marked:
                channels_last = output if isinstance(layer, nn.Linear) else output.movedim(2, -1)
                channels_last.masked_fill_(self._marks.view(n_runs, *[1] * (output.ndim - 2), -1), torch.nan)
            return output.flatten(0, 1)

        return forward

    def _observe(self, path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
                return
            features_first = args[0].movedim(-1, 1) if isinstance(layer, nn.Linear) else args[0]
            # A sum is NaN where any of its terms is, and takes a fraction of the time of looking at each.
            marks = torch.isnan(features_first.flatten(2).sum(2) if features_first.ndim > 2 else features_first)
            if not bool(marks.any()):
                return
            n_runs = len(self._marks)
            if len(marks) % n_runs:
                self._problem = self._problem or f"{path} does not see the batch on its first axis"
                return
            axis: Axis = (path, "in" if makes_channels(layer) else "out")
            seen = marks.reshape(n_runs, -1, marks.shape[-1]).any(1)
            self._seen[axis] = self._seen[axis] | seen if axis in self._seen else seen

        return hook

    def _refuse(self, path: str) -> Callable[[nn.Module, tuple[object, ...], dict[str, object]], None]:
        def hook(layer: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
            if self._problem is None and any(bool(torch.isnan(tensor).any()) for tensor in tensors):
                self._problem = f"{path} is a {type(layer).__name__}, which cannot be cut"

        return hook


class _WideConcatenation(TorchFunctionMode):
    """Lets `torch.cat` and `torch.stack` join what ran once with what ran in a batch, as additions do by themselves."""

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        options = dict(kwargs) if isinstance(kwargs, dict) else {}
        if func in (torch.cat, torch.concat, torch.concatenate, torch.stack) and args:
            tensors = args[0]
            if isinstance(tensors, list | tuple) and all(isinstance(t, Tensor) and t.ndim for t in tensors):
                n = max(len(tensor) for tensor in tensors)
                args = ([t.expand(n, *t.shape[1:]) if len(t) == 1 else t for t in tensors], *args[1:])
        return func(*args, **options)


def _clean(layer: nn.Module, args: tuple[object, ...], output: object) -> object:
    """The output without marks: what went in has been refused, where it comes out would only hide the reason."""
    if isinstance(output, tuple):
        return tuple(_clean(layer, args, part) for part in output)
    return torch.nan_to_num(output) if isinstance(output, Tensor) else output
