"""The command line: parse, call, print."""

import argparse
import re
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latency_models.errors import LatencyError
from nas.calibrate_command import add_parser as add_calibrate
from nas.errors import BAD_INPUT, UserError

if TYPE_CHECKING:
    from nas.run import Run

_SETTINGS = (
    "latency_budget", "target", "max_accuracy_drop", "time_budget", "weights", "data", "data_dir", "out", "seed",
    "n_threads", "training_threads", "n_calibration", "precision", "transforms", "quiet", "latency",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `nas`.

    Returns:
        Exit status: 0 done, 1 done but no student keeps to the budgets, 2 bad input, 4 the run is owned by another
        search, 5 the disk is full, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.call(options)
    except UserError as error:
        print(f"nas: {error}", file=sys.stderr)
        return error.exit_status
    except LatencyError as error:
        print(f"nas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nas: interrupted. `nas resume` goes on with this run.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nas", description="Faster students of a trained network, measured.")
    commands = parser.add_subparsers(required=True, metavar="command")

    find = commands.add_parser("search", help="search a teacher's neighbourhood within a latency and a time budget")
    find.set_defaults(call=_search)
    find.add_argument("task_or_teacher", nargs="?", help="digits, fashion-mnist, or path/teacher.py:build")
    find.add_argument("--config", type=Path, help="YAML file of these settings; flags override it")
    find.add_argument("--latency-budget", help="a time (2ms) or a share of the teacher's latency (40%%)")
    find.add_argument("--target", action="append", help="what latencies hold for, once for each: cpu (default), "
                      "tvm-cpu, tvm-rpc:board.yaml, estimate:cortex-a72, ...; see `nas targets`")  # fmt: skip
    find.add_argument("--latency", help="measured (default), or predicted: students are discarded by a latency learned "
                      "from measured ones (see `nas calibrate`), and those on the front are measured")  # fmt: skip
    find.add_argument("--time-budget", help="of the whole search: 90s, 5m (default), 1h30m")
    find.add_argument("--max-accuracy-drop", help="percentage points the student may lose (default 1%%)")
    find.add_argument("--weights", help="safetensors (or a checkpoint of plain tensors) for path/teacher.py:build")
    find.add_argument("--data", help="path/data.py:make_data")
    find.add_argument("--data-dir", help="folder of a built-in task's files")
    find.add_argument("--out", help="folder of the run (default: a fresh name under results/)")
    find.add_argument("--seed", type=int, help="of everything random (default 0)")
    find.add_argument("--n-threads", type=int, help="of one inference (default: the target's own, 1 for this CPU)")
    find.add_argument("--training-threads", type=int, help="default: all cores of this process")
    find.add_argument("--n-calibration", type=int, help="inputs for repair and int8 ranges (default 256)")
    find.add_argument("--precision", help="of float32,float16,int8 (default: all that a target can do)")
    find.add_argument("--transforms", help="of channels,depth,resolution,factorize,precision (default: all)")
    find.add_argument("--quiet", action="store_true", default=None, help="no progress")

    add_calibrate(commands)

    again = commands.add_parser("resume", help="go on with a run that was cut off")
    again.set_defaults(call=_resume)
    again.add_argument("run", type=Path)

    front = commands.add_parser("front", help="the table of a run's front")
    front.set_defaults(call=_front)
    front.add_argument("run", type=Path)
    front.add_argument("--target", help="only this one's (default: every target of the run)")
    front.add_argument("--open", action="store_true", help="show the page in the browser")

    export = commands.add_parser("export", help="write a student of a run as a file")
    export.set_defaults(call=_export)
    export.add_argument("run", type=Path)
    export.add_argument("--target", help="whose front is picked from (default: the run's first)")
    export.add_argument("--pick", default="accurate", help="fastest, accurate (default), or an id")
    export.add_argument("--max-accuracy-drop", help="percentage points, e.g. 1%%")
    export.add_argument("--latency-budget", help="e.g. 1ms or 30%%")
    export.add_argument("--out", type=Path, required=True, help="student.onnx, .safetensors or .pt2")
    export.add_argument("--format", choices=("onnx", "safetensors", "pt2"), help="default: the file's ending")

    targets = commands.add_parser("targets", help="what can be measured here, what is missing and how to get it")
    targets.set_defaults(call=_targets)

    bench = commands.add_parser("bench", help="time ONNX files beside each other on any targets")
    bench.set_defaults(call=_bench)
    bench.add_argument("files", nargs="+", type=Path, help="ONNX files with the same inputs; all are compared with "
                       "the one that is called teacher.onnx, or else with the first")  # fmt: skip
    bench.add_argument("--target", action="append", help="where to time them, once for each target (default cpu); see "
                       "`nas targets`")  # fmt: skip
    bench.add_argument("--n-threads", type=int, help="of one inference (default: the target's own)")
    bench.add_argument("--fresh", action="store_true", help="measure again what an earlier call measured")

    tune = commands.add_parser("tune", help="let MetaSchedule look for faster TVM kernels; what is found is reused")
    tune.set_defaults(call=_tune)
    tune.add_argument("place", type=Path, help="a run, or an ONNX file")
    tune.add_argument("which", nargs="*", help="ids of the run, or more ONNX files")
    tune.add_argument("--target", default="tvm-cpu", help="where (default tvm-cpu)")
    tune.add_argument("--n-threads", type=int, help="of one inference (default: the target's own)")
    tune.add_argument("--time-budget", default="10m", help="of the whole tuning (default 10m)")
    tune.add_argument("--fresh", action="store_true", help="tune again what was tuned before")

    why = commands.add_parser("explain", help="kernel by kernel: why a student is, or is not, faster than its teacher")
    why.set_defaults(call=_explain)
    why.add_argument("run", type=Path, help="folder of a run, or the teacher's ONNX file")
    why.add_argument("student", help="an id of the run or its beginning, or the student's ONNX file")
    why.add_argument("--target", action="append", help="where to time both, once for each target (default: the run's "
                     "first that can run the student; cpu for files); see `nas targets`")  # fmt: skip
    why.add_argument("--n-threads", type=int, help="of one inference (default: the run's, or the target's own)")
    why.add_argument("--fresh", action="store_true", help="measure the machine's ceilings again (the rest always is)")
    return parser


def _search(options: argparse.Namespace) -> int:
    from nas.config import load_settings
    from nas.start import start

    given = {name: getattr(options, name) for name in ("task_or_teacher", *_SETTINGS)}
    return _conclude(start(load_settings(options.config, given)))


def _resume(options: argparse.Namespace) -> int:
    from nas.start import resume

    return _conclude(resume(options.run))


def _front(options: argparse.Namespace) -> int:
    from nas.run import Run

    run = Run.open(options.run)
    _print_fronts(run, options.target)
    if not run.finished:
        print(f"This run is not finished; `nas resume {run.folder}` goes on with it.")
    if options.open:
        page = run.folder / "front.html"
        if not page.is_file():
            raise UserError("The page is not written yet.", f"Finish the run with `nas resume {run.folder}`.")
        webbrowser.open(page.resolve().as_uri())
    return 0


def _export(options: argparse.Namespace) -> int:
    from nas.budget import parse_latency_budget, parse_share
    from nas.run import Run

    run = Run.open(options.run)
    budget = parse_latency_budget(options.latency_budget) if options.latency_budget else None
    record = run.front_on(options.target).pick(
        options.pick,
        max_accuracy_drop=parse_share(options.max_accuracy_drop) if options.max_accuracy_drop else None,
        latency_budget_s=budget.seconds if budget else None,
        latency_budget_ratio=budget.ratio if budget else None,
    )
    path = run.export(record, options.out, options.format)
    print(
        f"{record.id} written to {path} ({path.stat().st_size / 1024:.0f} KiB, SHA-256 {record.artifact_digest[:16]}…)"
    )
    return 0


def _targets(options: argparse.Namespace) -> int:
    from nas.targets import targets_table

    _print(targets_table())
    return 0


def _bench(options: argparse.Namespace) -> int:
    from latency_models.profiles import resolve
    from nas.bench import bench

    targets = [resolve(spec, options.n_threads) for spec in options.target or ["cpu"]]
    _say(f"timing on {', '.join(target.label for target in targets)}")
    found = bench(options.files, targets, fresh=options.fresh)
    _print(found)
    return 0 if found.found else BAD_INPUT


def _tune(options: argparse.Namespace) -> int:
    from latency_models.profiles import resolve
    from nas.budget import parse_time
    from nas.tune import tune

    target = resolve(options.target, options.n_threads)
    _print(tune(options.place, options.which, target, parse_time(options.time_budget), options.fresh))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from latency_models.profiles import resolve
    from nas.explain import default_target, explain

    place, which = options.run, options.student
    targets = [resolve(spec, options.n_threads) for spec in options.target or ()]
    for n, target in enumerate(targets or [default_target(place, which, options.n_threads)]):
        if n:
            _print("")
        _say(f"timing kernels on {target.label}")
        _print(explain(place, which, target, fresh=options.fresh))
    return 0


def _conclude(run: "Run") -> int:
    """Prints the fronts, where things lie, and the student of choice for each target."""
    _print_fronts(run)
    files = "front.csv, targets.csv" if len(run.fronts) > 1 else "front.csv"
    print(f"\nTables, page, picture and model cards are in {run.folder}/ ({files}, front.html, front.png, cards/).")
    status = 0
    for label in run.fronts:
        several = len(run.fronts) > 1
        try:
            choice = run.choice(label)
        except UserError as error:
            print(f"nas: {f'{label}: ' if several else ''}{error}", file=sys.stderr)
            status = error.exit_status
            continue
        name = f"student-{re.sub('[^A-Za-z0-9.-]', '-', label)}.onnx" if several else "student.onnx"
        out = run.export(choice, run.folder / name)
        print(f"Student of choice{f' for {label}' if several else ''}: {choice.id}, written to {out}.")
    print(f"Another: `nas export {run.folder} --pick <id> --out ...`")
    return status


def _print_fronts(run: "Run", target: str | None = None) -> None:
    from nas.ask_again import in_words, still_away
    from nas.fronts_table import tables

    front = run.front_on(target)
    fronts = run.fronts if target is None else {front.target: front}
    _print(tables(fronts, run.budget_ratios, run.sites))
    for sentence in in_words(still_away(run.records), run.folder):
        print(sentence)


def _say(words: str) -> None:
    """A sign of life on standard error, where that is a terminal; it does not move, which would disturb the timing."""
    if sys.stderr.isatty():
        print(f"{words} ...", file=sys.stderr)


def _print(what: object) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 110).print(what)
