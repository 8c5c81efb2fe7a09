"""From a target to its latency model."""

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.estimated import Estimated
from latency_models.measured import Measured
from latency_models.target import Target
from latency_models.timing import Plan


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
