"""A Gaussian process over a few blocks of features, small enough for some hundred samples.

Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning": prediction (algorithm 2.1), hyper-parameters by
marginal likelihood (section 5.4.1), leave-one-out in closed form (section 5.4.2). Each block of features has a linear
and a Matern 5/2 term, whose weights are found from the samples, with weak priors so that few samples do not run away.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

SQRT5 = math.sqrt(5.0)
CONSTANT_VARIANCE = 1.0
"""Of the level of all values, in variances of the samples."""
PRIOR_CENTER = {"linear": math.log(0.3), "curve": math.log(0.1), "length": 0.0, "noise": math.log(0.01)}
PRIOR_WIDTH = {"linear": 1.5, "curve": 1.5, "length": 0.7, "noise": 1.5}
"""Of the logarithms of the hyper-parameters, in variances of the samples and standard deviations of the features."""
MAX_STEPS = 60
TAIL = 4.0
"""Degrees of freedom of the noise (Lange et al. suggest four where few samples tell)."""
N_REWEIGHTED, REWEIGHTED_STEPS = 2, 15


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters, as logarithms.

    Attributes:
        linear, curve: variance of each block's linear and Matern term, in variances of the samples.
        length: of each block's Matern term, in root mean square distances.
        noise: variance of a measurement.
    """

    linear: tuple[float, ...]
    curve: tuple[float, ...]
    length: tuple[float, ...]
    noise: float

    def vector(self) -> Array:
        """All of them in a row."""
        return np.array([*self.linear, *self.curve, *self.length, self.noise])

    @classmethod
    def of_vector(cls, values: Array) -> "Settings":
        """Inverse of `vector`."""
        n = (len(values) - 1) // 3
        parts = [tuple(map(float, values[i * n : (i + 1) * n])) for i in range(3)]
        return cls(parts[0], parts[1], parts[2], float(values[-1]))


def usual(n_blocks: int) -> Settings:
    """The centre of the prior."""
    centers = [(PRIOR_CENTER[name],) * n_blocks for name in ("linear", "curve", "length")]
    return Settings(centers[0], centers[1], centers[2], PRIOR_CENTER["noise"])


def prior(n_blocks: int) -> tuple[Array, Array]:
    """Centre and width of the normal prior of `Settings.vector`, whose elements are independent."""
    names = [*(["linear"] * n_blocks), *(["curve"] * n_blocks), *(["length"] * n_blocks), "noise"]
    return usual(n_blocks).vector(), np.array([PRIOR_WIDTH[name] for name in names])


@dataclass(frozen=True)
class Gram:
    """What the covariances of two sets of networks are made of, before hyper-parameters.

    Attributes:
        products: of each block, (n, m) mean product of standardised features.
        distances: of each block, (n, m) root mean square distance.
    """

    products: tuple[Array, ...]
    distances: tuple[Array, ...]

    @classmethod
    def of(cls, left: Sequence[Array], right: Sequence[Array]) -> "Gram":
        """Between the rows of blocks (n, p) and (m, p)."""
        products, distances = [], []
        for a, b in zip(left, right, strict=True):
            n_features = max(1, a.shape[1])
            product = a @ b.T / n_features
            square = (a * a).sum(1)[:, None] / n_features + (b * b).sum(1)[None] / n_features - 2 * product
            products.append(product)
            distances.append(np.sqrt(np.maximum(square, 0)))
        return cls(tuple(products), tuple(distances))

    def covariance(self, settings: Settings) -> Array:
        """(n, m) covariance of the latent function, in variances of the samples."""
        total = np.full(self.products[0].shape, CONSTANT_VARIANCE)
        for i, (product, distance) in enumerate(zip(self.products, self.distances, strict=True)):
            total += math.exp(settings.linear[i]) * product
            total += math.exp(settings.curve[i]) * _matern(distance * math.exp(-settings.length[i]))
        return total


def prior_variance(blocks: Sequence[Array], settings: Settings) -> Array:
    """(n,) variance of the latent function before any sample."""
    total = np.full(len(blocks[0]), CONSTANT_VARIANCE)
    for i, block in enumerate(blocks):
        total += math.exp(settings.linear[i]) * (block * block).mean(1) + math.exp(settings.curve[i])
    return total


