"""Writing a Relax function operator by operator, each from a tensor expression that is built once per process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import tvm
from tvm import relax, te, tirx, topi

from latency_models.target import Processor
from latency_models.tvm_backend.graph import Array, Input
from latency_models.tvm_backend.tensor import Tensor

Compute = Callable[..., te.Tensor]
"""Placeholders, then parameters, to a tensor expression. A function of a module, as it is part of a key."""

_PRIM_FUNCS: dict[tuple[Any, ...], tuple[tirx.PrimFunc, tuple[int, ...], str]] = {}
"""Tensor expressions lowered so far: a second network pays only for the operators it does not share."""


@dataclass(frozen=True)
class Work:
    """What an operator does, in ONNX's words; units as in `latency_models.kernel.KernelTime`."""

    operator: str
    n_flops: int = 0
    n_in: int = 0
    n_out: int = 0
    groups: int = 1


@final
@dataclass
class Emitter:
    """Builds one Relax function.

    Attributes:
        processor: what widths and vectors are chosen for.
        builder: TVM's own.
        work: name of an emitted function to what it does.
    """

    processor: Processor
    builder: relax.BlockBuilder = field(default_factory=relax.BlockBuilder)
    work: dict[str, Work] = field(default_factory=dict)

    def parameter(self, given: Input) -> Tensor:
        """A network input as a tensor."""
        var = relax.Var(given.name, relax.TensorType(given.shape, given.dtype))
        return _plain(var, given.shape, given.dtype)

    def compute(
        self, hint: str, work: Work, function: Compute, inputs: list[relax.Expr], *parameters: Any
    ) -> relax.Expr:
        """Emits one kernel.

        Args:
            hint: its name, which need not be unique.
            work: what it does.
            function: builds it from a placeholder for each input, then the parameters.
            inputs: variables or constants.
            parameters: hashable.
        """
        types = tuple((tuple(int(size) for size in one.ty.shape.values), str(one.ty.dtype)) for one in inputs)
        key = (function, hint, types, parameters)
        if key not in _PRIM_FUNCS:
            _PRIM_FUNCS[key] = _prim_func(function, types, parameters)
        prim_func, shape, dtype = _PRIM_FUNCS[key]
        name = self.builder.add_func(prim_func, hint)
        self.work.setdefault(name.name_hint, work)
        return self.builder.emit(relax.call_tir(name, inputs, relax.TensorType(shape, dtype)))

    def view(self, expr: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
        """The same memory under another shape."""
        if tuple(int(size) for size in expr.ty.shape.values) == tuple(shape):
            return expr
        return self.builder.emit(relax.op.reshape(expr, shape))

    def constant(self, array: Array) -> relax.Expr:
        """A weight."""
        return relax.const(np.ascontiguousarray(array))

    def arranged(self, tensor: Tensor, order: tuple[int, ...]) -> Tensor:
        """The tensor with its axes in another order in memory; a copy unless only axes of size 1 move."""
        if tensor.features is not None:
            tensor = self.whole(tensor)
        if tensor.order == order:
            return tensor
        sizes = tensor.shape
        if [a for a in tensor.order if sizes[a] != 1] == [a for a in order if sizes[a] != 1]:
            tensor = self.whole(tensor) if tensor.order[-1] != order[-1] else tensor
            width = tensor.width if tensor.order[-1] == order[-1] else sizes[order[-1]]
            moved = Tensor(tensor.expr, sizes, tensor.dtype, order, width)
            return Tensor(self.view(tensor.expr, moved.physical), sizes, tensor.dtype, order, width)
        tensor = self.whole(tensor)
        axes = tuple(tensor.order.index(axis) for axis in order)
        expr = self.compute("transpose", Work("Transpose"), topi.transpose, [tensor.expr], axes)
        return Tensor(expr, sizes, tensor.dtype, order, sizes[order[-1]])

    def whole(self, tensor: Tensor) -> Tensor:
        """The tensor without the lanes beyond its own, and unflattened ones in ONNX's order."""
        if tensor.features is not None and tensor.origin is not None:
            origin = self.plain(tensor.origin)
            return _plain(self.view(origin.expr, tensor.shape), tensor.shape, tensor.dtype)
        if not tensor.padded:
            return tensor
        own = tensor.shape[tensor.order[-1]]
        expr = self.compute("slice", Work("Slice"), _first_lanes, [tensor.expr], own)
        return Tensor(expr, tensor.shape, tensor.dtype, tensor.order, own)

    def plain(self, tensor: Tensor) -> Tensor:
        """The tensor as ONNX describes it."""
        if tensor.features is not None:
            return self.whole(tensor)
        return self.whole(self.arranged(tensor, tuple(range(len(tensor.shape)))))

    def tensor(self, expr: relax.Expr, shape: tuple[int, ...], order: tuple[int, ...] | None = None) -> Tensor:
        """What an emitted expression holds: `shape` as in ONNX, in `order` in memory (ONNX's by default)."""
        physical = tuple(int(size) for size in expr.ty.shape.values)
        order = tuple(range(len(shape))) if order is None else order
        return Tensor(expr, shape, str(expr.ty.dtype), order, physical[-1] if physical else 1)


def _plain(expr: relax.Expr, shape: tuple[int, ...], dtype: str) -> Tensor:
    return Tensor(expr, shape, dtype, tuple(range(len(shape))), shape[-1] if shape else 1)


def _first_lanes(x: te.Tensor, n: int) -> te.Tensor:
    return te.compute((*x.shape[:-1], tirx.IntImm("int64", n)), lambda *index: x(*index), name="slice", tag="injective")


def _prim_func(
    function: Compute, types: tuple[tuple[tuple[int, ...], str], ...], parameters: tuple[Any, ...]
) -> tuple[tirx.PrimFunc, tuple[int, ...], str]:
    placeholders = [
        te.placeholder([tirx.IntImm("int64", size) for size in shape], dtype, name=f"p{index}")
        for index, (shape, dtype) in enumerate(types)
    ]
    result = function(*placeholders, *parameters)
    prim_func = te.create_prim_func([*placeholders, result], index_dtype_override="int64").with_attr(
        "tirx.noalias", True
    )
    return prim_func, tuple(int(size) for size in result.shape), str(result.dtype)


def tvm_version() -> str:
    """The version of TVM in use."""
    return str(tvm.__version__)


def clear_expressions() -> None:
    """Forgets the tensor expressions lowered so far, as a new process would."""
    _PRIM_FUNCS.clear()
