import numpy as np

from latency_models.predict.scaling import Scaling

BLOCK = np.array([[1.0, 5.0, 2.0, 0.0], [3.0, 5.0, 6.0, 1.0], [5.0, 5.0, 10.0, 0.0]])


def test_constant_and_repeated_columns_are_dropped() -> None:
    scaling = Scaling.of(BLOCK)
    assert scaling.kept == (0, 3)
    scaled = scaling.scaled(BLOCK)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(0), 1)


def test_other_rows_are_put_on_the_same_scale() -> None:
    row = np.array([[3.0, 9.0, 0.0, 1 / 3]])
    np.testing.assert_allclose(Scaling.of(BLOCK).scaled(row), [[0, 0]], atol=1e-12)


def test_networks_that_are_all_equal_leave_nothing() -> None:
    assert Scaling.of(np.ones((4, 3))).scaled(np.ones((2, 3))).shape == (2, 0)
