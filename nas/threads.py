"""How many threads torch computes with."""

import os


def training_threads(wanted: int) -> int:
    """The wanted number, or as many as this process may run on where it is 0."""
    return wanted or len(os.sched_getaffinity(0))
