"""From scheduled loops to machine code, by the passes that they need and no others.

TVM's own list serves GPUs and unscheduled code too and takes twice as long. Left out are hoisting of conditions, common
subexpressions, no-ops and simplification, all of which LLVM does again, and the checks of a kernel's arguments, which
the virtual machine has made for the whole network. They had no effect on the kernels' times, nor had LLVM's level: the
21 kernels of a pruned ResNet-20 took 182 microseconds (interleaved minima) by either list, at level 3 as at 1.
"""

import tvm
import tvm_ffi
from tvm import ir, s_tir, tirx
from tvm.runtime import Module

OPT_LEVEL = 1


def machine_code_of(module: ir.IRModule, target: tvm.target.Target) -> Module:
    """Generates code.

    Args:
        module: scheduled functions; loops only, or blocks that another scheduler left, which take TVM's own passes.
        target: what LLVM compiles for.
    """
    if any(_has_blocks(function) for function in module.functions.values()):
        with tvm.transform.PassContext(opt_level=2, config={"tirx.disable_assert": True}):
            return tvm.tirx.build(module, target=target)
    for step in (
        tirx.transform.BindTarget(target.with_host(target)),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RewriteUnsafeSelect(),
        tirx.transform.AnnotateEntryFunc(),
        tirx.transform.SplitHostDevice(),
        tirx.transform.MakePackedAPI(),
        tirx.transform.LowerTVMBuiltin(),
        tirx.transform.LowerIntrin(),
        tirx.transform.SkipAssert(),
    ):
        module = step(module)
    built: Module = tvm.get_global_func("target.build.llvm")(module, target)
    return built


def _has_blocks(function: tirx.PrimFunc) -> bool:
    """Whether there are blocks beside the root."""
    blocks = list[s_tir.SBlock]()
    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, blocks.append))
    return len(blocks) > 1
