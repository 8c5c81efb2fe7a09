"""When the phases of a search hand over, so that what comes after them has its time."""

from nas.confirm import N_VISITS
from nas.workbench import Workbench

TRAIN_UNTIL = 0.9
"""Share of the time budget at which training ends at the latest."""
N_CONFIRMED, N_TEST_LEAST = 6, 500
"""Members that are confirmed, and test samples that they are scored on, however little time there is."""
REPORT_S = 1.5
"""Seconds that tables, plots, page and the members' files take."""
TOGETHER = 0.5
"""What a visit beside others takes of one of the teacher alone, most of which is the anchor's."""
PREPARED = 0.07
"""Of the time budget that preparing may have taken where students are planned. Else the teacher is so slow, or the time
so short, that losses, prices and planned students would leave too little for training."""


def visit_s(bench: Workbench) -> float:
    """Seconds that timing a student once on every target takes beside others, when the front is confirmed."""
    return TOGETHER * float(bench.ledger.get_fact("visit_s"))


def training_end_s(bench: Workbench) -> float:
    """When training ends, in seconds of the time budget: confirming the front and the report need the rest."""
    n_confirmed = min(N_CONFIRMED, len(bench.ledger.records()))  # one of them is the teacher, and one is to come
    visits_s = (1 + n_confirmed) * N_VISITS * visit_s(bench)
    scoring_s = 2 * N_TEST_LEAST * bench.teacher_score_s / len(bench.validation.split)
    budget_s = bench.deadline.budget_s
    return min(TRAIN_UNTIL * budget_s, budget_s - visits_s - scoring_s - REPORT_S)


def has_time_to_plan(bench: Workbench) -> bool:
    """Whether losses, prices and planned students are worth their time; decided once a run, before them."""
    known = bench.ledger.get_fact("has_time_to_plan")
    if known is None:
        known = bench.deadline.elapsed_s() <= PREPARED * bench.deadline.budget_s
        bench.ledger.set_fact("has_time_to_plan", known)
    return bool(known)
