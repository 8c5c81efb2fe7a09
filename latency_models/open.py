"""From a target to its latency model."""

from typing import TYPE_CHECKING

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.drift import Watched
from latency_models.estimated import Estimated
from latency_models.measured import Measured
from latency_models.target import Target
from latency_models.timing import Plan

if TYPE_CHECKING:
    from latency_models.predicted import Predicted


def open_model(
    target: Target, anchor: Artifact, feed: Feed, seed: int, plan: Plan | None = None
) -> Measured | Estimated:
    """The model that gives latencies on a target; its worker process starts with the first request.

    Args:
        target: what the latencies hold for.
        anchor: what every latency is a share of (the teacher's artifact).
        feed: one value for each input of anchor and candidates.
        seed: of the intervals' bootstrap.
        plan: of each visit.

    Raises:
        LatencyError: an estimate whose error is not known.
    """
    if target.access == "estimate":
        return Estimated(target, anchor, feed)
    return Measured(target, anchor, feed, seed, plan)


def open_predicted(target: Target, anchor: Artifact, feed: Feed, seed: int) -> "Predicted | Estimated":
    """The model that predicts latencies on a target from those that it measures; an estimate where nothing can be.

    Args, raises: as for `open_model`.
    """
    if target.access == "estimate":
        return Estimated(target, anchor, feed)
    from latency_models.predicted import Predicted  # here, as what it predicts with takes a second to import

    return Predicted(Watched(Measured(target, anchor, feed, seed)), anchor)
