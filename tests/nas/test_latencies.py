"""Latencies on several targets: what is refused, what is out of reach, and where they go in a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from latency_models.artifact import Artifact
from latency_models.errors import DeviceError, LatencyError
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from latency_models.target import Target
from nas.latencies import everywhere, out_of_reach, refused_everywhere, timed, timed_together, visits_of
from nas.record import Record
from search_spaces.recipe import Recipe
from tests.nas.records import make_latency

ARTIFACT = Artifact(Path("a.onnx"), "0" * 64, "float32", 1)
INT8 = replace(ARTIFACT, precision="int8")
BLANK = Record(Recipe.of({"channels:a": 3}), accuracy=0.9)
VISIT = Visit((1.0,), (2.0,))


@dataclass
class Model:
    """Answers with half the teacher's latency, or with an error."""

    name: str
    error: Exception | None = None
    asked: list[tuple[Visit, ...]] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target(self.name)

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        self.asked.append(earlier)
        if self.error is not None:
            raise self.error
        seconds = 0.5 * (anchor_s or 2.0)
        return replace(make_latency(0.5), median_s=seconds, target=self.target.label, visits=(*earlier, VISIT))

    def refusal(self, precision: str) -> str | None:
        return "no int8 here" if precision == "int8" and self.name == "b" else None

    def environment(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


def models(*all_of: Model) -> dict[str, Model]:
    return {model.target.label: model for model in all_of}


def test_the_first_target_is_the_records_own_and_the_others_are_elsewhere() -> None:
    record = timed(models(Model("a"), Model("b")), ARTIFACT, BLANK)
    assert record.latency is not None
    assert record.latency.target == "a-1t"
    assert list(record.elsewhere) == ["b-1t"]
    assert list(everywhere(record)) == ["a-1t", "b-1t"]
    assert record.refusals == {}
    seen = record.on("b-1t")
    assert seen.latency == record.elsewhere["b-1t"]
    assert everywhere(seen) == everywhere(record)
    assert seen.on("a-1t").latency == record.latency


def test_a_precision_that_a_target_refuses_is_never_sent_to_it() -> None:
    second = Model("b")
    record = timed(models(Model("a"), second), INT8, BLANK)
    assert second.asked == []
    assert record.refusals == {"b-1t": "no int8 here"}
    assert record.ok
    assert not record.on("b-1t").ok
    assert record.on("b-1t").failure == "no int8 here"
    assert not refused_everywhere(record)
    assert refused_everywhere(timed(models(Model("b")), INT8, BLANK))


def test_visits_add_up_and_the_teachers_latency_is_passed_on() -> None:
    first = Model("a")
    once = timed(models(first), ARTIFACT, BLANK)
    twice = timed(models(first), ARTIFACT, once, once, {"a-1t": 8.0})
    assert first.asked == [(), (VISIT,)]
    assert visits_of(twice, "a-1t") == (VISIT, VISIT)
    assert twice.latency is not None
    assert twice.latency.median_s == 4.0
    assert visits_of(None, "a-1t") == visits_of(once, "z-1t") == ()


def test_a_device_that_is_away_says_nothing_of_the_student() -> None:
    device = Model("b", DeviceError("No answer.", "Switch it on."))
    both = models(Model("a"), device)
    record = timed(both, ARTIFACT, BLANK)
    assert out_of_reach(record) == ["b-1t"]
    assert "No answer." in record.refusals["b-1t"]
    assert record.failure is None
    alone = timed(models(device), ARTIFACT, BLANK)
    assert not alone.ok
    assert not refused_everywhere(alone)
    device.error = None
    back = timed(both, ARTIFACT, record, labels=out_of_reach(record))
    assert out_of_reach(back) == []
    assert back.elsewhere["b-1t"].visits == (VISIT,)
    assert back.latency == record.latency  # the other target was not asked again


def test_a_latency_that_was_measured_survives_the_device() -> None:
    device = Model("a")
    record = timed(models(device), ARTIFACT, BLANK)
    device.error = DeviceError("No answer.", "Switch it on.")
    assert timed(models(device), ARTIFACT, record, record) == record


def test_an_artifact_that_a_target_cannot_run_is_refused_with_the_reason() -> None:
    record = timed(models(Model("a", LatencyError("No operator Loop.", "Leave it out."))), ARTIFACT, BLANK)
    assert record.refusals == {"a-1t": "No operator Loop. Leave it out."}
    assert refused_everywhere(record)


@dataclass
class Interleaved(Model):
    """Answers for several at once unless one of them is broken."""

    groups: list[list[str]] = field(default_factory=list)
    broken: str = ""

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        if artifact.digest == self.broken:
            raise LatencyError("it crashes.", "Look at it.")
        return super().latency(artifact, earlier, anchor_s)

    def latencies(
        self,
        artifacts: Mapping[str, Artifact],
        earlier: Mapping[str, tuple[Visit, ...]],
        anchor_s: float | None = None,
    ) -> dict[str, Latency]:
        self.groups.append(list(artifacts))
        return {name: self.latency(one, earlier[name], anchor_s) for name, one in artifacts.items()}

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        raise AssertionError("nobody asked for kernels")


def test_several_are_visited_four_at_a_time_and_a_target_without_a_clock_is_asked_for_each() -> None:
    clock, other = Interleaved("a"), Model("b")
    artifacts = dict.fromkeys("vwxyz", ARTIFACT)
    first = timed_together(models(clock, other), artifacts, dict.fromkeys("vwxyz", BLANK))
    found = timed_together(models(clock, other), artifacts, first, {"a-1t": 6.0})
    assert clock.groups == [["v", "w", "x", "y"]] * 2  # the fifth is alone
    assert (len(clock.asked), len(other.asked)) == (10, 10)
    assert [len(visits_of(record, "a-1t")) for record in found.values()] == [2] * 5
    assert found["v"].latency is not None
    assert found["v"].latency.median_s == 3.0
    assert found["v"].elsewhere["b-1t"].median_s == 1.0


def test_one_that_fails_among_several_is_the_only_one_without_a_latency() -> None:
    clock = Interleaved("a", broken="1" * 64)
    artifacts = {"x": ARTIFACT, "y": replace(ARTIFACT, digest="1" * 64), "z": ARTIFACT}
    found = timed_together(models(clock), artifacts, dict.fromkeys(artifacts, BLANK))
    assert [name for name, record in found.items() if record.ok] == ["x", "z"]
    assert found["y"].refusals == {"a-1t": "it crashes. Look at it."}


def test_a_precision_that_a_target_refuses_is_left_out_of_those_visited_together() -> None:
    second = Interleaved("b")
    found = timed_together(models(second), {"x": ARTIFACT, "y": INT8, "z": ARTIFACT}, dict.fromkeys("xyz", BLANK))
    assert second.groups == [["x", "z"]]
    assert found["y"].refusals == {"b-1t": "no int8 here"}
