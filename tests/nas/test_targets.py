"""What `nas targets` shows."""

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console

import nas.targets
from latency_models.backend import Missing
from latency_models.profiles import resolve, shipped
from latency_models.target import Processor, Target
from nas.targets import Row, missing, rows, targets_table

A72 = Target(
    name="estimate:mine", runtime="tvm", access="estimate", precisions=("float32",), known_error=0.09,
    processor=Processor(triple="aarch64-linux-gnu", cpu="cortex-a72", machine_model="cortex-a72", clock_hz=1.5e9),
)  # fmt: skip


def printed(width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(targets_table())
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_every_shipped_profile_is_there() -> None:
    specs = [row.spec for row in rows()]
    assert len(set(specs)) == len(specs)
    for name in shipped():
        assert {name, f"tvm-rpc:{name}@HOST", f"estimate:{name}"} & set(specs), name
    assert specs[:2] == ["cpu", "tvm-cpu"]
    assert "tvm-rpc:jetson-orin@HOST" in specs
    assert {"jetson-orin", "tvm-rpc:cpu@HOST", "estimate:cpu", "estimate:jetson-orin"}.isdisjoint(specs)


def test_every_row_but_a_boards_can_be_named_as_it_stands() -> None:
    for row in rows():
        if row.target.access == "local":
            assert replace(resolve(row.spec), name=row.spec) == row.target


def test_onnx_runtime_on_this_processor_is_ready() -> None:
    (row,) = [row for row in rows() if row.spec == "cpu"]
    assert (row.state, row.error, row.missing) == ("ready", "", ())


@pytest.mark.parametrize(
    ("row", "state", "error"),
    [
        (Row("x", Target(), (Missing("a", "b"),)), "no", ""),
        (Row("x", Target(access="rpc"), ()), "board", ""),
        (Row("x", A72, ()), "ready", "9 %"),
        (Row("x", replace(A72, known_error=None), ()), "ready", ""),
    ],
)
def test_states(row: Row, state: str, error: str) -> None:
    assert (row.state, row.error) == (state, error)


class Ready:
    def missing(self, target: Target) -> list[Missing]:
        return []


def test_estimates_that_nobody_should_believe_are_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.targets, "estimator_of", lambda target: Ready())
    assert missing(A72) == []
    assert "error" in missing(replace(A72, known_error=None))[0].what
    assert A72.processor is not None
    assert "model" in missing(replace(A72, processor=replace(A72.processor, machine_model="")))[0].what


@pytest.mark.parametrize(
    ("module", "what", "remedy"),
    [
        ("tvm.relax", "the packages apache-tvm and apache-tvm-ffi", "pip install apache-tvm==0.27.0.post1"),
        ("tvm_ffi", "the packages apache-tvm and apache-tvm-ffi", "pip install apache-tvm==0.27.0.post1"),
        ("latency_models.nothing", "a part of the program", "pip install --upgrade understudy-nas"),
    ],
)
def test_a_backend_that_does_not_import_is_missing(
    monkeypatch: pytest.MonkeyPatch, module: str, what: str, remedy: str
) -> None:
    def fails(target: Target) -> Ready:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(nas.targets, "backend_of", fails)
    monkeypatch.setattr(nas.targets, "estimator_of", fails)
    for target in (resolve("tvm-cpu"), A72):
        (entry,) = missing(target)
        assert what in entry.what
        assert entry.remedy.startswith(remedy)


def test_the_table_says_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, wheel = Missing("a GPU", "Buy one."), Missing("a wheel", "pip install wheel")

    def lacking(target: Target) -> list[Missing]:
        return [] if target.name == "cpu" else [gpu, wheel] if target.runtime == "onnxruntime" else [gpu]

    monkeypatch.setattr(nas.targets, "missing", lacking)
    text = printed()
    lines = text.splitlines()
    assert lines[0] == "What to write after --target of nas search, bench, explain and tune:"
    assert lines[3].startswith("On this machine, measured:")
    assert lines[4].split()[:4] == ["cpu", "ready", "float32,", "int8"]
    (cuda,) = [line for line in lines if line.startswith("cuda ")]
    assert cuda.split()[1:4] == ["no", "[1,2]", "float32,"]
    assert "[1] missing: a GPU. Buy one." in lines
    assert "[2] missing: a wheel. Get it: pip install wheel" in lines
    assert "No float16 on cpu: ONNX Runtime computes it in float32" in text
    assert "No int8 with TVM: TVM would compute it in float32" in text
    assert "No float16 on cortex-a53 or cortex-a72: its cores" in text


def test_measured_boards_and_estimates_stand_under_their_own_titles() -> None:
    lines = printed().splitlines()
    local, board, estimate = (
        next(n for n, line in enumerate(lines) if line.startswith(title))
        for title in ("On this machine, measured", "On a board", "Without a board, estimated")
    )
    at = {row.spec: n for row in rows() for n, line in enumerate(lines) if line.startswith(f"{row.spec} ")}
    for row in rows():
        between = {"local": (local, board), "rpc": (board, estimate), "estimate": (estimate, len(lines))}
        first, last = between[row.target.access]
        assert first < at[row.spec] < last


def test_at_80_columns_only_the_last_column_gives_way() -> None:
    narrow = printed(80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow
    for line in printed(100).splitlines():
        if line.startswith(("estimate:", "cpu ", "nvidia-sm80 ")):
            assert line[:60] in narrow


def test_the_table_is_narrow_and_quick() -> None:
    start_s = time.process_time()
    text = printed()
    assert time.process_time() - start_s < 3
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text
