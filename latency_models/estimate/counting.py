"""Executing a harness under QEMU's user mode and reading what its plugin (`counting.c`) counted."""

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from latency_models.errors import LatencyError
from latency_models.estimate.cache import cache_folder
from latency_models.estimate.harness import BOUNDARY
from latency_models.estimate.tools import Tools, run_tool
from latency_models.target import Processor

PLUGIN_SOURCE = Path(__file__).with_name("counting.c")
COMPILE_LIMIT_S = 60.0
RUN_LIMIT_S = 120.0


@dataclass(frozen=True)
class Block:
    """Instructions that QEMU translated together: entered at the first, left after the last.

    Attributes:
        pc: address of the first instruction.
        sizes: bytes of each instruction.
        count: how often it ran.
        after: address of a block to how often this one ran right after it.
    """

    pc: int
    sizes: tuple[int, ...]
    count: int
    after: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Execution:
    """What one run of a kernel, on empty caches, did.

    Attributes:
        blocks: those that ran.
        fetches: address of an instruction whose loads and stores miss, to the lines that it was the first of the kernel
            to touch, then the lines that were not found in each cache.
        n_accesses: loads and stores.
        n_lines: different cache lines they touched.
        misses: for each cache size asked for, innermost first, the lines that were not found there.
    """

    blocks: tuple[Block, ...]
    fetches: Mapping[int, tuple[int, ...]]
    n_accesses: int
    n_lines: int
    misses: tuple[int, ...]


def count_blocks(program: Path, n_kernels: int, processor: Processor, tools: Tools) -> list[Execution]:
    """Runs a harness and returns what each of its kernels executed, in order.

    Args:
        program: the harness.
        n_kernels: in it.
        processor: the core that QEMU pretends to be, where it knows it (else one with every feature); its caches.
        tools: where QEMU is.

    Raises:
        LatencyError: the emulator or the harness failed, or did not end in time.
    """
    counts = program.with_name("counts")
    caches = f",caches={':'.join(map(str, processor.cache_bytes))}" if processor.cache_bytes else ""
    known = run_tool([tools.emulator, "-cpu", "help"], RUN_LIMIT_S, statuses=(0, 1)).split()
    core = processor.cpu if processor.cpu in known and "aarch64" in processor.triple else "max"
    for version in (1, 2):
        plugin = f"{plugin_path(tools, version)},out={counts},boundary={BOUNDARY:x}{caches}"
        try:
            run_tool([tools.emulator, "-cpu", core, "-plugin", plugin, program], RUN_LIMIT_S)
            break
        except LatencyError as error:
            if version == 2 or "API version" not in error.problem:
                raise
    executions = parse_counts(counts.read_text().splitlines())
    if len(executions) != 2 * n_kernels:
        raise LatencyError(
            f"The harness ran {len(executions) // 2} of {n_kernels} kernels.", "Report this as a bug of the estimate."
        )
    return executions[::2]


def parse_counts(lines: Iterable[str]) -> list[Execution]:
    """Reads the plugin's output (format: `counting.c`); kernels in order."""
    executions: list[Execution] = []
    blocks: list[Block] = []
    fetches: dict[int, tuple[int, ...]] = {}
    for line in lines:
        kind, *words = line.split()
        if kind == "kernel":
            blocks, fetches = [], {}
        elif kind == "block":
            after = {int(pc, 16): int(n) for pc, n in (word.split(":") for word in words[3:])}
            sizes = tuple(int(digit, 16) for digit in words[1])
            blocks.append(Block(int(words[0], 16), sizes, int(words[2]), after))
        elif kind == "fetch":
            fetches[int(words[0], 16)] = tuple(map(int, words[1:]))
        elif kind == "memory":
            n_accesses, n_lines, *misses = map(int, words)
            executions.append(Execution(tuple(_mend(blocks)), fetches, n_accesses, n_lines, tuple(misses)))
    return executions


def plugin_path(tools: Tools, version: int) -> Path:
    """The compiled plugin for a version of QEMU's plugin interface (2 from QEMU 9 on), built where it is not yet.

    Raises:
        LatencyError: it does not compile.
    """
    digest = hashlib.sha256(PLUGIN_SOURCE.read_bytes() + bytes([version])).hexdigest()[:16]
    path = cache_folder() / f"counting-{digest}.so"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        flags = ["-std=c11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_VERSION={version}"]
        run_tool([tools.host_compiler, *flags, PLUGIN_SOURCE, "-o", built], COMPILE_LIMIT_S)
        built.replace(path)
    return path


def _mend(blocks: Sequence[Block]) -> list[Block]:
    """The blocks without the instructions that QEMU on x86 shows at the end of a block but does not execute there.

    One that lies on two pages, or is repeated by a prefix, begins the next block.
    """
    following: dict[int, set[int]] = defaultdict(set)
    for block in blocks:
        for before in block.after:
            following[before].add(block.pc)
    mended = []
    for block in blocks:
        *sizes, _ = block.sizes
        ends_before = bool(sizes) and block.pc + sum(sizes) in following[block.pc]
        mended.append(replace(block, sizes=tuple(sizes)) if ends_before else block)
    return mended
