from pathlib import Path

from latency_models.estimate.counting import Block, Execution, parse_counts

COUNTS = """\
kernel 0
block 400 44 10 3f8:1 400:9
block 3f8 44 1
fetch 404 3 5 4
memory 12 3 5 4
kernel 1
block 500 4 2
memory 0 0 0 0
"""


def test_the_plugins_output_is_read_kernel_by_kernel() -> None:
    first, second = parse_counts(COUNTS.splitlines())
    assert first == Execution(
        (Block(0x400, (4, 4), 10, {0x3F8: 1, 0x400: 9}), Block(0x3F8, (4, 4), 1, {})), {0x404: (3, 5, 4)}, 12, 3, (5, 4)
    )
    assert second == Execution((Block(0x500, (4,), 2, {}),), {}, 0, 0, (0, 0))


def test_an_instruction_that_begins_the_next_block_does_not_end_the_one_before() -> None:
    lines = ["kernel 0", "block 10 342 1", "block 17 2 8 10:1 17:7", "memory 0 0"]
    (execution,) = parse_counts(lines)
    assert [(block.pc, block.sizes, block.count) for block in execution.blocks] == [(0x10, (3, 4), 1), (0x17, (2,), 8)]


def test_the_plugins_source_needs_no_header_of_qemu() -> None:
    source = Path(__file__).parents[3] / "latency_models" / "estimate" / "counting.c"
    assert "qemu-plugin.h>" not in source.read_text()
