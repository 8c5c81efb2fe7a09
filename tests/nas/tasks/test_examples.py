"""The examples load and pass the preflight, and their committed weights are trained ones."""

from pathlib import Path

import pytest

from nas.loading import load_task
from nas.preflight import check
from nas.teacher import references, run_batched

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(("name", "n_inputs"), [("depthwise_concat", 1), ("two_inputs", 2)])
def test_an_example(name: str, n_inputs: int) -> None:
    folder = EXAMPLES / name
    weights = folder / "teacher.safetensors"
    task = load_task(f"{folder}/teacher.py:build", weights, f"{folder}/data.py:make_data")
    assert check(task) == ()
    assert len(task.data.train.inputs) == n_inputs
    assert [len(split) for split in (task.data.train, task.data.validation, task.data.test)] == [1100, 300, 397]
    test = task.data.test
    assert task.metric(run_batched(task.teacher, test).numpy(), references(task, test)) > 0.97
    assert weights.stat().st_size < 300_000
