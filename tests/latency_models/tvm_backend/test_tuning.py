from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.target import Target
from tests.latency_models.tvm_backend.networks import TARGET, network, node, normal

tvm = pytest.importorskip("tvm", reason="TVM is not installed")

from tvm import s_tir  # noqa: E402

from latency_models.tvm_backend import environment, runner  # noqa: E402
from latency_models.tvm_backend.build import compile_network  # noqa: E402
from latency_models.tvm_backend.compiler import processor_of  # noqa: E402
from latency_models.tvm_backend.traces import kernel_hash, module_of, scheduled_by, trace_json  # noqa: E402
from latency_models.tvm_backend.trial_model import Guess  # noqa: E402
from latency_models.tvm_backend.trial_process import TrialProcess  # noqa: E402
from latency_models.tvm_backend.trials import Comparison, compare, compare_networks  # noqa: E402
from latency_models.tvm_backend.tuned_store import Stored, TunedKernel, forget_known, keep, stored  # noqa: E402
from latency_models.tvm_backend.tuning import Progress, tune  # noqa: E402
from latency_models.tvm_backend.tuning_jobs import Job, jobs_of  # noqa: E402
from latency_models.tvm_backend.tuning_outcome import Bench, Outcome, outcome_of  # noqa: E402

X = normal(1, 32)
WEIGHT = normal(32, 48, seed=1)
PROCESSOR = processor_of(TARGET)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget_known()


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return network(tmp_path / "n.onnx", [node("MatMul", "x w", "m"), node("Relu", "m", "y")], {"x": X}, {"w": WEIGHT})


@pytest.fixture
def job(artifact: Artifact) -> Job:
    (found,) = jobs_of([(artifact, {"x": X})], TARGET)
    return found


def vectorised(job: Job) -> list[Any]:
    """A trace by hand: the columns in vectors of 16."""
    schedule = s_tir.Schedule(module_of(job.func))
    (block,) = [
        one for one in schedule.get_child_blocks(schedule.get_sblock("root")) if "matmul" in name_of(schedule, one)
    ]
    *_, column, inner = schedule.get_loops(block)
    outer, lanes = schedule.split(column, [None, 16])
    schedule.reorder(outer, inner, lanes)
    schedule.vectorize(lanes)
    return trace_json(schedule)


def name_of(schedule: Any, block: Any) -> str:
    return str(schedule.get(block).name_hint)


def kept(job: Job, trace: list[Any]) -> TunedKernel:
    tuned = TunedKernel(job.key, job.name, trace, 2e-6, 1e-6, 0.5, 0.4, 0.6, 1)
    keep(tuned, PROCESSOR, 1)
    forget_known()
    return tuned


class FakeProcess:
    """Says that every schedule takes half the time, with outputs as far off as told."""

    def __init__(self, difference: float, ratio: float = 0.5) -> None:
        self.difference, self.ratio = difference, ratio

    def call(self, limit_s: float, function: Callable[..., Any], *arguments: Any) -> Any:
        if function.__name__ == "ratio_of":
            return self.ratio
        return Comparison(self.difference, tuple(Visit((self.ratio,) * 8, (1.0,) * 8) for _ in range(6)))


def bench(process: FakeProcess) -> Bench:
    return Bench(cast(TrialProcess, process), TARGET, PROCESSOR, Guess())


def searched(job: Job, process: FakeProcess, before: TunedKernel | None = None) -> Outcome:
    n = list[int]()
    return outcome_of(job, 0, bench(process), before, lambda: len(n) >= 3, lambda best_s, n_trials: n.append(n_trials))


def test_a_fresh_compilation_takes_the_stored_schedule_and_computes_the_same(artifact: Artifact, job: Job) -> None:
    plain = compile_network(artifact, TARGET, {"x": (1, 32)})
    tuned = kept(job, vectorised(job))
    loaded = runner.load(artifact, TARGET, {"x": X})
    (kernel,) = loaded.compiled.lowered.kernels
    assert kernel.tuned == tuned.digest
    assert plain.lowered.kernels[0].tuned == ""
    assert plain.codes[kernel.name].symbol != loaded.compiled.codes[kernel.name].symbol
    np.testing.assert_allclose(
        loaded.outputs({"x": X})[0].astype(np.float32), np.maximum(X @ WEIGHT, 0), rtol=1e-5, atol=1e-5
    )


def test_another_network_with_the_kernel_shares_the_schedule(tmp_path: Path, job: Job) -> None:
    tuned = kept(job, vectorised(job))
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b v", "y")]
    other = network(tmp_path / "o.onnx", nodes, {"x": X}, {"w": WEIGHT, "v": normal(48, 16)})
    kernels = compile_network(other, TARGET, {"x": (1, 32)}).lowered.kernels
    assert [kernel.tuned for kernel in kernels] == [tuned.digest, ""]


