"""A Gaussian process whose hyper-parameters a few samples do not settle: predictions averaged over likely ones.

The average over hyper-parameters drawn from their posterior (Rasmussen and Williams 2006, section 5.2) instead of the
most likely ones. They are drawn by elliptical slice sampling (Murray, Adams and MacKay 2010, "Elliptical slice
sampling"), which needs no tuning where the prior is normal.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from latency_models.predict.process import Fitted, Gram, Settings, fit, log_likelihood, prior

Array = NDArray[np.float64]

N_DRAWN = 10
"""Hyper-parameters that are averaged over."""
N_BETWEEN = 20
"""Draws of which the last is kept, so that neighbours differ."""
N_AGAIN = 5
"""Draws after which those of other samples count as forgotten, where many such are needed."""
SETTLED = 40
"""Samples from which on the most likely hyper-parameters alone are as good."""


@final
@dataclass(frozen=True)
class Averaged:
    """Processes that have seen the same samples.

    Attributes:
        likeliest: with the most likely hyper-parameters.
        drawn: with likely ones, which are predicted with in equal parts; none where the most likely ones alone are.
    """

    likeliest: Fitted
    drawn: tuple[Fitted, ...] = ()

    @property
    def settings(self) -> Settings:
        """The most likely hyper-parameters."""
        return self.likeliest.settings

    def predict(self, blocks: Sequence[Array]) -> tuple[Array, Array]:
        """(m,) means and (m,) standard deviations of a measurement."""
        cross = Gram.of(blocks, self.likeliest.blocks)
        found = [one.predict(blocks, cross) for one in self.drawn or (self.likeliest,)]
        means, deviations = np.array([mean for mean, _ in found]), np.array([deviation for _, deviation in found])
        return means.mean(0), np.sqrt(np.square(deviations).mean(0) + means.var(0))

    def refitted(
        self, blocks: Sequence[Array], values: Array, n_steps: int, generator: np.random.Generator
    ) -> "Averaged":
        """The average for some of the samples; what was drawn is where drawing goes on.

        Args:
            blocks: standardised features of these samples, (n, p) each.
            values: (n,) samples.
            n_steps: of the search for the most likely hyper-parameters.
            generator: draws the others.
        """
        likeliest = fit(blocks, values, self.settings, n_steps)
        gram = Gram.of(blocks, blocks)
        again = [_likely_settings(likeliest, gram, one.settings, 1, N_AGAIN, generator) for one in self.drawn]
        return _of(likeliest, gram, [settings for few in again for settings in few])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values."""
        drawn = [one.settings.vector().tolist() for one in self.drawn]
        return {"likeliest": self.likeliest.to_json(), "drawn": drawn}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Averaged":
        """Inverse of `to_json`."""
        vectors = [np.array(one, dtype=np.float64) for one in values["drawn"]]
        likeliest = Fitted.from_json(values["likeliest"])
        gram = Gram.of(likeliest.blocks, likeliest.blocks)
        return _of(likeliest, gram, [Settings.of_vector(one) for one in vectors])


def average(blocks: Sequence[Array], values: Array, generator: np.random.Generator) -> Averaged:
    """The process averaged over likely hyper-parameters.

    Args:
        blocks: standardised features of the samples, (n, p) each.
        values: (n,) samples.
        generator: draws the hyper-parameters.
    """
    likeliest = fit(blocks, values)
    if len(values) >= SETTLED:
        return Averaged(likeliest)
    gram = Gram.of(blocks, blocks)
    return _of(likeliest, gram, _likely_settings(likeliest, gram, likeliest.settings, N_DRAWN, N_BETWEEN, generator))


def _likely_settings(
    seen: Fitted, gram: Gram, start: Settings, n: int, n_between: int, generator: np.random.Generator
) -> list[Settings]:
    """Likely hyper-parameters of the samples that a process has seen, whose `gram` it is."""
    center, width = prior(len(start.linear))

    def likelihood(standard: Array) -> float:
        settings = Settings.of_vector(center + width * standard)
        return log_likelihood(settings, gram, seen.targets, seen.trust)

    points = slice_samples(likelihood, (start.vector() - center) / width, n, n_between, generator)
    return [Settings.of_vector(center + width * one) for one in points]


def slice_samples(
    likelihood: Callable[[Array], float], start: Array, n: int, n_between: int, generator: np.random.Generator
) -> list[Array]:
    """Draws from a posterior whose prior is standard normal.

    Args:
        likelihood: its logarithm at a point (p,); minus infinity where there is none.
        start: (p,) a likely point.
        n: draws.
        n_between: draws of which the last is kept.
        generator: of the draws.
    """
    point, level, kept = start, likelihood(start), list[Array]()
    for step in range(1, n * n_between + 1):
        other = generator.standard_normal(len(point))
        least = level + math.log(max(generator.random(), 1e-300))
        angle = generator.uniform(0, 2 * math.pi)
        low, high = angle - 2 * math.pi, angle
        while high - low > 1e-9:  # at no angle at all the point itself is met, which is likely enough
            proposed = point * math.cos(angle) + other * math.sin(angle)
            found = likelihood(proposed)
            if found > least:
                point, level = proposed, found
                break
            low, high = (angle, high) if angle < 0 else (low, angle)
            angle = generator.uniform(low, high)
        if step % n_between == 0:
            kept.append(point)
    return kept


def _of(likeliest: Fitted, gram: Gram, settings: Sequence[Settings]) -> Averaged:
    return Averaged(likeliest, tuple(likeliest.with_settings(one, gram) for one in settings))
