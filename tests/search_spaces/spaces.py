"""Search spaces of the tiny teachers, made once a test run."""

from functools import cache

import torch

from search_spaces.space import SearchSpace
from tests.search_spaces.networks import build


@cache
def space_of(name: str) -> SearchSpace:
    """The whole search space of one of `networks.EXAMPLES`."""
    teacher, inputs = build(name)
    return SearchSpace.from_teacher(teacher, inputs, torch.Generator().manual_seed(0))
