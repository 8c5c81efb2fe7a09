"""`nas bench`: any ONNX files timed beside each other on any targets."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.cache import Key, add_visits, load_visits, user_folder
from latency_models.errors import LatencyError
from latency_models.estimated import Estimated
from latency_models.latency import Latency, Visit
from latency_models.measured import Measured
from latency_models.open import open_model
from latency_models.target import Target
from latency_models.timing import Plan, median_anchor_s
from nas.errors import UserError
from nas.onnx_files import any_feed, read_network, shared_inputs

TEACHER = "teacher.onnx"
VISITS_FILE = "visits.sqlite"
N_VISITS = 6
"""The fewest whose spread alone gives a 95 % interval of a median (`latency_models.timing.latency_from_visits`)."""
PLAN = Plan(n_pairs=48, max_s=0.5)
SEED = 0


@dataclass(frozen=True)
class Line:
    """One file on one target.

    Attributes:
        artifact: the file.
        target: where.
        latency: beside the anchor, None where the target refuses.
        refusal: why there is none, or "".
        n_kept: visits that were made in an earlier call.
    """

    artifact: Artifact
    target: Target
    latency: Latency | None
    refusal: str = ""
    n_kept: int = 0

    def percentile_s(self, share: float) -> float | None:
        """Seconds that this share of all single samples stay below; None where there are none.

        Samples are scaled by the anchor's pace in their visit, as the median is, so that percentiles of visits from a
        time when the machine was faster or slower stand beside it in order.
        """
        if self.latency is None or not self.latency.visits:
            return None
        anchor_s = self.latency.median_s / self.latency.ratio
        scaled = [np.asarray(one.candidate_s) / np.median(one.anchor_s) for one in self.latency.visits]
        return anchor_s * float(np.quantile(np.concatenate(scaled), share))


@dataclass(frozen=True)
class Benchmark:
    """All files on all targets; `rich` prints it.

    Attributes:
        anchor: what every ratio is to.
        lines: a target's together, its files in the order given.
    """

    anchor: Path
    lines: tuple[Line, ...]

    @property
    def found(self) -> bool:
        """Whether any line has a latency."""
        return any(line.latency is not None for line in self.lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from nas.bench_table import shown

        yield shown(self, options.max_width)


def bench(
    files: Sequence[Path], targets: Sequence[Target], fresh: bool = False, cache: Path | None = None
) -> Benchmark:
    """Times every file on every target, in visits that alternate with the anchor and with the other files.

    Visits are kept, so that a second call with the same files, targets and versions measures nothing.

    Args:
        files: ONNX files with the same inputs. The first that is called teacher.onnx is the anchor, or else the first.
        targets: at least one.
        fresh: measure again; what was kept is neither used nor lost.
        cache: file for the visits; by default in the user's cache folder.

    Raises:
        UserError: no file is given, a file or target is given twice, a file is missing or no network, or their inputs
            differ.
        LatencyError: the cache is damaged.
    """
    if not files:
        raise UserError("There is nothing to time.", "Name one or more ONNX files.")
    twice = [file for n, file in enumerate(files) if file in files[:n]]
    if twice:
        raise UserError(f"{twice[0]} is named twice.", "Name each file once.")
    again = [target.label for n, target in enumerate(targets) if target in targets[:n]]
    if again:
        raise UserError(f"The target {again[0]} is named twice.", "Name each target once.")
    networks = [read_network(file) for file in files]
    feed = any_feed(shared_inputs(networks), SEED)
    path = cache or user_folder() / VISITS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    artifacts = [network.artifact for network in networks]
    anchor = next((one for one in artifacts if one.path.name == TEACHER), artifacts[0])
    lines = [line for target in targets for line in _on_target(target, anchor, artifacts, feed, path, fresh)]
    return Benchmark(anchor.path, tuple(lines))


def _on_target(
    target: Target, anchor: Artifact, artifacts: Sequence[Artifact], feed: Feed, path: Path, fresh: bool
) -> list[Line]:
    """The files' lines; all refused where the anchor is, as there is then nothing to time them against."""
    try:
        model = open_model(target, anchor, feed, SEED, PLAN)
    except LatencyError as error:
        return [Line(artifact, target, None, str(error)) for artifact in artifacts]
    with closing(model):
        if isinstance(model, Estimated):
            return [_estimated(model, artifact) for artifact in artifacts]
        reason = model.refusal(anchor.precision)
        try:
            environment = {} if reason else model.environment()
        except LatencyError as error:
            reason = str(error)
        if reason:
            refusal = f"{anchor.path.name}, the anchor, cannot be timed there: {reason}"
            return [Line(artifact, target, None, refusal) for artifact in artifacts]
        keys = [Key(one.digest, anchor.digest, target.label, PLAN, environment) for one in artifacts]
        kept = [() if fresh else load_visits(path, key)[-N_VISITS:] for key in keys]
        new = _visited(model, artifacts, [N_VISITS - len(visits) for visits in kept])
        for key, after in zip(keys, new, strict=True):
            add_visits(path, key, () if isinstance(after, str) else after)
        return _lines(model, artifacts, kept, new)


def _lines(
    model: Measured,
    artifacts: Sequence[Artifact],
    kept: Sequence[Sequence[Visit]],
    new: Sequence[Sequence[Visit] | str],
) -> list[Line]:
    """With one latency of the anchor for all, so that milliseconds sort as ratios do."""
    visits = [(*before, *after) for before, after in zip(kept, new, strict=True) if not isinstance(after, str)]
    anchor_s = median_anchor_s(one for some in visits for one in some) if visits else None
    return [
        Line(artifact, model.target, None, after)
        if isinstance(after, str)
        else Line(artifact, model.target, model.latency_from((*before, *after), anchor_s), "", len(before))
        for artifact, before, after in zip(artifacts, kept, new, strict=True)
    ]


def _visited(model: Measured, artifacts: Sequence[Artifact], n_visits: Sequence[int]) -> list[list[Visit] | str]:
    """So many visits of each artifact, in rounds over all of them; a reason instead where the target refuses one."""
    found: list[list[Visit] | str] = [[] for _ in artifacts]
    for n_round in range(max(n_visits, default=0)):
        for n, artifact in enumerate(artifacts):
            visits = found[n]
            if isinstance(visits, str) or n_round >= n_visits[n]:
                continue
            try:
                visits.append(model.visits({artifact.path.name: artifact})[artifact.path.name])
            except LatencyError as error:
                found[n] = error.problem
    return found


def _estimated(model: Estimated, artifact: Artifact) -> Line:
    try:
        return Line(artifact, model.target, model.latency(artifact))
    except LatencyError as error:
        return Line(artifact, model.target, None, error.problem)