def test_a_trace_that_does_not_apply_leaves_the_fixed_rule_with_a_warning(artifact: Artifact, job: Job) -> None:
    kept(job, [[["GetSBlock", [], ["no_such_block", "main"], ["b0"]]], []])
    with pytest.warns(UserWarning, match="does not apply to it .* runs by the fixed rule"):
        compiled = compile_network(artifact, TARGET, {"x": (1, 32)})
    assert compiled.lowered.kernels[0].tuned == ""


def test_a_damaged_file_leaves_the_fixed_rule(artifact: Artifact, job: Job) -> None:
    path = keep(TunedKernel(job.key, job.name, vectorised(job), 2e-6, 1e-6, 0.5, 0.4, 0.6, 1), PROCESSOR, 1)
    path.write_text(path.read_text()[:-40])
    forget_known()
    assert compile_network(artifact, TARGET, {"x": (1, 32)}).lowered.kernels[0].tuned == ""
    assert len(stored(PROCESSOR, 1).damaged) == 1


def test_a_faster_schedule_with_the_same_outputs_is_kept(job: Job) -> None:
    outcome = searched(job, FakeProcess(0.0))
    assert (outcome.verdict, outcome.n_trials) == ("kept", 3)
    assert outcome.tuned is not None
    assert outcome.tuned.ratio == pytest.approx(0.5)
    assert stored(PROCESSOR, 1).kernels == {job.key: outcome.tuned}


def test_a_faster_schedule_with_other_outputs_is_refused(job: Job) -> None:
    outcome = searched(job, FakeProcess(0.1))
    assert outcome.verdict == "its outputs are off by 0.1 of the largest"
    assert not stored(PROCESSOR, 1).kernels


def test_outputs_that_are_not_finite_are_refused(job: Job) -> None:
    assert searched(job, FakeProcess(float("nan"))).tuned is None


def test_a_schedule_within_the_interval_is_refused_and_an_earlier_one_dropped(job: Job) -> None:
    before = kept(job, vectorised(job))
    outcome = searched(job, FakeProcess(0.0, ratio=0.995), before)
    assert outcome.verdict == "not faster by more than the interval"
    assert stored(PROCESSOR, 1) == Stored(searched=frozenset({job.key}))


def test_an_earlier_schedule_is_the_first_that_is_tried_again(job: Job) -> None:
    before = kept(job, vectorised(job))
    outcome = outcome_of(job, 0, bench(FakeProcess(0.0)), before, lambda: True, lambda *_: None)
    assert outcome.tuned is not None
    assert (outcome.tuned.trace, outcome.n_trials) == (before.trace, 1)


def test_a_kernels_hash_is_its_own_and_forgets_its_name(job: Job) -> None:
    assert kernel_hash(job.func.with_attr("global_symbol", "other")) == job.key


@pytest.mark.slow
def test_a_whole_tuning_stores_what_it_says(artifact: Artifact) -> None:
    n = list[Progress]()
    found = tune(
        [(artifact, {"x": X})],
        TARGET,
        60,
        report=lambda news: n.append(news) if isinstance(news, Progress) else None,
        stopped=lambda: len(n) >= 3,
    )
    (outcome,) = found.outcomes
    assert outcome.n_trials == 3
    assert outcome.job.before_s > 0
    assert (outcome.tuned is not None) == (outcome.verdict == "kept") == (environment(TARGET)["n_tuned"] == "1")
    assert (found.latencies[0] is not None) == (outcome.tuned is not None)
    again = tune([(artifact, {"x": X})], TARGET, 60, stopped=lambda: True)
    assert again.outcomes[0].verdict == ("kept from before" if outcome.tuned else "searched before in vain")


def test_another_target_than_this_processor_is_refused(artifact: Artifact) -> None:
    with pytest.raises(LatencyError, match="which the target cpu is not"):
        tune([(artifact, {"x": X})], Target(), 60)


def test_a_schedule_leaves_the_kernel_that_it_was_made_for_alone(job: Job) -> None:
    vectorised(job)
    assert kernel_hash(job.func) == job.key


def test_networks_and_kernels_are_timed_beside_themselves_by_the_fixed_rule(artifact: Artifact, job: Job) -> None:
    tuned = kept(job, vectorised(job))
    (visit,) = compare_networks(artifact, TARGET, {"x": X}, Stored({job.key: tuned}), 1)
    assert min(*visit.candidate_s, *visit.anchor_s) > 0
    by_trace = str(tvm.ir.save_json(scheduled_by(job.func, tuned.trace)))
    found = compare(job.fixed, by_trace, PROCESSOR, 1, 1)
    assert found.difference < 1e-5
    assert len(found.visits) == 1
