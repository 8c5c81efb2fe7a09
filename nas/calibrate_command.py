"""`nas calibrate` from flags to a table."""

import sys
from argparse import Namespace, _SubParsersAction
from pathlib import Path
from typing import Any

from nas.errors import UserError

FLAGS = ("target", "weights", "data", "data_dir", "seed", "n_threads", "precision", "transforms", "quiet")


def add_parser(commands: "_SubParsersAction[Any]") -> None:
    """Adds the command to the command line."""
    learn = commands.add_parser("calibrate", help="measure students of a teacher on a target, to predict the others")
    learn.set_defaults(call=_calibrate)
    learn.add_argument("task_or_teacher", nargs="?", help="digits, fashion-mnist, or path/teacher.py:build")
    learn.add_argument("--teacher", help="the same")
    learn.add_argument("--target", action="append", help="where, once for each target (default cpu); see `nas targets`")
    learn.add_argument("--n", type=int, help="students measured in each precision (default 40)")
    learn.add_argument("--time-budget", "--time", default="10m", help="of the whole calibration (default 10m)")
    learn.add_argument("--fresh", action="store_true", help="forget what earlier calls measured")
    learn.add_argument("--config", type=Path, help="YAML file of a search; flags override it")
    learn.add_argument("--weights", help="safetensors (or a checkpoint of plain tensors) for path/teacher.py:build")
    learn.add_argument("--data", help="path/data.py:make_data")
    learn.add_argument("--data-dir", help="folder of a built-in task's files")
    learn.add_argument("--seed", type=int, help="of everything random (default 0)")
    learn.add_argument("--n-threads", type=int, help="of one inference (default: the target's own)")
    learn.add_argument("--precision", help="of float32,float16,int8 (default: all that a target can do)")
    learn.add_argument("--transforms", help="of channels,depth,resolution,factorize (default: all)")
    learn.add_argument("--quiet", action="store_true", default=None, help="no progress")


def _calibrate(options: Namespace) -> int:
    from rich.console import Console

    from nas.budget import parse_time_budget
    from nas.calibrate import N_STUDENTS, calibrate
    from nas.config import load_settings
    from nas.deadline import deadline_of
    from nas.loading import task_of
    from nas.preflight import check
    from nas.progress import Style, make_progress

    named = [one for one in (options.task_or_teacher, options.teacher) if one is not None]
    if len(named) == 2:
        raise UserError("The teacher is named twice.", "Leave out --teacher, or the name before the flags.")
    given = {name: getattr(options, name) for name in FLAGS}
    given |= {"task_or_teacher": named[0] if named else None, "latency_budget": None if options.config else "100%"}
    settings = load_settings(options.config, given)
    deadline = deadline_of(parse_time_budget(options.time_budget))
    n = N_STUDENTS if options.n is None else options.n
    style: Style = "silent" if settings.quiet else "auto"
    with make_progress(sys.stderr, deadline.elapsed_s, deadline.left_s, style) as progress:
        task = task_of(settings, progress)
        progress.phase("checking teacher and data")
        for note in check(task):
            progress.note(note)
        found = calibrate(task, settings, n, deadline, progress, options.fresh)
    Console(width=None if sys.stdout.isatty() else 110).print(found)
    return 0 if any(one.path for one in found.learnt) else 1
