"""What single kernels take, learned from kernels that were timed one by one.

Rates for families of kernels (`additive`), and a Gaussian process for how far a kernel is from them: small maps that
leave a processor idle, widths beside its steps, what is fused behind. A network of kernels that were never timed
together is then nearly the sum of its kernels (nn-Meter: Zhang et al., MobiSys 2021).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from latency_models.predict import process
from latency_models.predict.additive import Rates, shared_rates
from latency_models.predict.features import (
    CURVED,
    FAMILIES,
    PRECISIONS,
    STEPS,
    SUMS,
    alone,
    family_of,
    stepped_macs,
)
from latency_models.predict.kernels import Kernel
from latency_models.predict.scaling import Scaling, scaled

Array = NDArray[np.float64]

LEAST = 30
"""Different kernels from which costs are learned."""
N_TUNED, N_MOST = 200, 1200
"""Kernels that hyper-parameters are found from, and that are kept at most."""
N_LEVELLED = 2
"""Times that the networks' levels are found anew."""
UNEVEN, NARROW = (4, 8, 16, 32), (8, 16)
"""Widths that are no multiple of the one, or below the other, may run another algorithm: ONNX Runtime's blocks of
channels, for example, need multiples of four, and where fewer come in than fill a block it reads another layout."""
LENGTHS = (0.1, 100.0)
"""Medians of their lengths below and above which kernels count no less and no more."""
GRAIN_S = 2e-6
"""Added to a kernel's time before its logarithm is taken: profilers count microseconds, so that the shortest times are
theirs as much as the kernels'."""


@final
@dataclass(frozen=True)
class KernelCosts:
    """Seconds of kernels.

    Attributes:
        rates: their mean.
        scalings: of `sizes` and `kinds`.
        rest: of the logarithm of what the rates are off by.
    """

    rates: Rates
    scalings: tuple[Scaling, ...]
    rest: process.Fitted

    def seconds(self, kernels: Sequence[Kernel]) -> Array:
        """(n,) of each kernel."""
        base = self.rates.seconds(alone(kernels))
        means = self.rest.means(scaled(self.scalings, kernel_blocks(kernels)))
        return np.asarray(np.maximum(base * np.exp(means) - GRAIN_S, 0.0), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values."""
        return {
            "rates": self.rates.to_json(),
            "scalings": [one.to_json() for one in self.scalings],
            "rest": self.rest.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "KernelCosts":
        """Inverse of `to_json`."""
        scalings = tuple(Scaling.from_json(one) for one in values["scalings"])
        return cls(Rates.from_json(values["rates"]), scalings, process.Fitted.from_json(values["rest"]))


def learn_costs(networks: Sequence[Sequence[tuple[Kernel, float]]], levelled: bool = True) -> KernelCosts | None:
    """Costs from timed kernels; None where they are too few.

    A machine is faster at times than at others, and all kernels of a network are timed at about the same time: how fast
    it was then is found from what the same and similar kernels took in other networks, and taken out.

    Args:
        networks: of each network that was timed its kernels and their seconds.
        levelled: whether they have enough kernels in common for that; students of several teachers have not, and what
            their kernels differ in would be taken for the machine's state.
    """
    found = _learned(networks, [1.0] * len(networks), None)
    for _ in range(N_LEVELLED if levelled else 0):
        if found is None:
            break
        levels = [_level(found, one) for one in networks]
        middle = float(np.median(levels))
        found = _learned(networks, [level / middle for level in levels], found.rest.settings)
    return found


def _level(costs: KernelCosts, timed: Sequence[tuple[Kernel, float]]) -> float:
    """How many times as long as expected a network's kernels took together."""
    expected = float(costs.seconds([kernel for kernel, _ in timed]).sum()) if timed else 0.0
    return sum(seconds for _, seconds in timed) / expected if expected > 0 else 1.0


def _learned(
    networks: Sequence[Sequence[tuple[Kernel, float]]], levels: Sequence[float], settings: process.Settings | None
) -> KernelCosts | None:
    """Costs where each network's times are divided by its level; hyper-parameters are found where none are given."""
    logs: dict[Kernel, list[float]] = {}
    for timed, level in zip(networks, levels, strict=True):
        for kernel, seconds in timed:
            logs.setdefault(kernel, []).append(math.log(seconds / max(level, 1e-3) + GRAIN_S))
    if len(logs) < LEAST:
        return None
    order = np.random.default_rng(0).permutation(len(logs))[:N_MOST]
    found = list(logs)
    kernels = [found[i] for i in order]
    values = np.array([np.mean(logs[kernel]) for kernel in kernels])
    weights = _weights(np.exp(values), np.array([len(logs[kernel]) for kernel in kernels]))
    table = alone(kernels)
    rates = shared_rates(table, np.exp(values))
    blocks = kernel_blocks(kernels)
    scalings = tuple(Scaling.of(one) for one in blocks)
    ready = scaled(scalings, blocks)
    off = values - np.log(rates.seconds(table))
    if settings is None:
        few = [one[:N_TUNED] for one in ready]
        settings = process.fit(few, off[:N_TUNED], weights=weights[:N_TUNED]).settings
    return KernelCosts(rates, scalings, process.fit(ready, off, settings, 0, weights))


def _weights(seconds: Array, n_timed: NDArray[np.int64]) -> Array:
    """(n,) how much kernels count: more where they were timed often, and where they are long, as networks spend their
    time in those and profilers time short ones badly. Roots, as repeated times have errors in common."""
    lengths = np.clip(seconds / np.median(seconds), *LENGTHS)
    weights = np.sqrt(n_timed * lengths)
    return np.asarray(weights / np.exp(np.log(weights).mean()), dtype=np.float64)


def kernel_blocks(kernels: Sequence[Kernel]) -> tuple[Array, Array]:
    """(n, p) sizes as logarithms and (n, q) kinds."""
    return np.array([_sizes(one) for one in kernels]), np.array([_kinds(one) for one in kernels])


def _sizes(kernel: Kernel) -> list[float]:
    n_macs = max(1, kernel.n_macs)
    sizes = (
        kernel.n_in, kernel.n_out, kernel.size[0] * kernel.size[1], kernel.window[0], kernel.window[1], kernel.stride,
        n_macs, kernel.in_elements, kernel.out_elements, 1 + kernel.weight_elements,
    )  # fmt: skip
    waste = (max(1, stepped_macs(kernel, step)) / n_macs for step in STEPS[1:])
    return [math.log2(max(1, one)) for one in (*sizes, *waste)]


def _kinds(kernel: Kernel) -> list[float]:
    followers = kernel.followers
    widths = (kernel.n_in, kernel.n_out)
    uneven = [float(one % step != 0) for one in widths for step in UNEVEN]
    narrow = [float(one < step) for one in widths for step in NARROW]
    return [
        *(float(family_of(kernel) == family) for family in FAMILIES),
        *(float(kernel.precision == precision) for precision in PRECISIONS),
        float(kernel.operator == "Concat"),
        float(sum(name in SUMS for name in followers)),
        float(sum(name in CURVED for name in (kernel.operator, *followers))),
        float(len(followers)),
        *uneven,
        *narrow,
    ]
