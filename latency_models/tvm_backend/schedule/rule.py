"""The rule: from a fused kernel as TVM makes it to the same kernel in tiled, vectorised and threaded loops."""

from collections.abc import Sequence

from tvm import s_tir, tirx
from tvm.ir import Var

from latency_models.target import Processor
from latency_models.tvm_backend.schedule.contraction import Contraction, contraction, has_vector_axis
from latency_models.tvm_backend.schedule.expressions import loads
from latency_models.tvm_backend.schedule.inline import inlined
from latency_models.tvm_backend.schedule.merge import merged
from latency_models.tvm_backend.schedule.rows import common_rows, row_by_row
from latency_models.tvm_backend.schedule.stages import Stage, refusal, stages_of
from latency_models.tvm_backend.schedule.threads import threads_that_pay
from latency_models.tvm_backend.schedule.tile_code import aligned_epilogue
from latency_models.tvm_backend.schedule.vectors import Vectors, vectors_of


def schedule(func: tirx.PrimFunc, processor: Processor, n_threads: int) -> tirx.PrimFunc:
    """A kernel's loops written anew for a processor, without tuning.

    Kinds are told by the iteration domains, not by names. A reduction whose output has an axis to put into vectors
    (convolutions of all kinds, matrix products, pooling, means over space) is accumulated in register tiles with what
    follows it done on the registers; several stages with rows in common (softmax, layer norm) go row by row; the rest
    is vectorised along the last axis. The tile comes from a small model of the core: Goto & van de Geijn 2008, "Anatomy
    of high-performance matrix multiplication", without the packing that networks' small matrices do not repay.

    Args:
        func: of blocks, as relax's legalisation and fusion leave it; shapes constant.
        processor: its vector width, registers and half precision are used.
        n_threads: that TVM's pool will have; a kernel too small to share runs on one.

    Raises:
        LatencyError: there is no schedule for the kernel; names it and says why.
    """
    attributes = dict(func.attrs) if func.attrs is not None else {}
    kernel = str(attributes.get("global_symbol", "without a name"))
    stages = stages_of(func, kernel)
    outputs = [stage.buffer for stage in stages if any(stage.buffer.same_as(param) for param in func.params)]
    stages = inlined(stages, outputs)
    unused = [stage for stage in stages if not _is_used(stage, stages, outputs)]
    if unused:
        raise refusal(kernel, f"nothing reads what block {unused[0].name} computes")
    body = _body(stages, outputs, processor, n_threads)
    root = s_tir.SBlock([], [], [], "root", body)  # Relax's passes look for one
    return func.with_body(s_tir.SBlockRealize([], True, root)).with_attr("tirx.is_scheduled", True)


def _body(stages: list[Stage], outputs: Sequence[Var], processor: Processor, n_threads: int) -> tirx.Stmt:
    vectors = _vectors(stages, processor)
    n_threads = threads_that_pay(stages, vectors.n_lanes, n_threads)
    stages = merged(stages)
    job = _as_contraction(stages, outputs)
    if job is not None:
        return contraction(job, vectors, n_threads, {})
    return row_by_row(stages, outputs, common_rows(stages), vectors, n_threads)


def _vectors(stages: Sequence[Stage], processor: Processor) -> Vectors:
    """By the type with the fewest lanes among those written."""
    return min((vectors_of(processor, stage.dtype) for stage in stages), key=lambda vectors: vectors.n_lanes)


def _as_contraction(stages: Sequence[Stage], outputs: Sequence[Var]) -> Contraction | None:
    """The kernel as one reduction in vectors with element-wise stages before and after, where it is that."""
    reductions = [stage for stage in stages if stage.combine is not None]
    if len(reductions) != 1 or not has_vector_axis(reductions[0]):
        return None
    stage = reductions[0]
    position = next(index for index, one in enumerate(stages) if one is stage)
    helpers, epilogues = stages[:position], stages[position + 1 :]
    if any(_reads(helper, other) for helper in helpers for other in (*helpers, *epilogues) if other is not helper):
        return None
    if any(_reads(other, helper) for other in epilogues for helper in helpers):
        return None
    made = [one.buffer for one in (*helpers, *epilogues)]
    if any(
        load.source.same_as(buffer) for one in (*helpers, *epilogues) for load in loads(one.value) for buffer in made
    ):
        return None
    if any(aligned_epilogue(stage, epilogue) is None for epilogue in epilogues):
        return None
    keeps = any(stage.buffer.same_as(output) for output in outputs)
    if any(helper.buffer.same_as(output) for helper in helpers for output in outputs):
        return None
    return Contraction(stage, tuple(epilogues), keeps, tuple(helpers))


def _reads(stage: Stage, other: Stage) -> bool:
    return any(load.source.same_as(other.buffer) for load in loads(stage.value))


def _is_used(stage: Stage, stages: Sequence[Stage], outputs: Sequence[Var]) -> bool:
    return any(stage.buffer.same_as(output) for output in outputs) or any(_reads(other, stage) for other in stages)
