"""Our own targets: what is measured when, what is kept, and how disturbed visits are seen through."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from prediction import own_measure
from prediction.own_data import LATENCIES, groups_of, load, pack, undisturbed, without_weights
from prediction.own_measure import KERNELS, Job, Levels, jobs, lines_of, measure
from prediction.own_run import apart_of, figures_of, from_few

from latency_models.predict.kernels import network_of
from tests.latency_models.predict import networks


def line(student: int, ratio: float, teacher_s: float, at_s: int = 0, **more: Any) -> dict[str, Any]:
    names = {"teacher": "t", "target": "onnxruntime-float32", "student": student, "turn": "0", "at_s": at_s}
    return {**names, "ratio": ratio, "teacher_s": teacher_s, "seconds": ratio * teacher_s, **more}


def test_jobs() -> None:
    todo = jobs({"t": 100}, {"t": [95, 3, 7]})
    assert len(todo) == len(set(todo)) == 2 * 100 + 3 + 2 * (3 * 100 + 3)
    assert [one.student for one in todo if (one.target, one.turn) == ("tvm-float32", KERNELS)] == [95, 3, 7]
    assert [one.student for one in todo[:100]] != [one.student for one in todo[100:200]]


def test_measuring_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four students; the teacher is slow in the second figure, and the process dies while writing the third."""
    todo = [Job("t", "onnxruntime-float32", i, "0") for i in range(4)]
    taken: list[int] = []

    class Model:
        def close(self) -> None: ...

    def figures(model: object, folder: Path, job: Job) -> dict[str, Any]:
        if len(taken) == 2:
            raise KeyboardInterrupt
        taken.append(job.student)
        return {"ratio": 0.5, "teacher_s": 2e-3 if len(taken) == 2 else 1e-3, "seconds": 1e-3, "at_s": 0}

    monkeypatch.setattr(own_measure, "_open", lambda folder, target: Model())
    monkeypatch.setattr(own_measure, "_figures", figures)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, todo, 60)
    file = tmp_path / "measured.jsonl"
    file.write_text(file.read_text() + '{"teacher": "t", "targ')
    taken[:] = [9, 9, 9]
    assert measure(tmp_path, todo, 60) == 0
    assert taken == [9, 9, 9, 1, 2, 3]
    assert [one["student"] for one in lines_of(file)] == [0, 1, 1, 2, 3]
    assert measure(tmp_path, todo, 0) == 0


def test_a_visit_counts_where_the_teacher_was_fast() -> None:
    lines = [line(i, 0.5, 1e-3) for i in range(9)]
    levels = Levels(lines)
    assert levels.quiet(line(0, 0.5, 1.04e-3))
    assert not levels.quiet(line(0, 0.5, 1.06e-3))
    assert not levels.quiet({"refused": "no", "teacher": "t", "target": "onnxruntime-float32"})


def test_what_slows_students_more_than_their_teacher_is_taken_out() -> None:
    generator = np.random.default_rng(0)
    states = [generator.uniform(0, 0.4, 3) for _ in range(30)]
    exact = generator.uniform(-3, 0, 30)
    logs = [value + 0.6 * state for value, state in zip(exact, states, strict=True)]
    found = undisturbed(logs, states)
    np.testing.assert_allclose([one.mean() for one in found], exact, atol=1e-9)
    np.testing.assert_array_equal(undisturbed([np.array([1.0])], [np.array([0.3])])[0], [1.0])


def test_weights_are_left_out_and_nothing_else() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Reshape", ["c", "s"], ["y"])]
    model = networks.model(nodes, {"w": networks.weight(8, 3, 3, 3), "s": np.array([1, -1])})
    bare = without_weights(model.SerializeToString())
    assert network_of(bare) == network_of(model)
    small, large = sorted(onnx.load_from_string(bare).graph.initializer, key=lambda one: len(one.dims))
    assert numpy_helper.to_array(small).tolist() == [1, -1]
    assert not large.raw_data


def test_figures_of_students_that_follow_a_rule() -> None:
    drawn = networks.drawn(80, seed=3)
    seconds = networks.seconds_of(networks.table(80, seed=3))
    lines = [line(i, float(s) / 1e-3, 1e-3, at) for i, s in enumerate(seconds) for at in (0, 1)]
    lines[1] |= {"ratio": 1.2 * lines[0]["ratio"]}
    (group,) = groups_of(lines, {f"t/{i}.onnx": one for i, one in enumerate(drawn)})
    apart = apart_of(group)
    assert (len(apart), int((apart > 0.1).sum())) == (80, 1)
    judged = from_few(group, 0)
    assert len(judged.seconds) == 30
    figures = figures_of([group], [judged], [])
    assert figures["within_10_all"] == figures["within_10_onnxruntime-float32"] > 0.9
    assert figures["noise_within_10_all"] == 79 / 80
    assert figures["n_held_out"] == 30


def test_what_was_measured_is_packed_and_read(tmp_path: Path) -> None:
    folder = tmp_path / "campaign" / "t"
    folder.mkdir(parents=True)
    model = networks.model(
        [helper.make_node("Conv", ["x", "w"], ["y"])], {"w": networks.weight(8, 3, 3, 3)}
    ).SerializeToString()
    for name in ("0.onnx", "0.int8.onnx"):
        (folder / name).write_bytes(model)
    (folder / "recipes.json").write_text("[{}]")
    kernel = {"operator": "Conv", "n_in": 3, "n_out": 8, "groups": 1, "shape": [1, 8, 6, 6], "precision": "float32",
              "n_flops": 2 * 27 * 8 * 36, "seconds": 2e-4, "name": "conv"}  # fmt: skip
    lines = [line(0, 0.5, 1e-3, 1, environment={}), line(0, 0.5, 1e-3, 2, kernels=[kernel], environment={})]
    (folder.parent / "measured.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pack(folder.parent, {"t": 1}, tmp_path / "packed")
    assert "conv" not in (tmp_path / "packed" / LATENCIES).read_text()
    (group,) = load(tmp_path / "packed")
    assert group.visits_s[0] == pytest.approx((5e-4, 5e-4))
    ((found, seconds),) = group.kernel_s[0]
    assert (found.operator, found.n_out) == ("Conv", 8)
    assert seconds == pytest.approx(2e-4)
