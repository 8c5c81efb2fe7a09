"""A lowered network as calls of kernels on tensors: what memory each call touches."""

from collections.abc import Sequence

from tvm import ir, relax

from latency_models.estimate.harness import Argument, Kernel
from latency_models.estimate.residency import Tensors, Touch, touches
from latency_models.tvm_backend import lowering
from latency_models.tvm_backend.importer import ENTRY
from latency_models.tvm_backend.lowering import Lowered

LINE_BYTES = 64
CALL_TIR = ir.Op.get("relax.call_tir")


def harness_kernel(kernel: lowering.Kernel, symbol: str) -> Kernel:
    """A kernel as the harness calls it under a symbol."""
    return Kernel(symbol, tuple(Argument(each.shape, each.dtype) for each in kernel.arguments))


def memory_of(lowered: Lowered, n_lines: dict[str, int]) -> list[list[Touch]]:
    """What each call of a network touches, in order of `Lowered.calls`.

    Args:
        lowered: the network.
        n_lines: kernel name to the cache lines it touches; those beyond its tensors are workspace.
    """
    sizes = {kernel.name: [each.n_bytes for each in kernel.arguments] for kernel in lowered.kernels}
    main = lowered.main[ENTRY]
    names = {parameter: f"input {i}" for i, parameter in enumerate(main.params)}
    calls: list[Tensors] = []
    given: dict[str, int] = {}
    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            kernel, arguments = _call(value)
            if kernel is None:
                sources = [each for each in (value, *getattr(value, "args", ())) if each in names]
                names[binding.var] = names[sources[0]] if sources else f"value {len(names)}"
                continue
            *argument_sizes, output_bytes = sizes[kernel]
            reads = {names[each]: size for each, size in zip(arguments, argument_sizes, strict=True) if each in names}
            given.update({name: size for name, size in reads.items() if name.startswith("input")})
            weights = tuple(size for each, size in zip(arguments, argument_sizes, strict=True) if each not in names)
            names[binding.var] = f"value {len(names)}"
            workspace = max(0, n_lines[kernel] * LINE_BYTES - sum(sizes[kernel]))
            calls.append(Tensors(tuple(reads), names[binding.var], output_bytes, weights, workspace))
    return touches(calls, given)


def _call(value: relax.Expr) -> tuple[str | None, Sequence[relax.Expr]]:
    """The kernel that a value is a call of, if it is, and what it reads."""
    if not isinstance(value, relax.Call):
        return None, ()
    if value.op.same_as(CALL_TIR):
        kernel, given = value.args
        return kernel.name_hint, given.fields if isinstance(given, relax.Tuple) else [given]
    if isinstance(value.op, ir.GlobalVar):
        return value.op.name_hint, value.args
    return None, ()
