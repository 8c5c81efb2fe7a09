"""What a schedule's time is guessed from before it is tried: Gaussian process regression on TVM's features."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

Matrix = NDArray[np.float64]
NOISE = 0.05
"""Variance of a trial's logarithm of seconds that its features do not explain."""
N_LATEST = 512
"""Trials learned from: the solution grows with their cube."""


@final
class Guess:
    """Seconds, as logarithms relative to a kernel's mean, from features; shared by all kernels that are tuned.

    The mean of a Gaussian process with a squared exponential kernel, whose length is the median distance between trials
    (Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", section 2.2).
    """

    def __init__(self) -> None:
        self._features: list[Matrix] = []
        self._log_seconds: list[float] = []
        self._kernels: list[int] = []

    def learn(self, kernel: int, features: Sequence[Matrix], seconds: Sequence[float]) -> None:
        """Adds trials of one kernel, a vector of features and seconds for each."""
        self._features += features
        self._log_seconds += [float(np.log(one)) for one in seconds]
        self._kernels += [kernel] * len(seconds)

    def guess(self, features: Sequence[Matrix]) -> Matrix:
        """Relative logarithms of seconds; all zero before anything is learned."""
        if len(self._features) < 2:
            return np.zeros(len(features))
        known, wanted = np.stack(self._features[-N_LATEST:]), np.stack(features)
        mean, spread = known.mean(axis=0), known.std(axis=0) + 1e-9
        known, wanted = (known - mean) / spread, np.clip((wanted - mean) / spread, -10, 10)
        squares = _squared_distances(known, known)
        length = float(np.median(squares[squares > 1e-12])) if (squares > 1e-12).any() else 1.0
        covariance = np.exp(-squares / length) + NOISE * np.eye(len(known))
        solved = np.linalg.solve(covariance, self._relative()[-N_LATEST:])
        guessed: Matrix = np.exp(-_squared_distances(wanted, known) / length) @ solved
        return guessed

    def _relative(self) -> Matrix:
        values, kernels = np.array(self._log_seconds), np.array(self._kernels)
        for kernel in set(self._kernels):
            values[kernels == kernel] -= values[kernels == kernel].mean()
        return values


@derived_object
class TrialModel(ms.cost_model.PyCostModel):  # type: ignore[misc]  # TVM's packages have no types
    """`Guess` for one kernel, as MetaSchedule's search asks for it.

    Args:
        guess: what is learned, shared between kernels.
        kernel: number of the one that is tuned.
    """

    def __init__(self, guess: Guess, kernel: int) -> None:
        super().__init__()
        self.learned = guess
        self.kernel = kernel
        self.extractor = ms.feature_extractor.PerStoreFeature()

    def load(self, path: str) -> None:
        """Nothing is kept in files."""

    def save(self, path: str) -> None:
        """Nothing is kept in files."""

    def update(self, context: Any, candidates: Sequence[Any], results: Sequence[Any]) -> None:
        """Learns the trials that ran."""
        ran = [
            (one, float(result.run_secs[0])) for one, result in zip(candidates, results, strict=True) if result.run_secs
        ]
        if ran:
            self.learned.learn(self.kernel, self._features(context, [one for one, _ in ran]), [s for _, s in ran])

    def predict(self, context: Any, candidates: Sequence[Any]) -> Matrix:
        """The higher the faster."""
        return -self.learned.guess(self._features(context, candidates))

    def _features(self, context: Any, candidates: Sequence[Any]) -> list[Matrix]:
        """Sums and maxima over the stores of each candidate."""
        stores = [one.numpy().astype(np.float64) for one in self.extractor.extract_from(context, list(candidates))]
        return [np.concatenate([one.sum(axis=0), one.max(axis=0)]) for one in stores]


def _squared_distances(a: Matrix, b: Matrix) -> Matrix:
    squares: Matrix = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.maximum(squares, 0.0)