@dataclass(frozen=True)
class Fitted:
    """A process that has seen samples.

    Attributes:
        settings: hyper-parameters.
        blocks: standardised features of the samples, (n, p) each.
        targets: (n,) standardised samples.
        trust: (n,) weights of the samples; the noise of one is divided by its weight.
        inverse: (n, n) of the samples' covariance.
        weights: (n,) the inverse times the samples.
        level, scale: what samples were standardised with.
    """

    settings: Settings
    blocks: tuple[Array, ...]
    targets: Array
    trust: Array
    inverse: Array
    weights: Array
    level: float
    scale: float

    def predict(self, blocks: Sequence[Array], gram: Gram | None = None) -> tuple[Array, Array]:
        """(m,) means and (m,) standard deviations of a measurement.

        Args:
            blocks: standardised features, (m, p) each.
            gram: of these and the samples' own, where it is known already.
        """
        cross = (gram or Gram.of(blocks, self.blocks)).covariance(self.settings)
        variance = prior_variance(blocks, self.settings) - np.einsum("ij,jk,ik->i", cross, self.inverse, cross)
        total = np.maximum(variance, 0.0) + math.exp(self.settings.noise)
        return self.level + self.scale * (cross @ self.weights), self.scale * np.sqrt(total)

    def means(self, blocks: Sequence[Array]) -> Array:
        """(m,) means alone, which cost much less."""
        found: Array = self.level + self.scale * (Gram.of(blocks, self.blocks).covariance(self.settings) @ self.weights)
        return found

    def left_out(self, weights: Array | float = 1.0) -> tuple[Array, Array]:
        """(n,) errors and (n,) standard deviations of each sample predicted from the others, as a measurement of such
        `weights`: how much it is trusted itself does not count."""
        diagonal, noise = np.diag(self.inverse), math.exp(self.settings.noise)
        variance = np.maximum(1 / diagonal - noise / self.trust, 0.0) + noise / weights
        return self.scale * self.weights / diagonal, self.scale * np.sqrt(variance)

    def with_settings(self, settings: Settings, gram: Gram) -> "Fitted":
        """The process with other hyper-parameters that has seen the same samples, whose `gram` it is."""
        return _conditioned(settings, self.blocks, gram, self.targets, self.trust, self.level, self.scale)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values; what follows from the others is left out."""
        return {
            "settings": self.settings.vector().tolist(),
            "blocks": [one.tolist() for one in self.blocks],
            "targets": self.targets.tolist(),
            "trust": self.trust.tolist(),
            "level": self.level,
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Fitted":
        """Inverse of `to_json`."""
        targets = np.array(values["targets"], dtype=np.float64)
        blocks = tuple(np.array(one, dtype=np.float64).reshape(len(targets), -1) for one in values["blocks"])
        settings = Settings.of_vector(np.array(values["settings"], dtype=np.float64))
        trust = np.array(values["trust"], dtype=np.float64)
        gram, level, scale = Gram.of(blocks, blocks), float(values["level"]), float(values["scale"])
        return _conditioned(settings, blocks, gram, targets, trust, level, scale)


def fit(
    blocks: Sequence[Array],
    values: Array,
    start: Settings | None = None,
    n_steps: int = MAX_STEPS,
    weights: Array | None = None,
) -> Fitted:
    """The process with the hyper-parameters that make samples and prior most likely.

    Args:
        blocks: standardised features of the samples, (n, p) each.
        values: (n,) samples.
        start: where the search for hyper-parameters begins; with no steps, they are taken as they are.
        n_steps: of that search.
        weights: (n,) of the samples; the noise of one is divided by its weight. By default 1 each.
    """
    level, scale = float(values.mean()), float(values.std()) or 1.0
    targets, gram = (values - level) / scale, Gram.of(blocks, blocks)
    weights = np.ones(len(values)) if weights is None else weights
    trust, settings = weights, start or usual(len(blocks))
    settings = _likely(settings, gram, targets, trust, n_steps)
    found = _conditioned(settings, tuple(blocks), gram, targets, trust, level, scale)
    for _ in range(N_REWEIGHTED if n_steps else 0):
        errors, deviations = found.left_out(weights)
        trust = weights * believed(errors / deviations)
        settings = _likely(found.settings, gram, targets, trust, min(n_steps, REWEIGHTED_STEPS))
        found = _conditioned(settings, tuple(blocks), gram, targets, trust, level, scale)
    return found


def believed(standardised: Array) -> Array:
    """(n,) weights of samples whose errors are so many deviations; the larger, the less (see `TAIL`)."""
    weights: Array = (TAIL + 1) / (TAIL + np.square(standardised))
    return weights


def _likely(start: Settings, gram: Gram, targets: Array, trust: Array, n_steps: int) -> Settings:
    """The hyper-parameters that make samples and prior most likely."""
    if not n_steps or len(targets) < 3:
        return start
    center, width = prior(len(start.linear))
    found = minimize(
        _objective,
        start.vector(),
        args=(gram, targets, trust, center, width),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(center - 6, center + 6, strict=True)),
        options={"maxiter": n_steps},
    )
    return Settings.of_vector(found.x)


def _conditioned(
    settings: Settings, blocks: tuple[Array, ...], gram: Gram, targets: Array, trust: Array, level: float, scale: float
) -> Fitted:
    """The process with these hyper-parameters that has seen these samples."""
    inverse = cho_solve((cholesky(_of_samples(gram, settings, trust), lower=True), True), np.eye(len(targets)))
    return Fitted(settings, blocks, targets, trust, inverse, inverse @ targets, level, scale)


def _of_samples(gram: Gram, settings: Settings, trust: Array) -> Array:
    """(n, n) covariance of the samples, noise included."""
    return gram.covariance(settings) + np.diag(math.exp(settings.noise) / trust + 1e-8)


def log_likelihood(settings: Settings, gram: Gram, targets: Array, trust: Array) -> float:
    """The marginal likelihood's logarithm but for a constant; minus infinity where rounding leaves no covariance.

    Args:
        settings: hyper-parameters.
        gram: of the samples with themselves.
        targets: (n,) standardised samples.
        trust: (n,) their weights.
    """
    try:
        lower = cholesky(_of_samples(gram, settings, trust), lower=True)
    except np.linalg.LinAlgError:
        return -math.inf
    half = solve_triangular(lower, targets, lower=True)
    return -0.5 * float(half @ half) - float(np.log(np.diag(lower)).sum())


def _objective(
    vector: Array, gram: Gram, targets: Array, trust: Array, center: Array, width: Array
) -> tuple[float, Array]:
    """Minus the logarithm of marginal likelihood times prior, and its gradient."""
    settings = Settings.of_vector(vector)
    n, n_blocks = len(targets), len(settings.linear)
    noise = math.exp(settings.noise)
    lower = cholesky(_of_samples(gram, settings, trust), lower=True)
    half = solve_triangular(lower, np.eye(n), lower=True)
    inverse = half.T @ half
    weights = inverse @ targets
    loss = 0.5 * float(targets @ weights) + float(np.log(np.diag(lower)).sum())
    slope = 0.5 * (inverse - np.outer(weights, weights))  # of the loss by each covariance
    gradient = np.zeros_like(vector)
    for i in range(n_blocks):
        scaled = gram.distances[i] * math.exp(-settings.length[i])
        strength = math.exp(settings.curve[i])
        gradient[i] = (slope * gram.products[i]).sum() * math.exp(settings.linear[i])
        gradient[n_blocks + i] = (slope * _matern(scaled)).sum() * strength
        rise = 5 / 3 * scaled**2 * (1 + SQRT5 * scaled) * np.exp(-SQRT5 * scaled)
        gradient[2 * n_blocks + i] = (slope * rise).sum() * strength
    gradient[-1] = float((np.diag(slope) / trust).sum()) * noise
    off = (vector - center) / width
    return loss + 0.5 * float(off @ off), gradient + off / width


def _matern(scaled: Array) -> Array:
    """Matern 5/2 of distances in lengths."""
    result: Array = (1 + SQRT5 * scaled + 5 / 3 * scaled**2) * np.exp(-SQRT5 * scaled)
    return result
