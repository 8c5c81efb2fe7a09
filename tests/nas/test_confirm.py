"""Which members of the front are confirmed."""

from dataclasses import replace

from nas.confirm import finalists
from nas.record import Record
from tests.nas.records import MEMBERS, RECORDS, TEACHER, make_latency, make_student

UNTESTED = [replace(record, test_accuracy=None) for record in RECORDS]
FRONT = [member.id for member in MEMBERS]


def test_the_whole_front_where_there_is_time() -> None:
    assert [record.id for record in finalists(UNTESTED, TEACHER, 5)] == FRONT


def test_with_more_time_the_front_behind_it_comes_too() -> None:
    found = [record.id for record in finalists(UNTESTED, TEACHER, 14)]
    assert found[: len(FRONT)] == FRONT
    assert len(FRONT) < len(found) <= 14


def test_of_a_longer_front_those_are_taken_that_cover_most() -> None:
    three = [record.id for record in finalists(UNTESTED, TEACHER, 3)]
    assert len(set(three)) == 3
    assert set(three) < set(FRONT)
    assert [record.id for record in finalists(UNTESTED, TEACHER, 2)] == three[:2]
    ratios = {record.id: record.latency.ratio for record in UNTESTED if record.latency}
    # With nothing below the best accuracy counting, the most accurate one comes first.
    best = max((record for record in UNTESTED if record.id in FRONT), key=lambda record: record.accuracy or 0.0)
    first = finalists(UNTESTED, TEACHER, 1, floor=(best.accuracy or 0.0) - 1e-4)
    assert [record.id for record in first] == [best.id]
    assert ratios[best.id] == max(ratios[name] for name in FRONT)


def test_each_targets_front_is_confirmed() -> None:
    def both(record: Record, ratio: float) -> Record:
        return replace(record, elsewhere={"b-1t": replace(make_latency(ratio), target="b-1t")})

    # On the other target only the two that the first one beats are any good.
    records = [both(record, 0.1 + 0.01 * i if record in UNTESTED[5:7] else 0.99) for i, record in enumerate(UNTESTED)]
    teacher = both(TEACHER, 1.0)
    only_there = {r.id for r in finalists(records, teacher, 2, ["b-1t"])}
    wanted = set(FRONT) | only_there
    assert len(wanted) == len(FRONT) + 1
    everywhere = [r.id for r in finalists(records, teacher, len(wanted), ["cpu-1t", "b-1t"])]
    assert sorted(everywhere) == sorted(wanted)
    assert all(
        record.latency == original.latency
        for record in finalists(records, teacher, 2, ["b-1t"])
        for original in UNTESTED
        if original.id == record.id
    )
    assert len(finalists(records, teacher, 4, ["cpu-1t", "b-1t"])) <= 4


def test_room_that_is_left_goes_to_what_would_be_the_front_without_its_members() -> None:
    n = len(FRONT)
    for n_more in (1, 2, 3):
        found = [record.id for record in finalists(UNTESTED, TEACHER, n + n_more)]
        assert found[:n] == FRONT
        assert len(found) == len(set(found)) == n + n_more


def test_the_teachers_architecture_in_other_precisions_is_always_confirmed() -> None:
    plain = make_student({"precision": "int8"}, 0.1, None, 0.95)
    assert [record.id for record in finalists([plain, *UNTESTED], TEACHER, 5)] == [*FRONT, plain.id]


def test_validation_scores_choose_though_some_have_test_scores() -> None:
    half_tested = [*RECORDS[:3], *UNTESTED[3:]]
    assert [record.id for record in finalists(half_tested, TEACHER, 5)] == FRONT


def test_of_two_rungs_of_one_recipe_the_higher_one_is_confirmed() -> None:
    member = next(record for record in UNTESTED if record.id == FRONT[2])
    accuracy = member.accuracy or 0.0
    # A hair faster and better, by noise: without care both would be on the front.
    lower = replace(member, rung=1, accuracy=accuracy + 1e-4, latency=make_latency(0.1899))
    assert [record.id for record in finalists([lower, *UNTESTED], TEACHER, 5)] == FRONT
