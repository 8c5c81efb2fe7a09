import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_models.latency import Latency
from nas.budget import LatencyBudget, TimeBudget, parse_latency_budget, parse_share, parse_time, parse_time_budget
from nas.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2ms", LatencyBudget(seconds=0.002)),
        (" 2 ms ", LatencyBudget(seconds=0.002)),
        ("0.25s", LatencyBudget(seconds=0.25)),
        (".5s", LatencyBudget(seconds=0.5)),
        ("500us", LatencyBudget(seconds=500e-6)),
        ("500\u00b5s", LatencyBudget(seconds=500e-6)),
        ("500\u03bcs", LatencyBudget(seconds=500e-6)),
        ("40%", LatencyBudget(ratio=0.4)),
        ("12.5 %", LatencyBudget(ratio=0.125)),
        ("100%", LatencyBudget(ratio=1.0)),
    ],
)
def test_latency_budgets_that_are_understood(text: str, expected: LatencyBudget) -> None:
    assert parse_latency_budget(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.4", "no unit"),
        ("2", "could be seconds, milliseconds or a share"),
        ("-2ms", "negative"),
        ("-40%", "negative"),
        ("0ms", "zero"),
        ("0%", "zero"),
        ("101%", "more than the teacher"),
        ("5m", "unknown unit `m`"),
        ("2MS", "unknown unit `MS`"),
        ("1e3ms", "unknown unit `e3ms`"),
        ("1.2.3ms", "not a number with a unit"),
        ("9999999999s", "longer than a year"),
        ("banana", "not a number"),
        ("nan", "not a number"),
        ("nanms", "not a number"),
        ("inf", "not a number"),
        ("ms", "not a number"),
        ("%", "not a number"),
        ("", "not a number"),
    ],
)
def test_other_latency_budgets_are_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        parse_latency_budget(text)
    assert "`40%`" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300.0), ("90s", 90.0), ("1h30m", 5400.0), ("1h 30m 5s", 5405.0), ("1.5h", 5400.0), (" 2 m ", 120.0)],
)
def test_times_that_are_understood(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5",
        "0s",
        "0h0m",
        "-5m",
        "5ms",
        "30m1h",
        "5min",
        "banana",
        "nan",
        "inf",
        "1:30",
        "9000h",
        "5m5m",
        "1e3s",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="time budget") as caught:
        parse_time(text)
    assert "`1h30m`" in caught.value.remedy
    assert "cpu:" not in caught.value.remedy  # `nas tune` knows no CPU time


@pytest.mark.parametrize(
    ("text", "share"), [("0.5%", 0.005), ("1%", 0.01), ("1pt", 0.01), ("1 pt", 0.01), ("100%", 1.0)]
)
def test_accuracy_drops_that_are_understood(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.01", "could be a fraction or percentage points"),
        ("-1%", "negative"),
        ("0%", "zero"),
        ("101%", "more than 100"),
        ("1ms", "unknown unit `ms`"),
        ("nan%", "not a number"),
        ("banana", "not a number"),
    ],
)
def test_other_accuracy_drops_are_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_share(text)


@given(st.text(alphabet="0123456789.-+eE%hmspt\u00b5u inf\n", max_size=12))
def test_any_text_is_understood_or_a_user_error(text: str) -> None:
    for parse in (parse_time, parse_share, lambda text: parse_latency_budget(text).as_ratio(1.0)):
        try:
            value = parse(text)
        except UserError:
            continue
        assert 0 < value <= 365 * 24 * 3600


@pytest.mark.parametrize(
    ("seconds", "ratio"),
    [(None, None), (0.1, 0.1), (0.0, None), (-1.0, None), (float("nan"), None), (float("inf"), None), (None, 1.1)],
)
def test_a_budget_is_exactly_one_sound_number(seconds: float | None, ratio: float | None) -> None:
    with pytest.raises(ValueError, match="latency"):
        LatencyBudget(seconds, ratio)


def test_as_ratio() -> None:
    assert LatencyBudget(ratio=0.4).as_ratio(0.01) == 0.4
    assert LatencyBudget(seconds=0.002).as_ratio(0.008) == 0.25
    with pytest.raises(ValueError, match="positive"):
        LatencyBudget(seconds=0.002).as_ratio(0.0)


def test_only_the_upper_end_of_the_interval_meets_a_budget() -> None:
    latency = Latency(0.0019, 0.0018, 0.0021, 0.38, 0.36, 0.41, "measured", "cpu-1t")
    assert not LatencyBudget(seconds=0.002).met_by(latency)
    assert LatencyBudget(seconds=0.0021).met_by(latency)
    assert not LatencyBudget(ratio=0.40).met_by(latency)
    assert LatencyBudget(ratio=0.41).met_by(latency)


def test_text_for_people() -> None:
    assert str(LatencyBudget(ratio=0.4)) == "40%"
    assert str(LatencyBudget(seconds=0.002)) == "2 ms"


def test_a_time_budget_of_cpu_seconds_says_so() -> None:
    assert parse_time_budget("cpu:3m") == TimeBudget(180.0, of_cpu=True)
    assert parse_time_budget("90s") == TimeBudget(90.0)
    for text in ("gpu:3m", "cpu:", "3m:cpu", "cpu:cpu:3m"):
        with pytest.raises(UserError, match="is not a time") as caught:
            parse_time_budget(text)
        assert "`cpu:5m`" in caught.value.remedy
