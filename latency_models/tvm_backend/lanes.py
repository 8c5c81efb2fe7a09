"""How wide a layer's output lies in memory: odd numbers of channels are padded to what vectors of the target like."""

from functools import cache

from latency_models.target import Processor

MIN_PADDED = 5
"""Narrower outputs (a network's logits, a gate) stay as they are: they are never where the time goes."""


def padded_width(n: int, processor: Processor, bits: int = 32) -> int:
    """The number of lanes that `n` channels are stored in: `n`, or up to the next multiple of a vector's lanes.

    The fewest vector pieces win, then the narrowest. A width is stored in chunks of its largest divisor that fits a
    vector; a chunk that is not a power of two is loaded in as many pieces as it has binary digits set.

    Args:
        n: channels.
        processor: its `vector_bits`.
        bits: of one channel.
    """
    return _padded_width(n, max(1, processor.vector_bits // bits))


@cache
def _padded_width(n: int, n_lanes: int) -> int:
    if n < MIN_PADDED:
        return n
    widest = -(-n // n_lanes) * n_lanes
    return min(range(n, widest + 1), key=lambda width: (_pieces(width, n_lanes), width))


def _pieces(width: int, n_lanes: int) -> int:
    return min(width // chunk * chunk.bit_count() for chunk in range(1, n_lanes + 1) if width % chunk == 0)
