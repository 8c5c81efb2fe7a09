"""How thin the factors of a layer are: the one rule that `factorize` builds by and `estimate` counts by."""

from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Factor:
    """One of the thin layers that stand for a factorised one.

    Attributes:
        n_in, n_out: channels or features.
        kernel: height and width, (1, 1) for a linear layer.
        moves: whether it takes the layer's input rows, and its input columns, to the layer's output rows and columns.
    """

    n_in: int
    n_out: int
    kernel: Pair
    moves: tuple[bool, bool]

    @property
    def n_weights(self) -> int:
        """Weights without the bias; also the multiply-accumulates at one output position of the factor."""
        return self.n_in * self.n_out * self.kernel[0] * self.kernel[1]


def factors_of(choice: str, n_in: int, n_out: int, kernel: Pair = (1, 1)) -> tuple[Factor, ...]:
    """The factors of an ungrouped layer, in the order in which they run.

    Args:
        choice: `method:fraction`, see `factorize`.
        n_in, n_out: of the layer as it stands.
        kernel: of the layer; (1, 1) for a linear layer.

    Raises:
        ValueError: not a factorisation.
    """
    method, _, text = choice.partition(":")
    height, width = kernel
    if method == "svd":
        rank = _rank(float(text), min(n_in * height * width, n_out))
        return Factor(n_in, rank, kernel, (True, True)), Factor(rank, n_out, (1, 1), (False, False))
    if method == "spatial":
        rank = min(_rank(float(text), min(n_in, n_out)), n_in * height, n_out * width)
        return Factor(n_in, rank, (height, 1), (True, False)), Factor(rank, n_out, (1, width), (False, True))
    if method == "tucker2":
        r_in, r_out = min(_rank(float(text), n_in), n_in), min(_rank(float(text), n_out), n_out)
        return (
            Factor(n_in, r_in, (1, 1), (False, False)),
            Factor(r_in, r_out, kernel, (True, True)),
            Factor(r_out, n_out, (1, 1), (False, False)),
        )
    raise ValueError(f"{choice!r} is not a factorisation: svd, spatial or tucker2")


def saves(choice: str, n_in: int, n_out: int, kernel: Pair = (1, 1), stride: Pair = (1, 1)) -> bool:
    """Whether the factors have fewer weights and fewer multiply-accumulates than the layer.

    What runs before a stride has taken effect runs at that many times the positions.
    """
    n_dense = n_in * n_out * kernel[0] * kernel[1]
    factors = factors_of(choice, n_in, n_out, kernel)
    rows, columns = stride
    n_macs = 0
    for factor in factors:
        rows, columns = (1 if factor.moves[0] else rows), (1 if factor.moves[1] else columns)
        n_macs += factor.n_weights * rows * columns
    return max(n_macs, sum(factor.n_weights for factor in factors)) < n_dense


def _rank(fraction: float, largest: int) -> int:
    """A share of the largest rank: a multiple of 8 where there is room for one, at least 1; not rounded from 1 up."""
    rank = fraction * largest
    if fraction >= 1:
        return round(rank)
    return min(largest, max(1, round(rank / 8) * 8 if rank >= 12 else round(rank)))
