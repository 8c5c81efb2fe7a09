"""What candidates are built, timed and scored with."""

import os

import pytest
import torch

from nas.threads import training_threads
from nas.workbench import Workbench, calibration_inputs, float32_first
from search_spaces.recipe import Recipe


def test_calibration_inputs_are_drawn_once_each_and_the_same_for_a_seed(tiny_bench: Workbench) -> None:
    task = tiny_bench.task
    (first,), (again,), (other,) = (calibration_inputs(task, 40, seed) for seed in (0, 0, 1))
    assert first.shape == (40, 1, 8, 8)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    (everything,) = calibration_inputs(task, 10**6, 0)
    images = task.data.train.inputs[0]
    assert torch.equal(everything.flatten(1).sum(1).sort()[0], images.flatten(1).sum(1).sort()[0])


def test_randomness_is_named(tiny_bench: Workbench) -> None:
    draws = [tiny_bench.seeded(*words).random() for words in (("a", 1), ("a", 1), ("a", 2), ("b", 1))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_the_teachers_record(tiny_bench: Workbench) -> None:
    teacher = tiny_bench.ledger.get(Recipe(), 0)
    assert teacher is not None
    assert teacher.id == "teacher"
    assert teacher.latency is not None
    assert len(teacher.latency.visits) == 1
    assert teacher.latency.ratio == pytest.approx(1.0, abs=0.2)
    assert 0.85 < (teacher.accuracy or 0.0) <= 1.0
    assert teacher.n_parameters == sum(p.numel() for p in tiny_bench.task.teacher.parameters())
    assert teacher.n_macs == tiny_bench.teacher_cost.n_macs


def test_the_teachers_own_precision_comes_first() -> None:
    assert float32_first(("int8", "float16", "float32")) == ("float32", "int8", "float16")


def test_training_uses_the_cores_of_this_process_unless_told() -> None:
    assert training_threads(3) == 3
    assert training_threads(0) == len(os.sched_getaffinity(0))
