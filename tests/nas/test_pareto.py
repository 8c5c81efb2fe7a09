import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.pareto import hypervolume, non_dominated

# Few distinct values, so that ties and duplicates are common.
GRID = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25)
FLOATS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=25)


def as_points(pairs: list[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def oracle(pairs: list[tuple[float, float]]) -> list[bool]:
    def beaten(i: int) -> bool:
        latency, accuracy = pairs[i]
        return any(
            (other == pairs[i] and j < i) or (other[0] <= latency and other[1] >= accuracy and other != pairs[i])
            for j, other in enumerate(pairs)
        )

    return [not beaten(i) for i in range(len(pairs))]


def test_keeps_what_nobody_beats() -> None:
    points = as_points([(1, 0.5), (2, 0.9), (2, 0.8), (3, 0.9), (0.5, 0.1), (4, 0.95)])
    assert non_dominated(points).tolist() == [True, True, False, False, True, True]


def test_keeps_the_first_of_equal_points() -> None:
    assert non_dominated(as_points([(2, 0.5), (1, 0.5), (1, 0.5)])).tolist() == [False, True, False]


def test_nothing_in_nothing_out() -> None:
    assert non_dominated(np.empty((0, 2))).tolist() == []
    assert hypervolume(np.empty((0, 2)), 1.0, 0.0) == 0.0


@given(GRID)
def test_equals_the_brute_force_oracle_with_ties(pairs: list[tuple[float, float]]) -> None:
    assert non_dominated(as_points(pairs)).tolist() == oracle(pairs)


@given(FLOATS)
def test_equals_the_brute_force_oracle_on_floats(pairs: list[tuple[float, float]]) -> None:
    assert non_dominated(as_points(pairs)).tolist() == oracle(pairs)


def test_hypervolume_of_two_steps() -> None:
    # (4 - 1) * 0.5 + (4 - 2) * (0.75 - 0.5), the dominated (3, 0.6) adds nothing.
    assert hypervolume(as_points([(1, 0.5), (2, 0.75), (3, 0.6)]), 4.0, 0.0) == pytest.approx(2.0)


def test_hypervolume_ignores_points_beyond_the_corner() -> None:
    assert hypervolume(as_points([(5, 0.9), (1, 0.2)]), 4.0, 0.3) == 0.0


@given(GRID)
def test_hypervolume_counts_unit_cells(pairs: list[tuple[float, float]]) -> None:
    cells = sum(
        any(latency <= column and accuracy >= row + 1 for latency, accuracy in pairs)
        for column in range(6)
        for row in range(6)
    )
    assert hypervolume(as_points(pairs), 6.0, 0.0) == pytest.approx(cells)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        non_dominated(as_points([(1, 0.5), (bad, 0.5)]))
    with pytest.raises(ValueError, match="finite"):
        hypervolume(as_points([(1, bad)]), 2.0, 0.0)
    with pytest.raises(ValueError, match="corner"):
        hypervolume(as_points([(1, 0.5)]), bad, 0.0)


def test_refuses_the_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"\(n, 2\)"):
        non_dominated(np.zeros((3, 3)))
