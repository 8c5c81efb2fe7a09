"""What each choice at each site loses when it is the only one, repaired: the planner's other half."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.space import SearchSpace


def divergence(outputs: Tensor, wanted: Tensor, classifier: bool) -> float:
    """How far outputs lie from the teacher's: mean Kullback-Leibler divergence of a classifier, otherwise the mean
    squared error as a share of the variance.

    Args:
        outputs, wanted: (n, ...).
        classifier: whether they are logits along axis 1.
    """
    if classifier:
        log_student, log_teacher = functional.log_softmax(outputs, 1), functional.log_softmax(wanted, 1)
        value = functional.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(1).mean()
    else:
        value = functional.mse_loss(outputs, wanted) / (wanted.var() + 1e-12)
    return float(value) if torch.isfinite(value) else math.inf


def probes(space: SearchSpace) -> Iterator[tuple[Site, Choice]]:
    """The choices that are built to learn a site's losses; the others lie between them.

    A width's loss grows smoothly, so three of them are enough; every factorisation and dropped block is tried itself.
    """
    for site in space.sites.values():
        if site.kind == "precision":
            continue
        if site.kind == "channels":
            n = len(site.choices)
            yield from ((site, site.choices[i]) for i in sorted({max(1, n // 3), max(1, 2 * n // 3), n - 1}))
        else:
            yield from ((site, choice) for choice in site.choices[1:])


def probe(space: SearchSpace, site: Site, choice: Choice, classifier: bool) -> float:
    """Divergence of the repaired student that differs from the teacher in this choice alone."""
    student = space.build(Recipe().replace(site, choice))
    if student.calibration_outputs is None or not bool(torch.isfinite(student.calibration_outputs).all()):
        return math.inf
    return divergence(student.calibration_outputs, space.statistics.outputs, classifier)


def complete(space: SearchSpace, probed: Mapping[str, Mapping[Choice, float]]) -> dict[str, dict[Choice, float]]:
    """Losses of every choice: probed ones as they are (made monotone over widths), widths between them interpolated.

    Between two widths the logarithm of the loss is taken as linear in the width.
    """
    losses: dict[str, dict[Choice, float]] = {}
    for name, found in probed.items():
        site = space.sites[name]
        finite = {c: v for c, v in found.items() if math.isfinite(v)}
        if site.kind != "channels":
            losses[name] = {site.unchanged: 0.0, **finite}
            continue
        full = int(site.unchanged)
        points = sorted(((int(c), v) for c, v in finite.items()), reverse=True)
        losses[name] = {full: 0.0}
        floor = 1e-6
        for width in (int(c) for c in site.choices[1:]):
            value = _between(width, full, points)
            if value is not None:
                floor = max(floor, value)
                losses[name][width] = floor
    return losses


def _between(width: int, full: int, points: list[tuple[int, float]]) -> float | None:
    """Log-linear interpolation over widths; above the first point it fades to a hundredth at the full width."""
    if not points or width < points[-1][0]:
        return None
    upper = (full, max(points[0][1] / 100, 1e-7))
    for point in points:
        if width >= point[0]:
            lower = point
            share = (width - lower[0]) / max(upper[0] - lower[0], 1)
            return math.exp((1 - share) * math.log(max(lower[1], 1e-7)) + share * math.log(max(upper[1], 1e-7)))
        upper = point
    return None
