"""What each choice at each site loses when it is the only one, repaired: the planner's other half."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.space import SearchSpace

TEMPERATURE = 2.0
"""Of the divergence: at 1 it hangs on the few inputs that the teacher is unsure of."""


def divergence(outputs: Tensor, wanted: Tensor, classifier: bool) -> float:
    """How far outputs lie from the teacher's: mean Kullback-Leibler divergence of a classifier at a temperature,
    otherwise the mean squared error as a share of the variance.

    Args:
        outputs, wanted: (n, ...).
        classifier: whether they are logits along axis 1.
    """
    if classifier:
        student, teacher = (functional.log_softmax(logits / TEMPERATURE, 1) for logits in (outputs, wanted))
        value = functional.kl_div(student, teacher, log_target=True, reduction="none").sum(1).mean() * TEMPERATURE**2
    else:
        value = functional.mse_loss(outputs, wanted) / (wanted.var() + 1e-12)
    return float(value) if torch.isfinite(value) else math.inf


def probes(space: SearchSpace) -> list[tuple[Site, Choice]]:
    """The choices that are built to learn a site's losses, what matters most first; the others lie between them.

    A width's loss grows smoothly, so two of them are enough; every dropped block and factorisation is tried itself.
    Factorisations are many and come last, for searches that have the time.
    """
    sites = [site for site in space.sites.values() if site.kind != "precision"]
    channels = [site for site in sites if site.kind == "channels"]
    single = [(site, choice) for site in sites if site.kind in ("depth", "resolution") for choice in site.choices[1:]]
    factorized = [(site, choice) for site in sites if site.kind == "factorize" for choice in site.choices[1:]]
    # One choice of every layer before the next one of any.
    factorized.sort(key=lambda pair: pair[0].choices.index(pair[1]))
    middle = [(site, site.choices[len(site.choices) // 2]) for site in channels]
    last = [(site, site.choices[-1]) for site in channels if len(site.choices) > 2]
    return [*middle, *single, *last, *factorized]


@torch.no_grad()
def probe(
    space: SearchSpace, site: Site, choice: Choice, classifier: bool, held_out: tuple[tuple[Tensor, ...], Tensor]
) -> float:
    """Divergence of the repaired student that differs from the teacher in this choice alone.

    On inputs that the repair has not seen: on its own it looks ten times as good, and for a dropped block more so than
    for a width.

    Args:
        space, site, choice: what is built.
        classifier: whether outputs are logits.
        held_out: inputs, and the teacher's outputs on them.
    """
    inputs, wanted = held_out
    outputs: Tensor = space.build(Recipe().replace(site, choice)).module(*inputs)
    return divergence(outputs, wanted, classifier)


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
