import math
from dataclasses import dataclass, replace

import pytest

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from nas.first_precision import FLOAT32, INT8, log_slowdown
from tests.nas.records import make_latency
from tests.nas.test_latencies import ARTIFACT, Interleaved, Model

FILES = {INT8: replace(ARTIFACT, digest="8" * 64), FLOAT32: replace(ARTIFACT, digest="3" * 64)}


@dataclass
class Mixed(Model):
    """The file whose digest begins with 3 has three eighths of the other's latency."""

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        raise AssertionError("nobody asked for kernels")

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        super().latency(artifact, earlier, anchor_s)
        return make_latency(0.1 * int(artifact.digest[0]))


@dataclass
class MixedTogether(Mixed, Interleaved):
    """The same, where several are visited at once."""


@pytest.mark.parametrize("model", [Mixed("a"), MixedTogether("a")])
def test_the_slowdown_is_that_of_float32_against_int8(model: Mixed) -> None:
    assert log_slowdown(model, FILES) == pytest.approx(math.log(3 / 8))


def test_both_files_are_visited_in_turns_where_the_target_can() -> None:
    model = MixedTogether("a")
    log_slowdown(model, FILES)
    assert model.groups == [[INT8, FLOAT32]]


def test_a_target_that_cannot_run_them_says_so() -> None:
    with pytest.raises(LatencyError, match="no room"):
        log_slowdown(Mixed("a", LatencyError("no room.", "Make some.")), FILES)
