from pathlib import Path

import numpy as np
import pytest

from latency_models.agreement import check_agreement, reference_outputs
from latency_models.errors import LatencyError
from tests.latency_models.contract import FEED, two_input_network

ONE = [np.array([[1.0, -2.0]], np.float32)]


def test_rounding_is_no_disagreement() -> None:
    check_agreement(ONE, [np.array([[1.0, -2.001]], np.float32)], "float32", "here")
    check_agreement(ONE, [np.array([[1.0, -2.05]], np.float32)], "float16", "here")


@pytest.mark.parametrize(
    ("got", "precision", "problem"),
    [
        ([[1.0, -2.01]], "float32", "differs from ONNX Runtime's by 0.005"),
        ([[1.0, -2.1]], "float16", "differs from ONNX Runtime's by 0.05"),
        ([[1.0, np.nan]], "float32", "NaN or infinite"),
        ([[np.inf, 1.0]], "float16", "NaN or infinite"),
        ([[1.0]], "float32", "other shapes"),
    ],
)
def test_other_values_are_refused(got: list[list[float]], precision: str, problem: str) -> None:
    with pytest.raises(LatencyError, match=f"On pi4 .*{problem}"):
        check_agreement(ONE, [np.array(got, np.float32)], precision, "pi4")


def test_a_missing_output_is_refused() -> None:
    with pytest.raises(LatencyError, match="other shapes"):
        check_agreement(ONE, [], "float32", "pi4")


def test_the_reference_is_onnx_runtimes(tmp_path: Path) -> None:
    np.testing.assert_array_equal(reference_outputs(two_input_network(tmp_path / "n.onnx"), FEED)[0], [[5, 5]])
