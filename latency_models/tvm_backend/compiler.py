"""A processor as TVM's compiler is told of it."""

from functools import cache

import tvm

from latency_models.host import host_processor
from latency_models.target import Processor, Target
from latency_models.tvm_backend.codegen import OPT_LEVEL


def processor_of(target: Target) -> Processor:
    """The target's processor; this machine's where the target names none."""
    return target.processor or _host()


@cache
def _host() -> Processor:
    return host_processor()


@cache
def compiler_target(processor: Processor) -> tvm.target.Target:
    """What LLVM compiles for."""
    config: dict[str, object] = {"kind": "llvm", "opt-level": OPT_LEVEL}
    config["mtriple"] = processor.triple or tvm.get_global_func("target.llvm_get_system_triple")()
    config["mcpu"] = processor.cpu or tvm.get_global_func("target.llvm_get_system_cpu")()
    if processor.features:
        config["mattr"] = processor.features.split(",")
    return tvm.target.Target(config)
