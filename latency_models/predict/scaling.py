"""Features on one scale, so that blocks of them can be weighed against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """What a block of features is brought to mean 0 and deviation 1 with.

    Attributes:
        kept: columns that vary and repeat no other one.
        center, spread: (len(kept),) of them.
    """

    kept: tuple[int, ...]
    center: Array
    spread: Array

    @classmethod
    def of(cls, block: Array) -> "Scaling":
        """From the rows (n, p) of networks like those that will be asked for."""
        center, spread = block.mean(0), block.std(0)
        varying = np.flatnonzero(spread > 1e-9 * (1 + np.abs(center)))
        scaled = np.round((block[:, varying] - center[varying]) / spread[varying], 6)
        _, first = np.unique(scaled, axis=1, return_index=True) if len(varying) else (None, np.zeros(0, np.int64))
        kept = varying[np.sort(first)]
        return cls(tuple(int(i) for i in kept), center[kept], spread[kept])

    @classmethod
    def of_whole(cls, block: Array) -> "Scaling":
        """From rows whose products mean something: all columns keep their sizes beside each other."""
        center = block.mean(0)
        spread = float(np.sqrt(np.square(block - center).mean())) or 1.0
        return cls(tuple(range(block.shape[1])), center, np.full(block.shape[1], spread))

    def scaled(self, block: Array) -> Array:
        """(n, len(kept)) rows on the scale."""
        # in one order of memory, so that a predictor that was saved computes the same to the last bit
        return np.ascontiguousarray((block[:, list(self.kept)] - self.center) / self.spread)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values."""
        return {"kept": list(self.kept), "center": self.center.tolist(), "spread": self.spread.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Scaling":
        """Inverse of `to_json`."""
        kept = tuple(int(i) for i in values["kept"])
        return cls(kept, np.array(values["center"], dtype=np.float64), np.array(values["spread"], dtype=np.float64))


def scaled(scalings: Sequence[Scaling], blocks: Sequence[Array]) -> tuple[Array, ...]:
    """Each block on its own scale."""
    return tuple(one.scaled(block) for one, block in zip(scalings, blocks, strict=True))
