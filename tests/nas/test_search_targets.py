"""Whole searches of the tiny task on boards, emulated and lost ones, and with estimates."""

import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from latency_models.artifact import Artifact
from latency_models.estimate import missing
from latency_models.measured import Measured
from latency_models.open import open_model
from latency_models.profiles import resolve
from latency_models.target import Target
from nas.cli import main
from nas.export import run_artifact
from nas.latencies import everywhere, out_of_reach
from nas.ledger import open_ledger
from nas.record import Record
from nas.run import Run
from nas.run_folder import refuse_run
from tests.latency_models.emulated_arm import COMPILER, emulated_arm
from tests.latency_models.rpc_servers import Server, serve
from tests.nas import tiny
from tests.nas.conftest import DATA, SPEC
from tests.nas.test_kill import Search, started

__all__ = ["emulated_arm"]
pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux", reason="needs gcc and Linux's /proc"
)
REMAINDER_S = 180.0
"""That a search may take after its time budget: one step that had begun, starting workers, confirming three students,
the report; on a machine as busy as any."""


def arguments(run: Path, weights: Path, targets: Sequence[str | Path], time_budget: str) -> list[str]:
    return [
        "search", SPEC, "--data", DATA, "--weights", str(weights), "--latency-budget", "95%",
        "--max-accuracy-drop", "50%", "--time-budget", time_budget, "--training-threads", "1",
        "--n-calibration", "32", "--transforms", "channels,depth", "--precision", "float32",
        *(word for target in targets for word in ("--target", str(target))), "--out", str(run),
    ]  # fmt: skip


def profile(path: Path, **values: object) -> str:
    """A profile's file, as users name it after `--target`."""
    path.write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    return f"tvm-rpc:{path}"


def board(path: Path, port: int) -> str:
    """This machine behind TVM's RPC server, as if it were a board."""
    values = {"host": "127.0.0.1", "port": port, "triple": "x86_64-linux-gnu", "cpu": "x86-64-v2", "cores": 1}
    return profile(path, **values, compiler="gcc", connect_s=1, run_s=30)


def ended(search: Search) -> int | None:
    status = next((one for one in (search.ends() for _ in range(3)) if one is not None), None)
    assert "Traceback" not in search.said(), search.said()
    return status


def cards(run: Run) -> list[str]:
    return [path.read_text() for path in (run.folder / "cards").glob("*.md")]


@pytest.mark.arm
@pytest.mark.slow
def test_on_an_emulated_board_everything_says_so(emulated_arm: Target, tiny_weights: Path, tmp_path: Path) -> None:
    assert emulated_arm.remote is not None
    where = {"like": "cortex-a72", "host": "127.0.0.1", "port": emulated_arm.remote.port, "compiler": COMPILER}
    spec = profile(tmp_path / "pi4.yaml", **where, connect_s=60, run_s=300, emulated="true")
    folder, label = tmp_path / "run", "pi4-1t-emulated"
    with started(arguments(folder, tiny_weights, [spec], "12s"), tmp_path) as search:
        assert ended(search) == 0, search.said()
    run = Run.open(folder)
    assert run.finished
    assert list(run.fronts) == [label]
    assert run.front.members
    for record in run.records:
        assert record.failure is None
        assert list(everywhere(record)) == [label]
        assert everywhere(record)[label].source == "measured"
        assert everywhere(record)[label].environment["emulated"] == "yes"
    assert (pd.read_csv(folder / "front.csv")["target"] == label).all()
    assert label in (folder / "front.html").read_text()
    assert cards(run)
    assert all(f"| target | {label} |" in card for card in cards(run))
    check_on_board(run, resolve(spec))


def check_on_board(run: Run, target: Target) -> None:
    """The student as exported computes there what ONNX Runtime computes here, and differs from the teacher."""
    path = run.export(run.choice(), run.folder / "exported.onnx")
    student = Artifact.from_file(path, "float32")
    images = [image.numpy()[None] for image in tiny.make_data()[2][0][:3]]
    with open_model(target, student, {"input": images[0]}, seed=0) as model:
        found = cast(Measured, model).outputs(student, [{"input": image} for image in images])
    wanted = run_artifact(student, (tiny.make_data()[2][0][:3],))
    np.testing.assert_allclose(np.concatenate([one[0] for one in found]), wanted, rtol=1e-3, atol=1e-3)


LACKING = [one.what for one in missing(resolve("estimate:cortex-a72"))]


