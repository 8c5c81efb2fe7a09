import pytest

from latency_models.estimate.machine_code import BasicBlock
from latency_models.estimate.work import Part, Work, cycles_of, memory_cycles, work_of

RATES = (16.0, 8.0, 2.0)
"""Bytes per cycle of two caches and the memory."""


def test_repetitions_take_a_round_and_the_rest_what_resources_allow() -> None:
    blocks = [BasicBlock(("fmla", "b.ne"), 10, 8, 3, (5, 4)), BasicBlock(("ret",), 1, 0)]
    work = work_of(blocks, {("fmla", "b.ne"): (4.0, 1.5), ("ret",): (1.0, 0.5)}, 7)
    assert work == Work((Part(8 * 4.0 + 2 * 1.5, 3, (5, 4)), Part(0.5, 0, ())), 7, 21)


def test_blocks_that_were_not_simulated_go_at_the_pace_of_the_others() -> None:
    blocks = [BasicBlock(("nop",) * 3, 1, 0, 2, (2,)), BasicBlock(("fmla", "b.ne"), 10, 10)]
    work = work_of(blocks, {("fmla", "b.ne"): (4.0, 1.5)}, 2)
    assert work.parts == (Part(40.0, 0, ()), Part(3 * 40 / 20, 2, (2,)))
    assert work.n_instructions == 23


def test_lines_come_at_the_rate_of_where_they_lie() -> None:
    """20 misses of the first cache, of which 12 were first touches; 2 of the others miss the second as well."""
    part = Part(0.0, 12, (20, 14))
    all_near = memory_cycles(part, (0.0, 0.0), RATES)
    assert all_near == pytest.approx((8 - 2) * 64 / 8 + 2 * 64 / 2)
    all_far = memory_cycles(part, (1.0, 1.0), RATES)
    assert all_far == pytest.approx((20 - 14) * 64 / 8 + 14 * 64 / 2)
    half_in_the_second = memory_cycles(part, (1.0, 0.5), RATES)
    assert half_in_the_second == pytest.approx((20 - 8) * 64 / 8 + 8 * 64 / 2)


def test_computing_and_fetching_overlap_within_a_block_only() -> None:
    """Fetching 4 lines takes 128 cycles from memory, 32 from the second cache and none from the first."""
    copies, computes = Part(96.0, 4, (4, 4)), Part(1000.0, 0, (0, 0))
    work = Work((copies, computes), 4, 0)
    assert cycles_of(work, (1.0, 1.0), RATES) == pytest.approx(160 + 1000)
    assert cycles_of(work, (1.0, 0.0), RATES) == pytest.approx((96**2 + 32**2) ** 0.5 + 1000)
    assert cycles_of(work, (0.0, 0.0), RATES) == pytest.approx(96 + 1000)
