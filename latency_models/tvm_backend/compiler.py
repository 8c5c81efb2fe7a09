"""A processor as TVM's compiler is told of it."""

from functools import cache

import tvm

from latency_models.host import host_processor
from latency_models.target import Processor, Target
from latency_models.tvm_backend.codegen import OPT_LEVEL

LLVM_OPTIONS = ("-unroll-max-iteration-count-to-analyze:uint=0",)
"""LLVM interprets each short loop to learn whether it is worth writing out, a seventh of its time; the schedules have
written out what is, and the code is the same without. (TVM sets an option's value without marking it as given, so that
those that LLVM heeds only with that mark, such as `-unroll-threshold`, have no effect.)"""


def processor_of(target: Target) -> Processor:
    """The target's processor; this machine's where the target names none."""
    return target.processor or _host()


@cache
def _host() -> Processor:
    return host_processor()


@cache
def compiler_target(processor: Processor) -> tvm.target.Target:
    """What LLVM compiles for."""
    config: dict[str, object] = {"kind": "llvm", "opt-level": OPT_LEVEL, "cl-opt": list(LLVM_OPTIONS)}
    config["mtriple"] = processor.triple or tvm.get_global_func("target.llvm_get_system_triple")()
    config["mcpu"] = processor.cpu or tvm.get_global_func("target.llvm_get_system_cpu")()
    if processor.features:
        config["mattr"] = processor.features.split(",")
    return tvm.target.Target(config)
