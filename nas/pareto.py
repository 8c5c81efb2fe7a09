"""Which points nobody beats, and how much room they cover: latency down, accuracy up."""

import numpy as np
from numpy.typing import NDArray


def non_dominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Marks the points that no other point beats; of exactly equal points the first stays.

    One sort and one running maximum, O(n log n) (Kung, Luccio and Preparata 1975, the case of two objectives).

    Args:
        points: shape (n, 2), latency (lower is better) and accuracy (higher is better).

    Returns:
        Shape (n,), true where the point is on the front.

    Raises:
        ValueError: wrong shape, or a NaN or infinite coordinate.
    """
    latency, accuracy = _columns(points)
    order = np.lexsort((-accuracy, latency))
    best_before = np.maximum.accumulate(np.concatenate(([-np.inf], accuracy[order])))[:-1]
    mask = np.zeros(len(latency), dtype=np.bool_)
    mask[order] = accuracy[order] > best_before
    return mask


def hypervolume(points: NDArray[np.float64], latency_limit: float, accuracy_floor: float) -> float:
    """Area that the points dominate inside the corner (latency_limit, accuracy_floor).

    The indicator of Zitzler and Thiele 1999 in two objectives. Points beyond the corner add nothing.

    Args:
        points: shape (n, 2), latency and accuracy.
        latency_limit: highest latency that counts, in the unit of the points.
        accuracy_floor: lowest accuracy that counts.

    Raises:
        ValueError: wrong shape, or a NaN or infinite coordinate or corner.
    """
    latency, accuracy = _columns(points)
    if not np.isfinite([latency_limit, accuracy_floor]).all():
        raise ValueError(f"the corner must be finite, got ({latency_limit}, {accuracy_floor})")
    inside = (latency < latency_limit) & (accuracy > accuracy_floor)
    candidates = np.column_stack((latency[inside], accuracy[inside]))
    front = candidates[non_dominated(candidates)]
    front = front[np.argsort(front[:, 0])]
    widths = np.diff(np.append(front[:, 0], latency_limit))
    return float(np.sum(widths * (front[:, 1] - accuracy_floor)))


def _columns(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latencies and accuracies, each of shape (n,), once they are known to be sound."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"points must have shape (n, 2), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("points must be finite: a NaN or an infinity is a failure, not a score")
    return array[:, 0], array[:, 1]
