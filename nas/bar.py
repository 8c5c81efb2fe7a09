"""The accuracy that a candidate has to reach in order to matter."""

from collections.abc import Iterable

from nas.latencies import everywhere
from nas.record import Record


def bar(records: Iterable[Record], record: Record) -> float | None:
    """The accuracy below which a timed record is beaten on each of its targets, by others of its rung.

    Only records that are faster beyond doubt count: the upper end of their interval is below the lower end of this
    one's. None where on some target nothing is faster.

    Args:
        records: of the run; failures and the teacher set no bar.
        record: with its latencies.
    """
    others = [one for one in records if one.failure is None and one.recipe and one.rung == record.rung]
    best = []
    for label, latency in everywhere(record).items():
        faster = [
            one.accuracy
            for one in others
            if one.accuracy is not None
            and (there := everywhere(one).get(label)) is not None
            and there.ratio_high < latency.ratio_low
        ]
        best.append(max(faster, default=None))
    found = [accuracy for accuracy in best if accuracy is not None]
    return min(found) if found and len(found) == len(best) else None
