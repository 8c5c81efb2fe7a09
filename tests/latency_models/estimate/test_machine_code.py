from latency_models.estimate.counting import Block, Execution
from latency_models.estimate.machine_code import BasicBlock, basic_blocks

TEXTS = {
    0: "mov x1, #0",
    4: "add x1, x1, #1",
    8: "ldr q0, [x2]",
    12: "b.ne #-8",
    16: "str q0, [x3]",
    20: "ret",
}


def execution(*blocks: Block, fetches: dict[int, tuple[int, ...]] | None = None) -> Execution:
    return Execution(blocks, fetches or {}, 0, 0, (0, 0))


def test_blocks_that_overlap_are_counted_by_instruction() -> None:
    """QEMU sees the first round of a loop together with what comes before it."""
    first = Block(0, (4, 4, 4, 4), 3)
    body = Block(4, (4, 4, 4), 27, {0: 3, 4: 24})
    rest = Block(16, (4, 4), 3, {4: 3})
    assert basic_blocks(execution(first, body, rest), TEXTS) == [
        BasicBlock((TEXTS[0],), 3, 0, 0, (0, 0)),
        BasicBlock((TEXTS[4], TEXTS[8], TEXTS[12]), 30, 27, 0, (0, 0)),
        BasicBlock((TEXTS[16], TEXTS[20]), 3, 0, 0, (0, 0)),
    ]


def test_a_loop_that_qemu_cuts_in_two_is_one_block() -> None:
    halves = Block(4, (4,), 10, {8: 9}), Block(8, (4, 4), 10, {4: 10})
    assert basic_blocks(execution(*halves), TEXTS) == [
        BasicBlock((TEXTS[4], TEXTS[8], TEXTS[12]), 10, 9, 0, (0, 0)),
    ]


def test_a_block_has_the_misses_of_its_instructions() -> None:
    body = Block(4, (4, 4, 4), 10, {4: 9})
    (block,) = basic_blocks(execution(body, fetches={4: (1, 2, 1), 8: (3, 5, 4), 99: (7, 7, 7)}), TEXTS)
    assert (block.n_first, block.misses) == (4, (7, 5))


def test_two_loops_side_by_side_are_two_blocks() -> None:
    texts = {0: "add x1, x1, #1", 4: "b.ne #-4", 8: "add x2, x2, #1", 12: "b.ne #-4"}
    blocks = Block(0, (4, 4), 5, {0: 4}), Block(8, (4, 4), 5, {0: 1, 8: 4})
    found = basic_blocks(execution(*blocks), texts)
    assert [(block.texts[0], block.count, block.n_repeats) for block in found] == [
        ("add x1, x1, #1", 5, 4),
        ("add x2, x2, #1", 5, 4),
    ]
