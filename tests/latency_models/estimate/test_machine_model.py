import shutil

import pytest

from latency_models.errors import LatencyError
from latency_models.estimate.machine_model import simulate
from latency_models.estimate.tools import find_tools

TRIPLE = "aarch64-linux-gnu"
CHAIN = ("fmul v0.4s, v0.4s, v1.4s", "subs x1, x1, #1", "b.ne #-8")
needs_tools = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("llvm-mca", "llvm-mca-19")) or not shutil.which("qemu-aarch64"),
    reason="llvm-mca or qemu-aarch64 is not installed",
)


@needs_tools
def test_a_chain_takes_its_latency_when_repeated_and_its_resources_when_not() -> None:
    """A multiplication takes 4 to 6 cycles on a Cortex-A72 (4 in its manual), and one can start every cycle or two."""
    repeated, alone = simulate({CHAIN: True}, TRIPLE, "cortex-a72", "", find_tools(TRIPLE))[CHAIN]
    assert 4 <= repeated <= 6
    assert alone <= 2


@needs_tools
def test_calls_and_branches_do_not_confuse_the_model() -> None:
    region = ("bl #4096", "cbz x0, #8", "tbz w1, #0, #12", "b #16", "ret")
    assert simulate({region: False}, TRIPLE, "cortex-a72", "", find_tools(TRIPLE))[region][1] <= 5


@needs_tools
def test_a_core_that_llvm_does_not_know_is_refused() -> None:
    with pytest.raises(LatencyError, match="llvm-mca"):
        simulate({("not an instruction",): False}, TRIPLE, "cortex-a72", "", find_tools(TRIPLE))


def test_repeated_string_instructions_move_32_bytes_a_cycle() -> None:
    region = ("rep stosq %rax, %es:(%rdi)",)
    assert simulate({region: True}, "x86_64-linux-gnu", "haswell", "", None)[region] == (0.25, 0.25)  # type: ignore[arg-type]
