"""Cycles of basic blocks on a core, by LLVM's model of it (llvm-mca)."""

import re
from collections.abc import Mapping, Sequence

from latency_models.errors import LatencyError
from latency_models.estimate.machine_code import is_branch
from latency_models.estimate.tools import Tools, run_tool

MCA_LIMIT_S = 60.0
N_INSTRUCTIONS = 3000
"""That are simulated of a loop, in as many rounds as it takes; at least `MIN_ROUNDS`."""

MIN_ROUNDS = 8
MAX_ROUNDS = 128
PATTERN = re.compile(r"Iterations: +(\d+)\n.*?Total Cycles: +(\d+)\n.*?Block RThroughput: ([\d.]+)", re.DOTALL)
REPEATED_BYTES_PER_CYCLE = 32.0
"""Of x86's `rep stos` and `rep movs`, which llvm-mca does not know: one vector register a cycle (Intel's optimisation
manual, "Enhanced REP MOVSB and STOSB")."""

Simulated = tuple[float, float]
"""Cycles of one round of a block's endless repetition, and the least that its resources allow in any context."""


def simulate(
    regions: Mapping[tuple[str, ...], bool], triple: str, machine_model: str, features: str, tools: Tools
) -> dict[tuple[str, ...], Simulated]:
    """What llvm-mca says of blocks.

    Args:
        regions: instructions of each block, and whether it is ever repeated (otherwise one round is simulated, as only
            its use of resources matters).
        triple: of the core.
        machine_model: LLVM's name of the core whose model is used.
        features: LLVM features beside the core's.
        tools: where llvm-mca is.

    Raises:
        LatencyError: llvm-mca does not know the core or an instruction.
    """
    architecture = triple.split("-", 1)[0]
    found: dict[tuple[str, ...], Simulated] = {}
    by_rounds: dict[int, list[tuple[str, ...]]] = {}
    for region, is_repeated in regions.items():
        if architecture == "x86_64" and region[0].startswith("rep"):
            found[region] = _repeated(region[0])
        else:
            by_rounds.setdefault(_rounds(len(region)) if is_repeated else 1, []).append(region)
    for n_rounds, group in by_rounds.items():
        source = "".join(_region(number, each, architecture) for number, each in enumerate(group))
        command = [tools.llvm_mca, f"-mtriple={triple}", f"-mcpu={machine_model}", f"-iterations={n_rounds}"]
        command += ["-instruction-info=0", "-resource-pressure=0", *([f"-mattr={features}"] if features else [])]
        reports = PATTERN.findall(run_tool(command, MCA_LIMIT_S, source))
        if len(reports) != len(group):
            raise LatencyError(
                f"llvm-mca analysed {len(reports)} of {len(group)} blocks for {machine_model}.",
                "Check that its version knows the core, or measure on a device.",
            )
        for region, (rounds, cycles, least) in zip(group, reports, strict=True):
            found[region] = (int(cycles) / int(rounds), float(least))
    return found


def _rounds(n_instructions: int) -> int:
    wanted = min(MAX_ROUNDS, max(MIN_ROUNDS, N_INSTRUCTIONS // n_instructions))
    return 1 << (wanted.bit_length() - 1)


def _region(number: int, texts: Sequence[str], architecture: str) -> str:
    lines = [_neutral(text, before, architecture) for text, before in zip(texts, ["", *texts], strict=False)]
    return "\n".join([f"# LLVM-MCA-BEGIN b{number}", *lines, "# LLVM-MCA-END", ""])


def _neutral(text: str, before: str, architecture: str) -> str:
    """An instruction as llvm-mca takes it: no calls, no addresses of the program.

    On x86 a compare and the branch after it are one operation, so that the branch becomes a `nop`.
    """
    name = text.split(None, 1)[0]
    if not is_branch(text, architecture):
        return text
    if architecture == "x86_64":
        return "nop"
    if name.startswith("b.") or name in ("cbz", "cbnz"):
        return re.sub(r"#?-?\w+$", "#-4", text)
    return "nop"


def _repeated(text: str) -> Simulated:
    """Cycles of one element of a repeated string instruction, as QEMU counts them."""
    size_bytes = {"b": 1, "w": 2, "l": 4, "d": 4, "q": 8}.get(text.split()[1][-1], 8)
    return size_bytes / REPEATED_BYTES_PER_CYCLE, size_bytes / REPEATED_BYTES_PER_CYCLE
