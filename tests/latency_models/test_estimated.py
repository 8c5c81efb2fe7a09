import math
from pathlib import Path

import pytest

from latency_models.artifact import Artifact
from latency_models.backend import BACKENDS
from latency_models.errors import LatencyError
from latency_models.estimated import Estimated
from latency_models.latency import Visit
from latency_models.limits import Limits
from latency_models.open import open_model
from latency_models.target import Processor, Target

TARGET = Target(
    name="estimate:a72",
    runtime="tvm",
    access="estimate",
    processor=Processor(),
    precisions=("float32",),
    known_error=0.1,
)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, ("estimate", "tvm", "cpu"), "tests.latency_models.fake_backend")


def artifact(folder: Path, does: str) -> Artifact:
    path = folder / f"{does.replace(' ', '-')}.onnx"
    path.write_text(does)
    return Artifact.from_file(path, "float32")


def test_an_estimate_is_marked_and_carries_its_error(tmp_path: Path) -> None:
    model = open_model(TARGET, artifact(tmp_path, "3"), {}, seed=0)
    assert isinstance(model, Estimated)
    with model:
        latency = model.latency(artifact(tmp_path, "1"))
        other = model.latency(artifact(tmp_path, "1"), anchor_s=10.0)
    assert (latency.source, latency.visits, latency.known_error) == ("predicted", (), 0.1)
    assert latency.target == "estimate:a72-1t"
    assert latency.median_s == 2.0
    assert latency.ratio == 0.5
    # A median error of 10 % means 2.906 times as much, as a log-ratio, at the 95 % point of a normal distribution.
    wider = math.exp(2.9059 * math.log(1.1))
    assert latency.ratio_high == pytest.approx(0.5 * wider, rel=1e-4)
    assert latency.low_s == pytest.approx(2.0 / wider, rel=1e-4)
    assert latency.environment["known_error"] == "0.1"
    assert latency.environment["processor"] == "fake"
    assert (other.median_s, other.ratio) == (5.0, 0.5)


def test_an_unknown_error_is_refused(tmp_path: Path) -> None:
    core = Processor(
        "aarch64-linux-gnu",
        clock_hz=1e9,
        machine_model="cortex-a72",
        cache_bytes=(1024,),
        cache_bytes_per_cycle=(16.0, 8.0),
    )
    unknown = Target(name="estimate:a72", runtime="tvm", access="estimate", processor=core)
    with pytest.raises(LatencyError, match="does not say how far its estimates are from the truth"):
        open_model(unknown, artifact(tmp_path, "3"), {}, seed=0)


def test_what_cannot_be_estimated_is_refused(tmp_path: Path) -> None:
    with Estimated(TARGET, artifact(tmp_path, "3"), {}, Limits(20, 0.5, 0.5)) as model:
        with pytest.raises(LatencyError, match=r"did not answer within 0\.5 s"):
            model.latency(artifact(tmp_path, "hangs"))
        with pytest.raises(LatencyError, match="is nan s"):
            model.latency(artifact(tmp_path, "nan"))
        assert model.latency(artifact(tmp_path, "7")).ratio == 2.0
        assert model.refusal("float32") is None
        assert "float32" in (model.refusal("int8") or "")
        with pytest.raises(ValueError, match="visits"):
            model.latency(artifact(tmp_path, "7"), (Visit((1.0,), (1.0,)),))
