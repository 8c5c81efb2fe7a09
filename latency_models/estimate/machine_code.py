"""Machine code that ran, as basic blocks with counts: what llvm-mca is asked about."""

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from latency_models.errors import LatencyError
from latency_models.estimate.counting import Execution
from latency_models.estimate.tools import Tools, run_tool

DISASSEMBLE_LIMIT_S = 30.0
BRANCHES = {
    "aarch64": ("b.", "cb", "tb"),
    "x86_64": ("j",),
}
"""How the names of instructions begin that end a block; those in `JUMPS` do too."""

FEATURES = {"aarch64": ("-mattr=+all",), "x86_64": ("-mcpu=sapphirerapids",)}
"""With these llvm-mc knows every instruction."""

MARKERS = {"aarch64": (bytes.fromhex("c0bd39d4"), "brk #0xcdee"), "x86_64": (b"\xcc", "int3")}
"""Trap instructions, which no kernel executes: one is put after each instruction, so that an instruction that cannot be
decoded (QEMU 7.2 gives too small a size for one that lies on two pages) does not shift the others."""

COMMENTS = {"aarch64": "//", "x86_64": "#"}
MAX_UNKNOWN = 0.02
"""Share of the instructions that may be unknown; they count as `nop`."""

JUMPS = frozenset({"b", "bl", "blr", "br", "ret", "callq", "call", "retq"})


@dataclass(frozen=True)
class Instruction:
    """One that ran.

    Attributes:
        address: where it lies.
        size: bytes.
        text: in the assembler's syntax.
        count: how often it ran.
    """

    address: int
    size: int
    text: str
    count: int

    @property
    def end(self) -> int:
        """Address of the next instruction."""
        return self.address + self.size


@dataclass(frozen=True)
class BasicBlock:
    """Instructions that always ran together.

    Attributes:
        texts: of its instructions.
        count: how often it ran.
        n_repeats: how often it ran right after itself; the body of an innermost loop does so mostly.
        n_first: lines that its loads and stores were the first of the kernel to touch.
        misses: lines that they did not find in each cache, innermost first.
    """

    texts: tuple[str, ...]
    count: int
    n_repeats: int
    n_first: int = 0
    misses: tuple[int, ...] = ()

    @property
    def n_instructions(self) -> int:
        """Executed, all its executions together."""
        return len(self.texts) * self.count


def basic_blocks(execution: Execution, texts: Mapping[int, str]) -> list[BasicBlock]:
    """The basic blocks of an execution, by address.

    QEMU's blocks overlap (a jump may lead into the middle of one) and are cut where its buffer ends, so the counts are
    added up for each instruction and the instructions divided anew: after branches, at targets of jumps, and where the
    count changes.

    Args:
        execution: what ran.
        texts: address to disassembled instruction.
    """
    counts: dict[int, int] = defaultdict(int)
    sizes: dict[int, int] = {}
    ends = {}
    for block in execution.blocks:
        address = block.pc
        for size in block.sizes:
            counts[address] += block.count
            sizes[address] = size
            address += size
        ends[block.pc] = address
    jumps: dict[tuple[int, int], int] = defaultdict(int)
    for block in execution.blocks:
        for before, n in block.after.items():
            if ends.get(before, block.pc) != block.pc:
                jumps[ends[before], block.pc] += n
    instructions = [Instruction(at, sizes[at], texts[at], counts[at]) for at in sorted(counts)]
    return [_with_counts(block, jumps, execution) for block in _divide(instructions, {target for _, target in jumps})]


def _divide(instructions: Sequence[Instruction], targets: Set[int]) -> list[list[Instruction]]:
    blocks: list[list[Instruction]] = []
    for instruction in instructions:
        last = blocks[-1][-1] if blocks else None
        if (
            last is None
            or last.end != instruction.address
            or last.count != instruction.count
            or instruction.address in targets
            or is_jump(last.text)
        ):
            blocks.append([])
        blocks[-1].append(instruction)
    return blocks


def _with_counts(
    block: Sequence[Instruction], jumps: Mapping[tuple[int, int], int], execution: Execution
) -> BasicBlock:
    none = (0,) * (1 + len(execution.misses))
    n_first, *misses = map(sum, zip(*(execution.fetches.get(each.address, none) for each in block), strict=True))
    n_repeats = jumps.get((block[-1].end, block[0].address), 0)
    return BasicBlock(tuple(each.text for each in block), block[0].count, n_repeats, n_first, tuple(misses))


def is_jump(text: str) -> bool:
    """Whether an instruction always leads elsewhere (a branch that never does so does not end a block)."""
    return text.split(None, 1)[0] in JUMPS


def is_branch(text: str, architecture: str) -> bool:
    """Whether an instruction may lead elsewhere."""
    return is_jump(text) or text.startswith(BRANCHES[architecture])


def disassemble(program: Path, executions: Sequence[Execution], triple: str, tools: Tools) -> dict[int, str]:
    """Address to text of every instruction that ran.

    Raises:
        LatencyError: the program cannot be read or disassembled.
    """
    image = program.read_bytes()
    segments = _segments(image)
    sizes = {}
    for execution in executions:
        for block in execution.blocks:
            address = block.pc
            for size in block.sizes:
                sizes[address] = size
                address += size
    architecture = triple.split("-", 1)[0]
    code, marker = MARKERS[architecture]
    lines: list[str] = []
    for address, size in sizes.items():
        offset = next((at - start + address for start, end, at in segments if start <= address < end), None)
        if offset is None:
            raise LatencyError(
                f"The program ran code at {address:#x}, which its file does not hold.",
                "Report this as a bug of the estimate.",
            )
        lines += [_bracketed(image[offset : offset + size]), _bracketed(code)]
    printed = run_tool(
        [tools.llvm_mc, "--disassemble", f"-triple={triple}", *FEATURES[architecture]],
        DISASSEMBLE_LIMIT_S,
        "\n".join(lines) + "\n",
        statuses=(0, 1),
    )
    texts = _split(printed, marker, COMMENTS[architecture])
    if len(texts) != len(sizes):
        raise LatencyError(
            f"llvm-mc disassembled {len(texts)} of {len(sizes)} instructions.",
            "Check that its version knows the core's instructions.",
        )
    n_unknown = sum(text == "" for text in texts)
    if n_unknown > MAX_UNKNOWN * len(sizes):
        raise LatencyError(
            f"llvm-mc does not know {n_unknown} of {len(sizes)} instructions.",
            "Check that its version knows the core's instructions.",
        )
    return {address: text or "nop" for address, text in zip(sizes, texts, strict=True)}


def _bracketed(code: bytes) -> str:
    return "[" + " ".join(f"{byte:#x}" for byte in code) + "]"


def _split(printed: str, marker: str, comment: str) -> list[str]:
    """First line of what was printed before each marker, empty where nothing was."""
    texts, current = [], ""
    for line in printed.splitlines():
        text = " ".join(line.split(comment)[0].split()) if line.startswith("\t") else ""
        if text == marker:
            texts.append(current)
            current = ""
        elif text and not text.startswith("."):
            current = current or text
    return texts


def _segments(image: bytes) -> list[tuple[int, int, int]]:
    """What an ELF file of 64 bits loads: address of the first byte, address after the last, offset in the file."""
    table, entry_size, n_entries = struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54)
    segments = []
    for i in range(n_entries):
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", image, table + i * entry_size)
        if kind == 1:
            segments.append((address, address + size, offset))
    return segments