@pytest.mark.slow
@pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")
def test_estimates_are_marked_wherever_they_stand(tiny_weights: Path, tmp_path: Path) -> None:
    core = tmp_path / "core.yaml"
    core.write_text("like: cortex-a72\nknown_error: 0.1\n")
    folder, label = tmp_path / "run", "estimate:core-1t"
    with started(arguments(folder, tiny_weights, ["cpu", f"estimate:{core}"], "12s"), tmp_path) as search:
        assert ended(search) in (0, 1), search.said()
    run = Run.open(folder)
    assert run.finished
    assert list(run.fronts) == ["cpu-1t", label]
    assert all(front.members for front in run.fronts.values())
    for record in run.records:
        latency = everywhere(record)[label]
        assert (latency.source, latency.known_error, latency.visits) == ("predicted", 0.1, ())
        assert everywhere(record)["cpu-1t"].source == "measured"
    table = pd.read_csv(folder / "front.csv")
    assert dict(zip(table["target"], table["latency_source"], strict=True)) == {
        "cpu-1t": "measured",
        label: "predicted",
    }
    assert set(table.loc[table["target"] == label, "known_error"]) == {0.1}
    said = "estimate: median error 10 % where a clock could judge it"
    assert f"~ on {label}: {said}" in (folder / "front.html").read_text()
    assert all(f"predicted, not measured; {said}" in card for card in cards(run))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Whatever a test started."""
    found: list[Server] = []
    yield found
    for server in found:
        server.end()


def until(search: Search, run: Path, is_so: str, label: str, n: int) -> None:
    """Waits until n records are `timed` on a target, or `away` from it."""
    end_s = time.monotonic() + 180
    while time.monotonic() < end_s:
        if (run / "ledger.sqlite").exists():
            found = {"timed": 0, "away": 0}
            for record in records_of(run):
                found["timed"] += label in everywhere(record)
                found["away"] += label in out_of_reach(record)
            if found[is_so] >= n:
                return
        time.sleep(0.05)
    raise AssertionError(f"{label} is not {is_so} in {n} records:\n{search.said()}")


def records_of(run: Path) -> list[Record]:
    with open_ledger(run, create=False) as ledger:
        return ledger.records()


@pytest.mark.slow
def test_one_board_is_lost_for_good_and_one_comes_back(
    servers: list[Server], tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers += [serve(tmp_path), serve(tmp_path)]
    ports = [server.port for server in servers]
    specs = [board(tmp_path / f"{name}.yaml", port) for name, port in zip(("gone", "back"), ports, strict=True)]
    folder, budget_s = tmp_path / "run", 80
    with started(arguments(folder, tiny_weights, ["cpu", *specs], f"{budget_s}s"), tmp_path) as search:
        started_s = time.monotonic()
        until(search, folder, "timed", "back-1t", 3)
        for server in servers:
            server.end()
        until(search, folder, "away", "back-1t", 1)
        servers.append(serve(tmp_path, port=ports[1]))
        assert ended(search) in (0, 1), search.said()
        assert time.monotonic() - started_s < budget_s + REMAINDER_S
    check_losses(folder)
    assert main(["front", str(folder)]) == 0
    assert re.search(r"gone-1t was out of reach: \d+ students? ha(ve|s) no latency there", capsys.readouterr().out)

    servers.append(serve(tmp_path, port=ports[0]))
    assert main(["resume", str(folder)]) in (0, 1)
    assert "was out of reach" not in capsys.readouterr().out
    run = Run.open(folder)
    assert run.finished
    for record in run.records:
        assert list(everywhere(record)) == ["cpu-1t", "gone-1t", "back-1t"]
        assert record.refusals == {}
    assert all(member.test_accuracy is not None for front in run.fronts.values() for member in front.members)


def check_losses(folder: Path) -> None:
    """The search came to its end with what could be timed: all on `cpu`, none on `gone` any more, `back` again."""
    run = Run.open(folder)
    assert run.finished
    assert run.front_on("cpu").members
    assert {"front.csv", "targets.csv", "front.html", "front.png"} <= {path.name for path in folder.iterdir()}
    assert all("cpu-1t" in everywhere(record) for record in run.records)
    first_lost = next(i for i, record in enumerate(run.records) if "gone-1t" in out_of_reach(record))
    assert first_lost >= 3
    assert all("gone-1t" in everywhere(record) for record in run.records[:first_lost])
    assert all("gone-1t" in out_of_reach(record) for record in run.records[first_lost:])
    assert any("back-1t" in everywhere(record) for record in run.records[first_lost + 1 :])


@pytest.mark.slow
def test_the_only_board_is_lost_and_the_search_goes_on_when_it_is_back(
    servers: list[Server], tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.append(serve(tmp_path))
    folder, budget_s = tmp_path / "run", 55
    spec = board(tmp_path / "only.yaml", servers[0].port)
    with started(arguments(folder, tiny_weights, [spec], f"{budget_s}s"), tmp_path) as search:
        started_s = time.monotonic()
        until(search, folder, "timed", "only-1t", 1)  # the teacher
        servers[0].end()
        assert ended(search) == 1
        assert time.monotonic() - started_s < budget_s + REMAINDER_S
        assert "only-1t is out of reach: " in search.said()
        assert "The front has no students yet" in search.said()
    lost = records_of(folder)
    assert len(lost) > 1
    assert all(record.accuracy is not None and out_of_reach(record) == ["only-1t"] for record in lost[1:])
    assert main(["front", str(folder)]) == 0
    how_many = "1 student has" if len(lost) == 2 else f"{len(lost) - 1} students have"
    assert f"only-1t was out of reach: {how_many} no latency there" in capsys.readouterr().out

    assert main(["resume", str(folder)]) == 1  # nobody there yet
    assert "Traceback" not in capsys.readouterr().err
    assert [record.id for record in records_of(folder)][: len(lost)] == [record.id for record in lost]
    servers.append(serve(tmp_path, port=servers[0].port))
    assert main(["resume", str(folder)]) in (0, 1)
    run = Run.open(folder)
    assert run.finished
    assert run.front.members
    assert all(everywhere(record) for record in run.records)
    assert {record.id: record.accuracy for record in lost}.items() <= {r.id: r.accuracy for r in run.records}.items()
    assert max(record.rung for record in run.records) >= 1  # the time that was left went into training


def test_nobody_at_the_address_is_said_before_any_work(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, started_s = tmp_path / "run", time.monotonic()
    assert main(arguments(folder, tiny_weights, [board(tmp_path / "nobody.yaml", 1)], "60s")) == 2
    said = capsys.readouterr().err
    assert "The target nobody-1t cannot time the teacher: " in said
    assert "No TVM RPC server answers at 127.0.0.1:1 within 1 s" in said
    assert "Traceback" not in said
    assert time.monotonic() - started_s < 30
    refuse_run(folder)  # does not: the name is free again
