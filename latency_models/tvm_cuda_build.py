"""An artifact compiled for an NVIDIA GPU by TVM, every kernel scheduled by dlight's rules for GPUs, without tuning."""

from collections.abc import Mapping
from typing import Any

import onnx
import tvm
from google.protobuf.message import DecodeError
from tvm import relax, s_tir, tirx
from tvm.relax.frontend.onnx import from_onnx
from tvm.s_tir import dlight
from tvm.s_tir.analysis import estimate_tir_flops

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import DeviceError, LatencyError
from latency_models.target import Processor, Target
from latency_models.tvm_machine import NETWORK, TVM_ERRORS, Built

_OTHER = "Name another target for this network, such as `cuda`."


def build(artifact: Artifact, target: Target, feed: Feed, arch: str) -> Built:
    """Compiles an artifact for inputs of the feed's shapes.

    Layouts stay ONNX's (NCHW). The rules are tried in order: matrix products and, as such, convolutions; products with
    a vector; sums; everything else. They are fixed, not tuned, and use no tensor cores for convolutions.

    Args:
        artifact: float32 or float16, weights inside.
        target: its processor is the GPU's host; None or an empty triple for this machine.
        feed: gives the shapes.
        arch: the GPU's, e.g. `sm_86`.

    Raises:
        LatencyError: the file is no network, TVM lacks an operator, or a kernel is left without a schedule.
    """
    return compile_module(imported(artifact, feed), arch, host_of(target.processor))


def imported(artifact: Artifact, feed: Feed) -> Any:
    """The artifact as a Relax module, before anything is lowered.

    Raises:
        LatencyError: the file is no network, the feed does not fit, or TVM lacks an operator.
    """
    try:
        model = onnx.load_from_string(artifact.read())
    except DecodeError as error:
        raise LatencyError(
            f"TVM cannot load {artifact.path}: it is no ONNX file.", "Export the student again."
        ) from error
    names = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    if not names or names != set(feed):
        raise LatencyError(
            f"The network's inputs are {sorted(names)}, the feed's are {sorted(feed)}.",
            "Give one array for each input of the network, under its name.",
        )
    shapes = {name: list(array.shape) for name, array in feed.items()}
    kinds = {name: array.dtype.name for name, array in feed.items()}
    try:
        return from_onnx(model, shape_dict=shapes, dtype_dict=kinds, sanitize_input_names=False)
    except TVM_ERRORS as error:
        raise LatencyError(f"TVM cannot import the network: {_last_line(error)}.", _OTHER) from error


def compile_module(module: Any, arch: str, host: Mapping[str, Any] | None = None) -> Built:
    """Lowers, schedules and compiles a Relax module; see `build`."""
    target = tvm.target.Target({"kind": "cuda", "arch": arch}, host=dict(host or {"kind": "llvm"}))
    inputs = tuple(str(parameter.name) for parameter in module[NETWORK].params)
    passes = [
        relax.transform.DecomposeOpsForInference(), relax.transform.CanonicalizeBindings(),
        relax.transform.FoldConstant(), relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(), relax.transform.FuseOps(), relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]  # fmt: skip
    rules = (
        dlight.gpu.Matmul(), dlight.gpu.GEMV(), dlight.gpu.Reduction(), dlight.gpu.GeneralReduction(),
        dlight.gpu.Fallback(),
    )  # fmt: skip
    try:
        with target:
            fused = tvm.transform.Sequential(passes)(module)
            n_flops = {name: _flops(function) for name, function in kernels_of(fused).items()}
            scheduled = dlight.ApplyDefaultSchedule(*rules)(fused)
            check_scheduled(scheduled)
            return Built(tvm.compile(scheduled, target=target), inputs, n_flops)
    except TVM_ERRORS as error:
        raise LatencyError(f"TVM cannot compile the network for {arch}: {_last_line(error)}.", _OTHER) from error


def kernels_of(module: Any) -> dict[str, Any]:
    """The kernels of a module by name."""
    return {
        variable.name_hint: function
        for variable, function in module.functions_items()
        if isinstance(function, tirx.PrimFunc)
    }


def check_scheduled(module: Any) -> None:
    """Refuses a module in which a rule has failed without a word.

    Raises:
        LatencyError: a kernel is not marked as scheduled, or not bound to the GPU's threads.
    """
    for name, function in kernels_of(module).items():
        marked = function.attrs is not None and function.attrs.get("tirx.is_scheduled")
        if not marked or not _all_bound(function.body):
            raise LatencyError(f"TVM has no schedule for the kernel {name} on a GPU.", _OTHER)


def host_of(processor: Processor | None) -> dict[str, Any]:
    """TVM's description of the GPU's host."""
    if processor is None or not processor.triple:
        return {"kind": "llvm"}
    features = [word for word in processor.features.split(",") if word]
    return {
        "kind": "llvm",
        "mtriple": processor.triple,
        "mcpu": processor.cpu,
        **({"mattr": features} if features else {}),
    }


def this_arch(target: Target) -> str:
    """The architecture of the GPU here, e.g. `sm_86`.

    Raises:
        DeviceError: there is no GPU, or the target names another kind.
    """
    device = tvm.cuda(0)
    if not device.exist:
        raise DeviceError("TVM finds no NVIDIA GPU.", "Check the driver with `nvidia-smi`.")
    arch = "sm_" + str(device.compute_version).replace(".", "")
    if target.cuda_arch not in ("", arch):
        raise DeviceError(
            f"{target.name} is for {target.cuda_arch}, the GPU here is {arch}.",
            "Name `tvm-cuda` for the GPU that is here.",
        )
    return arch


def device_facts() -> dict[str, str]:
    """TVM's version and the GPU's name and architecture, as far as there is one."""
    device = tvm.cuda(0)
    facts = {"tvm": str(tvm.__version__)}
    if device.exist:
        facts |= {"gpu": str(device.device_name), "compute_capability": str(device.compute_version)}
    return facts


def _all_bound(statement: Any, bound: bool = False) -> bool:
    """Whether everything that a statement stores is stored inside a loop over the GPU's threads."""
    if isinstance(statement, tirx.For):
        return _all_bound(statement.body, bound or statement.thread_binding is not None)
    if isinstance(statement, tirx.SeqStmt):
        return all(_all_bound(part, bound) for part in statement.seq)
    if isinstance(statement, s_tir.SBlockRealize):
        return _all_bound(statement.block.body, bound)
    if isinstance(statement, tirx.IfThenElse):
        parts = [statement.then_case, *([statement.else_case] if statement.else_case is not None else [])]
        return all(_all_bound(part, bound) for part in parts)
    inner = getattr(statement, "body", None)
    return bound if inner is None else _all_bound(inner, bound)


def _flops(function: Any) -> int:
    try:
        return int(estimate_tir_flops(tvm.IRModule({"main": function})))
    except TVM_ERRORS:
        return 0  # an operator that TVM does not count: unknown, as `KernelTime` has it


def _last_line(error: Exception) -> str:
    """What a message of TVM says, without its stack of C++ functions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:200] if lines else type(error).__name__
