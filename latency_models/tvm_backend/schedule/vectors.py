"""What a processor's vector registers hold, and how a run of elements is covered with vectors."""

from dataclasses import dataclass

from latency_models.target import Processor

DTYPE_BITS = {"float16": 16, "float32": 32, "float64": 64, "int8": 8, "uint8": 8, "int32": 32, "int64": 64, "bool": 8}


@dataclass(frozen=True)
class Vectors:
    """Vector registers seen as lanes of one data type.

    Attributes:
        n_lanes: elements in a register.
        n_registers: of a core.
    """

    n_lanes: int
    n_registers: int


def vectors_of(processor: Processor, dtype: str) -> Vectors:
    """The registers as elements of a type; a half-precision register where the core has no such arithmetic holds as
    many elements as a single-precision one, since that is what it computes in.
    """
    bits = DTYPE_BITS.get(dtype, 32)
    if dtype == "float16" and not processor.float16:
        bits = 32
    return Vectors(
        max(1, processor.vector_bits // max(bits, 32 if dtype in ("int8", "uint8", "bool") else bits)),
        processor.n_vector_registers,
    )


def power_of_two_below(n: int) -> int:
    """The largest power of two that is not above n, at least 1."""
    return 1 << (max(1, n).bit_length() - 1)


def cover(n: int, n_lanes: int) -> tuple[int, tuple[int, ...]]:
    """Lanes and offsets of vectors that cover n elements, the last one overlapping its neighbour where they do not fit.

    An element that is computed twice gets the same value twice, which spares code for the rest.
    """
    lanes = min(n_lanes, power_of_two_below(n))
    return lanes, tuple(min(start, n - lanes) for start in range(0, n, lanes))
