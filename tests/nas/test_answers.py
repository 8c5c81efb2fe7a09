import pytest
import torch

from nas.answers import Answers
from nas.teacher import Task
from tests.nas.test_distill import classes_task


def counted(task: Task) -> list[int]:
    """Sizes of the batches that the copies of the teacher see from now on."""
    seen: list[int] = []
    task.teacher.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return seen


def test_answers_are_the_teachers_and_asked_for_once() -> None:
    task = classes_task()
    seen = counted(task)
    answers = Answers(task, task.data.train)
    chosen = torch.tensor([5, 2, 200])
    with torch.no_grad():
        wanted = task.teacher(*task.data.train.take(chosen).inputs)
    seen.clear()
    assert torch.allclose(answers.on(chosen), wanted, atol=0.05)
    assert torch.equal(answers.on(torch.tensor([200, 5])), answers.on(chosen)[[2, 0]])
    answers.on(torch.tensor([2, 7]))
    assert seen == [3, 1]


def test_outputs_that_would_not_fit_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.answers.MAX_CACHED_BYTES", 16)
    task = classes_task()
    seen = counted(task)
    answers = Answers(task, task.data.train)
    seen.clear()
    chosen = torch.arange(4)
    assert torch.equal(answers.on(chosen), answers.on(chosen))
    assert seen == [4, 4]
