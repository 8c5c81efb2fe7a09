import math
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from clutter.int8 import export, quantize
from clutter.peers import n_parameters, pruned, stride_of
from clutter.results import point_of
from clutter.retime import Passes, accuracy, retime
from clutter.training import Material, distillation_loss, schedule, train

from latency_models.timing import Plan
from nas.data import Data, Split
from nas.tasks.resnet import ResNet
from nas.teacher import Task, make_task


def tiny_task() -> Task:
    """Which half of an 8x8 image is bright; the teacher is untrained."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(192, 1, 8, 8, generator=generator)
    labels = torch.arange(192) % 2
    images[labels == 1, :, :4] += 1
    images[labels == 0, :, 4:] += 1
    torch.manual_seed(0)
    parts = [Split((images[start : start + 64],), labels[start : start + 64]) for start in (0, 64, 128)]
    return make_task("halves", ResNet((16, 32), (1, 1), n_classes=2), Data(*parts))


def test_half_of_the_channels_are_pruned_and_the_teacher_is_left_alone() -> None:
    pytest.importorskip("torch_pruning")
    task = tiny_task()
    before = n_parameters(task.teacher)
    student = pruned(task, 0.5, 8)
    assert student.get_submodule("conv").weight.shape == (8, 1, 3, 3)
    assert student.get_submodule("fc").weight.shape == (2, 16)
    assert n_parameters(task.teacher) == before


def test_pruning_that_rounds_to_nothing_is_refused() -> None:
    pytest.importorskip("torch_pruning")
    with pytest.raises(RuntimeError, match="cut nothing"):
        pruned(tiny_task(), 0.95, 64)


def test_strides_of_blocks_count_the_stages() -> None:
    blocks = ResNet((8, 16, 32), (2, 1, 1)).blocks
    assert [stride_of(block) for block in blocks.children()] == [1, 1, 2, 2]


def test_the_schedule_rises_then_falls_to_zero() -> None:
    assert [round(schedule(share), 4) for share in (0.0, 0.05, 0.1, 0.55, 1.0)] == [0.05, 0.525, 1.0, 0.5, 0.0]


def test_the_loss_is_a_tenth_of_cross_entropy_where_outputs_agree() -> None:
    outputs = torch.tensor([[0.0, math.log(3.0)]])
    assert float(distillation_loss(outputs, outputs, torch.tensor([1]))) == pytest.approx(
        0.1 * math.log(4 / 3), abs=1e-6
    )


def test_training_ends_in_time_and_learns() -> None:
    task = tiny_task()
    images, labels = task.data.train.inputs[0], task.data.train.labels
    assert labels is not None
    on = Material(images, labels, 8.0 * torch.nn.functional.one_hot(labels, 2).float())
    module = ResNet((4, 8), (1, 1), n_classes=2)
    train(ResNet((4, 8), (1, 1), n_classes=2), on, time.process_time() + 0.01, 0.05, 0)  # loads what a first step loads
    start_s = time.process_time()
    epochs = train(module, on, start_s + 1.0, 0.05, 0)
    assert 0.95 < time.process_time() - start_s < 1.7
    assert epochs >= 3
    assert not module.training
    assert float((module(images).argmax(1) == labels).float().mean()) > 0.9


def test_files_are_scored_and_timed(tmp_path: Path) -> None:
    task = tiny_task()
    teacher = export(task.teacher, task.data.example, tmp_path / "teacher.onnx")
    int8 = quantize(teacher, tmp_path / "int8.onnx", task.data.train.inputs)
    assert b"QuantizeLinear" in int8.read_bytes()
    test = task.data.test
    assert test.labels is not None
    session = onnxruntime.InferenceSession(str(teacher), providers=["CPUExecutionProvider"])
    answers = session.run(None, {"input": test.inputs[0].numpy()})[0].argmax(1)
    assert accuracy(teacher, test) == np.mean(answers == test.labels.numpy())
    said: list[str] = []
    points = [point_of("a", int8), point_of("the same", int8), point_of("teacher", teacher)]
    timing = retime(points, teacher, test, Passes(2, 0.0), said.append, Plan(n_pairs=10))
    assert {digest: len(one.ratios) for digest, one in timing.files.items()} == {
        points[0].digest: 2,
        points[2].digest: 2,
    }
    assert timing.files[points[2].digest].accuracy == timing.teacher_accuracy
    assert timing.files[points[2].digest].ratios[0] == pytest.approx(1.0, abs=0.5)
    assert len(said) == 2
