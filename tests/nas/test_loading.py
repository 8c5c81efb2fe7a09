"""Teachers and data from files."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from nas.config import Settings
from nas.errors import UserError
from nas.loading import load_data, load_task, load_teacher, task_of
from nas.teacher import top1_accuracy

TEACHER = """
from torch import nn
from parts_beside import WIDTH
def build():
    return nn.Linear(3, WIDTH)
def with_argument(width, depth=1):
    return nn.Linear(3, width)
def wrong():
    return {"weight": 1}
class Net(nn.Module):
    pass
def fails():
    return nn.Linear(3, WIDTH // 0)
def _hidden():
    pass
"""
DATA = """
import torch
def make_data():
    split = (torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))
    return split, split, split
def metric(outputs, labels):
    return 0.25
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts_beside.py").write_text("WIDTH = 2\n")
    (tmp_path / "teacher.py").write_text(TEACHER)
    (tmp_path / "data.py").write_text(DATA)
    return tmp_path


def test_a_factory_in_a_file_that_imports_its_neighbour(folder: Path) -> None:
    teacher = load_teacher(f"{folder}/teacher.py:build")
    assert isinstance(teacher, nn.Linear)
    assert teacher.out_features == 2


def test_a_factory_in_an_installed_module() -> None:
    assert isinstance(load_teacher("nas.tasks.fashion_mnist:teacher_module"), nn.Module)


def test_the_whole_task(folder: Path) -> None:
    task = load_task(f"{folder}/teacher.py:build", None, f"{folder}/data.py:make_data")
    assert (task.name, task.n_classes) == ("teacher", 2)
    assert task.metric(np.zeros((1, 2), np.float32), np.zeros(1, np.int64)) == 0.25
    given = load_task(f"{folder}/teacher.py:build", None, f"{folder}/data.py:make_data", metric=top1_accuracy)
    assert given.metric is top1_accuracy


def test_loss_and_metric_are_found_by_name(folder: Path) -> None:
    loaded = load_data(f"{folder}/data.py:make_data")
    assert len(loaded.data.train) == 4
    assert loaded.loss is None
    assert loaded.metric is not None


@pytest.mark.parametrize(
    ("spec", "fragment"),
    [
        ("teacher.py", "teacher.py does not name a function. Write file.py:function"),
        ("missing.py:build", "There is no file"),
        ("teacher.py:make", "has no function make. It defines build, with_argument, wrong, Net, fails."),
        ("teacher.py:with_argument", "takes arguments without defaults: width."),
        ("teacher.py:wrong", "returned a dict, not a torch.nn.Module."),
        ("teacher.py:fails", "failed: ZeroDivisionError: integer division or modulo by zero"),
        ("teacher.py:fails", "teacher.py, line 13). Mend the function."),
        ("broken.py:build", "cannot be imported: SyntaxError"),
        ("imports.py:build", "cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raises.py:build", "raises.py cannot be imported: NameError: name 'hello' is not defined"),
    ],
)
def test_factories_that_are_refused(folder: Path, spec: str, fragment: str) -> None:
    (folder / "broken.py").write_text("def build(:\n")
    (folder / "imports.py").write_text("import not_there_at_all\n")
    (folder / "raises.py").write_text("hello\n")
    with pytest.raises(UserError) as caught:
        load_teacher(f"{folder}/{spec}")
    assert fragment in str(caught.value)


def test_data_that_fails(folder: Path) -> None:
    (folder / "data.py").write_text("def make_data():\n    open('not there')\n")
    with pytest.raises(UserError, match=r"data\.py:make_data failed: FileNotFoundError: .*data\.py, line 2\)"):
        load_data(f"{folder}/data.py:make_data")


@pytest.mark.parametrize("given", ["weights", "data"])
def test_built_in_tasks_take_no_files(given: str) -> None:
    values = {"weights": Path("w.pt")} if given == "weights" else {"data": "data.py:make_data"}
    with pytest.raises(UserError, match=f"--{given} is for teachers of your own; digits has its own"):
        task_of(Settings("digits", "40%", **values))


def test_a_dotted_module_that_is_missing() -> None:
    with pytest.raises(UserError, match=r"The module not_there\.at_all cannot be imported"):
        load_teacher("not_there.at_all:build")


def test_a_dotted_module_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "failing_module.py").write_text("hello\n")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(UserError, match=r"The module failing_module cannot be imported: NameError: .* Mend the file"):
        load_teacher("failing_module:build")
