"""The teacher's outputs on training inputs, worked out when a student first needs them and kept."""

import copy
from typing import final

import torch
from torch import Tensor

from nas.data import Split
from nas.teacher import Task
from search_spaces.arrange import arranged, channels_last, has_bfloat16

MAX_CACHED_BYTES = 1 << 30
N_BATCH = 128


@final
class Answers:
    """What students are pulled towards. Not to be shared between threads.

    In bfloat16 where the processor has it: the temperature of the distillation hides the rounding.

    Args:
        task: with the teacher.
        train: the inputs; outputs that would not fit into memory are made anew each time.
    """

    def __init__(self, task: Task, train: Split) -> None:
        self._train = train
        self._teacher = arranged(copy.deepcopy(task.teacher), torch.channels_last)
        self._known = torch.zeros(len(train), dtype=torch.bool)
        first = self._made(torch.zeros(1, dtype=torch.long))
        fits = first.numel() * 4 * len(train) <= MAX_CACHED_BYTES
        self._outputs = torch.empty(len(train), *first.shape[1:]) if fits else None

    def on(self, chosen: Tensor) -> Tensor:
        """(n, ...) outputs on the chosen inputs.

        Args:
            chosen: (n,) indices.
        """
        if self._outputs is None:
            return self._made(chosen)
        missing = chosen[~self._known[chosen]]
        for start in range(0, len(missing), N_BATCH):
            batch = missing[start : start + N_BATCH]
            self._outputs[batch] = self._made(batch)
            self._known[batch] = True
        return self._outputs[chosen]

    @torch.no_grad()
    def _made(self, chosen: Tensor) -> Tensor:
        inputs = channels_last(self._train.take(chosen).inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16()):
            outputs: Tensor = self._teacher(*inputs)
        return outputs.float()
