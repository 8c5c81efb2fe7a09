"""The public spaces as graphs, and the benchmark on a small part of its tables."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
from prediction import public_run
from prediction.few_samples import few_samples, mean_of, noise, source_predictors
from prediction.public_data import DATA, TASKS, Space, Task, form, space
from prediction.spaces import fbnet, nas_bench_201, once_for_all

from latency_models.predict.kernels import network_of

CELL = ["none", "nor_conv_3x3", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"]
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("model", "size", "n_classes"),
    [
        (nas_bench_201(CELL, RANDOM), 32, 10),
        (fbnet([0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 8], RANDOM), 32, 100),
        (once_for_all([3, 5, 7, 3] * 5, [3, 4, 6, 3] * 5, [2, 3, 4, 3, 2], 96, RANDOM), 96, 1000),
    ],
    ids=["nb201", "fbnet", "ofa"],
)
def test_a_drawn_network_runs(model: onnx.ModelProto, size: int, n_classes: int) -> None:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.zeros((1, 3, size, size), np.float32)
    assert session.run(None, {"x": image})[0].shape == (1, n_classes)


@pytest.mark.parametrize("name", ["nb201", "fbnet"])
def test_operations_are_those_of_the_published_tables(name: str) -> None:
    table = pd.read_parquet(DATA / f"{name}_archs.parquet")
    rows = (table[table["connected"] == 1] if name == "nb201" else table).iloc[:12].to_dict("records")
    for row in rows:
        if name == "nb201":
            n_published = row["live_flops_M"]
            model = nas_bench_201([row[f"op{i}"] for i in range(6)])
        else:
            n_published, model = row["flops_M"], fbnet([row[f"b{i}"] for i in range(22)])
        n_macs = sum(kernel.n_macs for kernel in network_of(model).kernels)
        assert n_macs / 1e6 == pytest.approx(n_published, rel=1e-4)


def test_forms_of_cells() -> None:
    assert form(CELL) == "nor_conv_3x3(nor_conv_3x3(x))+x"
    assert form(["skip_connect", "none", "none", "nor_conv_3x3", "none", "none"]) == "nor_conv_3x3(x)"
    # nodes 1 and 2 may change places
    first = ["nor_conv_3x3", "avg_pool_3x3", "none", "none", "nor_conv_1x1", "skip_connect"]
    second = ["avg_pool_3x3", "nor_conv_3x3", "none", "none", "skip_connect", "nor_conv_1x1"]
    assert form(first) == form(second)


def test_a_space_that_was_kept_is_the_same(tmp_path: Path) -> None:
    made, kept = (space("fbnet", tmp_path, n_most=20).table for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 1
    assert kept.kernels == made.kernels
    np.testing.assert_array_equal(kept.members.toarray(), made.members.toarray())
    np.testing.assert_array_equal(kept.columns, made.columns)


@pytest.fixture(scope="module")
def few() -> Space:
    return space("fbnet", n_most=160)


def test_a_task_from_ten_samples(few: Space) -> None:
    task = Task("small", "fbnet", ("titan_rtx_1", "raspi4", "never_measured"), ("2080ti_1",), 0.0)
    sources = source_predictors(few, task.sources)
    assert list(sources) == ["titan_rtx_1", "raspi4"]
    outcome = few_samples(few, task, "2080ti_1", 0, 10, list(sources.values()))
    assert outcome.spearman > 0.9
    assert outcome.within_10 > 0.95
    assert mean_of([outcome], lambda one: one.spearman) == outcome.spearman
    assert noise(few, "2080ti_1") is None


def test_isomorphic_cells_show_the_noise(few: Space) -> None:
    """100 pairs that do the same work; the second of every fourth pair takes a fifth longer."""
    first = np.linspace(1, 2, 100)
    pairs = pd.DataFrame({"board": np.concatenate([first, np.where(np.arange(100) % 4, first, 1.2 * first)])})
    numbers = np.tile(np.arange(100), 2)
    found = noise(Space("cells", few.table.rows(numbers), pairs, tuple(f"cell {i}" for i in numbers)), "board")
    assert found is not None
    assert (found.n_pairs, found.within_10) == (100, 0.75)
    assert 0.9 < found.spearman < 1


def test_recipes_are_predicted(few: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_run, "N_RECIPES", 50)
    assert 0 < public_run.recipes_cpu_s(few) < 5


def test_the_tasks_are_there() -> None:
    assert len(TASKS) == 12
    assert {len(task.targets) for task in TASKS} <= {3, 4, 5, 6}
    assert DATA.joinpath("README.md").is_file()
