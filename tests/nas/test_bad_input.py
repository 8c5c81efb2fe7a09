"""Every bad input that a user may give the command line: a sentence or two, exit status 2, no work and no traceback."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from latency_models.errors import LatencyError
from nas.cli import main
from tests.nas.bad_tasks import DATAS, TEACHERS
from tests.nas.conftest import DATA, SPEC


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "teachers.py").write_text(TEACHERS)
    (tmp_path / "datas.py").write_text(DATAS)
    return tmp_path


def search(folder: Path, teacher: str = SPEC, data: str = DATA, *more: str) -> int:
    return main(["search", teacher, "--data", data, *_flags(folder), *more])


def _flags(folder: Path) -> tuple[str, ...]:
    budgets = ("--latency-budget", "50%", "--time-budget", "30s")
    return (*budgets, "--training-threads", "1", "--out", str(folder / "run"), "--quiet")


def told(capsys: pytest.CaptureFixture[str], status: int) -> str:
    """The one message on standard error: a problem and what to do."""
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert "Traceback" not in said.err
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("nas: ")
    assert lines[0].endswith((".", ")"))
    assert lines[0].count(". ") >= 1, "no remedy"
    return lines[0]


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("Tied", "tied weights: a.weight = b.weight"),
        ("Deciding", "cannot be traced: on validation sample"),
        ("OneByOne", "cannot be traced for 16 samples at once"),
        ("NotANumber", "NaN or infinite weights in head.weight"),
        ("five_classes", "match 5 classes"),
        ("list_of_weights", "returned a list, not a torch.nn.Module"),
        ("nobody", "has no function nobody"),
    ],
)
def test_teachers(folder: Path, capsys: pytest.CaptureFixture[str], teacher: str, words: str) -> None:
    assert words in told(capsys, search(folder, f"{folder}/teachers.py:{teacher}"))
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("empty_loader", "The train set is empty"),
        ("one_class", "there is only one class"),
        ("out_of_range", "out of range: 1 to 10"),
        ("negative", "negative (down to -1)"),
        ("three_channels", "cannot be run on a sample of the data"),
        ("two_inputs", "cannot be run on a sample of the data"),
        ("not_a_number", "holds NaN or infinite values, first in sample 3"),
        ("two_sets", "not three sets"),
    ],
)
def test_data(folder: Path, capsys: pytest.CaptureFixture[str], data: str, words: str) -> None:
    assert words in told(capsys, search(folder, SPEC, f"{folder}/datas.py:{data}"))
    assert not (folder / "run").exists()


def test_a_metric_that_is_no_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = told(capsys, search(folder, SPEC, f"{folder}/datas.py:make_data"))
    assert "The teacher cannot be scored: float division by zero." in message


def test_nothing_to_prune_names_the_groups_and_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--transforms", "channels,depth,precision")
    message = told(capsys, search(folder, f"{folder}/teachers.py:HardCoded", DATA, *flags))
    assert "nothing to prune" in message
    assert "conv: " in message


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def _with_weights(folder: Path, path: Path) -> int:
    return search(folder, SPEC, DATA, "--weights", str(path))


def test_weights_that_are_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no weights file" in told(capsys, _with_weights(folder, folder / "none.safetensors"))


def test_weights_that_are_cut_short(
    folder: Path, capsys: pytest.CaptureFixture[str], tiny_teacher: nn.Module, tiny_weights: Path
) -> None:
    short = folder / "short.safetensors"
    short.write_bytes(tiny_weights.read_bytes()[:-100])
    assert "cut short" in told(capsys, _with_weights(folder, short))
    checkpoint = folder / "teacher.pt"
    torch.save(tiny_teacher.state_dict(), checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    assert "cut short" in told(capsys, _with_weights(folder, checkpoint))


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_weights_that_want_to_run_code(folder: Path, capsys: pytest.CaptureFixture[str], writer: str) -> None:
    marker, path = folder / "pwned", folder / "teacher.pt"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(Payload(marker)))
    else:
        torch.save({"state_dict": Payload(marker)}, path)
    assert "executes code" in told(capsys, _with_weights(folder, path))
    assert not marker.exists()


def test_weights_that_are_not_numbers_or_not_this_teachers(
    folder: Path, capsys: pytest.CaptureFixture[str], tiny_teacher: nn.Module
) -> None:
    weights = {name: value.clone() for name, value in tiny_teacher.state_dict().items()}
    weights["stem.weight"][0] = torch.nan
    save_file(weights, folder / "nan.safetensors")
    assert "NaN or infinite weights in stem.weight" in told(capsys, _with_weights(folder, folder / "nan.safetensors"))
    del weights["stem.weight"]
    save_file(weights, folder / "other.safetensors")
    assert "missing: stem.weight" in told(capsys, _with_weights(folder, folder / "other.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "digitz", "--latency-budget", "40%"], "`digitz` is neither a built-in task nor a teacher"),
        (["search", "digits"], "latency-budget is missing"),
        (["search", "--latency-budget", "40%"], "task-or-teacher is missing"),
        (["search", SPEC, "--latency-budget", "40%"], "no data for this teacher"),
        (["search", "digits", "--latency-budget", "0.4"], "has no unit"),
        (["search", "digits", "--latency-budget", "0%"], "is zero"),
        (["search", "digits", "--latency-budget", "140%"], "more than the teacher's own"),
        (["search", "digits", "--latency-budget=-2ms"], "is negative"),
        (["search", "digits", "--latency-budget", "fast"], "is not a number"),
        (["search", "digits", "--latency-budget", "40%", "--time-budget", "soon"], "is not a time"),
        (["search", "digits", "--latency-budget", "40%", "--time-budget", "90"], "is not a time"),
        (["search", "digits", "--latency-budget", "40%", "--max-accuracy-drop", "1"], "has no unit"),
        (["search", "digits", "--latency-budget", "40%", "--precision", "int4"], "unknown `int4`"),
        (["search", "digits", "--latency-budget", "40%", "--transforms", "magic"], "unknown `magic`"),
        (["search", "digits", "--latency-budget", "40%", "--seed", "-1"], "seed is -1"),
        (["search", "missing/teacher.py:build", "--data", DATA, "--latency-budget", "40%"], "There is no file"),
    ],
)
def test_flags(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status = main(arguments if "search" not in arguments else [*arguments, "--out", str(tmp_path / "run"), "--quiet"])
    assert words in told(capsys, status)
    assert not (tmp_path / "run").exists()


def test_a_yaml_file_with_an_unknown_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "search.yaml").write_text("task-or-teacher: digits\nlatency-bugdet: 40%\n")
    message = told(capsys, main(["search", "--config", str(folder / "search.yaml")]))
    assert "no setting `latency-bugdet`" in message
    assert "Did you mean `latency-budget`?" in message
    assert "cannot be read" in told(capsys, main(["search", "--config", str(folder / "none.yaml")]))


@pytest.mark.parametrize("command", [["resume"], ["front"], ["export", "--out", "student.onnx"]])
@pytest.mark.parametrize("name", ["", "missing"])
def test_folders_that_are_no_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], name: str
) -> None:
    message = told(capsys, main([*command, str(tmp_path / name)]))
    assert "is not a run" in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "ledger.sqlite").touch()
    message = told(capsys, search(folder))
    assert "holds a run already" in message
    assert f"nas resume {folder}/run" in message


def test_a_run_in_place_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").write_text("mine")
    assert "cannot be made (File exists)" in told(capsys, search(folder))
    assert (folder / "run").read_text() == "mine"


def test_a_run_that_was_cut_off_before_it_had_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nas.ledger import open_ledger

    open_ledger(folder, create=True).close()
    assert "has no results yet" in told(capsys, main(["front", str(folder)]))
    assert "has no results yet" in told(capsys, main(["export", str(folder), "--out", str(folder / "s.onnx")]))


def test_a_target_that_cannot_be_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LatencyError("ONNX Runtime cannot load a.onnx.", "Export it again.")

    monkeypatch.setattr("nas.start.resume", fails)
    assert "cannot load a.onnx. Export it again." in told(capsys, main(["resume", str(tmp_path)]))


def test_argparse_ends_with_the_same_status() -> None:
    for arguments in ([], ["serch"], ["export", "run"], ["search", "digits", "--seed", "x"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_from_the_shell(tmp_path: Path) -> None:
    """The whole process: status 2, one line on standard error."""
    code = "import sys; from nas.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "front", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr == f"nas: {tmp_path} is not a run: it has no ledger.sqlite. Name the folder of a run in results/.\n"
    )
