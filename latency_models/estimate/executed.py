"""From compiled kernels to their work: linked, executed under emulation, disassembled, simulated. Each only once."""

import tempfile
from pathlib import Path

import tvm_ffi

from latency_models.estimate.counting import count_blocks
from latency_models.estimate.harness import link_harness
from latency_models.estimate.machine_code import BasicBlock, basic_blocks, disassemble
from latency_models.estimate.machine_model import simulate
from latency_models.estimate.network import harness_kernel
from latency_models.estimate.tools import Tools
from latency_models.estimate.work import Work, work_of
from latency_models.target import Processor
from latency_models.tvm_backend.lowering import Lowered
from latency_models.tvm_backend.machine_code import compiled, object_files

NEGLIGIBLE = 0.0005
"""Share of a kernel's instructions below which a block is not simulated: most blocks check arguments, once."""

_KNOWN: dict[tuple[tvm_ffi.StructuralKey, Processor], Work] = {}
"""Work of the kernels executed so far in this process."""


def works_of(lowered: Lowered, tools: Tools) -> dict[str, Work]:
    """Kernel name to work, for every kernel of a network; those that an earlier network shares cost nothing.

    Raises:
        LatencyError: a program fails or does not end in time, or a kernel cannot be compiled.
    """
    processor = lowered.processor
    new = {kernel.key: kernel for kernel in lowered.kernels if (kernel.key, processor) not in _KNOWN}
    if new:
        codes = compiled(new.values(), processor, lowered.n_threads)
        kernels = [harness_kernel(kernel, codes[kernel.name].symbol) for kernel in new.values()]
        with tempfile.TemporaryDirectory(prefix="understudy-estimate-") as name:
            folder = Path(name)
            program = link_harness(kernels, object_files(codes.values(), folder), folder, tools)
            executions = count_blocks(program, len(kernels), processor, tools)
            texts = disassemble(program, executions, processor.triple, tools)
        blocks = [basic_blocks(execution, texts) for execution in executions]
        simulated = simulate(_regions(blocks), processor.triple, processor.machine_model, processor.features, tools)
        for key, kernel_blocks, execution in zip(new, blocks, executions, strict=True):
            _KNOWN[key, processor] = work_of(kernel_blocks, simulated, execution.n_lines)
    return {kernel.name: _KNOWN[kernel.key, processor] for kernel in lowered.kernels}


def clear_known() -> None:
    """Forgets the kernels executed so far, as a new process would."""
    _KNOWN.clear()


def _regions(blocks: list[list[BasicBlock]]) -> dict[tuple[str, ...], bool]:
    """Instructions of every block that matters, and whether it is ever repeated."""
    regions: dict[tuple[str, ...], bool] = {}
    for kernel_blocks in blocks:
        least = NEGLIGIBLE * sum(block.n_instructions for block in kernel_blocks)
        for block in kernel_blocks:
            if block.n_instructions >= least:
                regions[block.texts] = regions.get(block.texts, False) or block.n_repeats > 0
    return regions
