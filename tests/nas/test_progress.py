import io

import pytest

from nas.progress import Progress, Style, make_progress


class Clock:
    def __init__(self, budget_s: float = 300.0) -> None:
        self.now_s = 0.0
        self.budget_s = budget_s

    def elapsed_s(self) -> float:
        return self.now_s

    def left_s(self) -> float:
        return self.budget_s - self.now_s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def progress_on(stream: io.StringIO, clock: Clock, style: Style = "auto") -> Progress:
    return make_progress(stream, clock.elapsed_s, clock.left_s, style)


def test_the_best_is_the_most_accurate_and_an_estimate_is_marked(clock: Clock) -> None:
    out = io.StringIO()
    progress = progress_on(out, clock, "plain")
    progress.phase("search")
    progress.candidate("good", 0.9, 0.2, "predicted")
    progress.candidate("worse", 0.8, 0.1)
    progress.close()
    assert "best good 90.00 % at ~20.0 % of the latency" in out.getvalue()
    assert "worse" not in out.getvalue()


def test_plain_lines_say_phase_count_best_and_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    progress = progress_on(stream, clock)
    progress.phase("profile")
    clock.now_s = 12.0
    progress.phase("search", 40)
    progress.candidate("3f9a1c02b7de-r2", 0.9305, 0.19)
    clock.now_s = 75.0
    progress.advance(3, n_failed=1)
    assert stream.getvalue().splitlines() == [
        "[0:00, 5:00 left] profile",
        "[0:12, 4:48 left] search 0/40",
        "[1:15, 3:45 left] search 3/40, 1 failed · best 3f9a1c02b7de-r2 93.05 % at 19.0 % of the latency",
    ]


def test_plain_lines_are_rare_but_lose_no_note(clock: Clock) -> None:
    stream = io.StringIO()
    with progress_on(stream, clock) as progress:
        progress.phase("search", 1000)
        for i in range(1000):
            clock.now_s = i * 0.02  # twenty seconds in all
            progress.advance()
            if i in (10, 20):
                progress.note(f"note {i}\nof two lines")
        progress.note("the last")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 3 + 1  # the phase, at 5, 10 and 15 seconds, and the end
    assert lines[1].endswith("search 251/1000 · note 10 of two lines · note 20 of two lines")
    assert lines[-1].endswith("search 1000/1000 · the last")


def test_closing_twice_says_it_once_and_nothing_comes_after(clock: Clock) -> None:
    stream = io.StringIO()
    progress = progress_on(stream, clock)
    progress.phase("search")
    progress.close()
    text = stream.getvalue()
    progress.close()
    progress.phase("after the end")
    assert stream.getvalue() == text


def test_silence_is_silent(clock: Clock) -> None:
    stream = Terminal()
    with progress_on(stream, clock, "silent") as progress:
        progress.phase("search", 3)
        progress.note("unheard")
        progress.advance()
    assert stream.getvalue() == ""


def test_a_terminal_gets_the_live_display(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with progress_on(stream, clock) as progress:
        progress.phase("search", 40)
        progress.note("int8 is slower than float32 here")
        progress.candidate("3f9a1c02b7de-r2", 0.9305, 0.19)
        clock.now_s = 60.0
        progress.advance(12)
    text = stream.getvalue()
    for phrase in ("12/40", "1:00 gone, 4:00 left", "best 3f9a1c02b7de-r2 93.05 %", "int8 is slower than float32 here"):
        assert phrase in text
    assert text.count("int8 is slower") == 1
    assert text.endswith("\x1b[?25h")  # the cursor is back


def test_the_terminal_is_given_back_after_an_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()

    def search() -> None:
        with progress_on(stream, clock) as progress:
            progress.phase("search")
            raise KeyError("gone")

    with pytest.raises(KeyError):
        search()
    assert "\x1b[?25h" in stream.getvalue()


def test_of_notes_with_one_key_only_the_first_is_said(clock: Clock) -> None:
    out = io.StringIO()
    progress = progress_on(out, clock, "plain")
    progress.phase("search")
    for key, text in (("pi", "pi is away"), ("pi", "pi is still away"), ("tv", "tv is away")):
        progress.note_once(key, text)
    progress.close()
    assert "pi is away · tv is away" in out.getvalue()
    assert "still" not in out.getvalue()
