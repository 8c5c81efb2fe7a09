from dataclasses import replace
from pathlib import Path
from typing import Literal

import matplotlib.image
import numpy as np
import pytest

from nas.front import Front, front_of, latency_of
from nas.fronts import fronts_of
from nas.plane import frame_of
from nas.plot import write_png
from nas.record import Record
from tests.nas.records import FAILED, RECORDS, TEACHER
from tests.nas.several import BOARD, SEVERAL, SEVERAL_TEACHER, TARGETS

FRONT = front_of(RECORDS, TEACHER)


def test_png_is_drawn_in_full_size(tmp_path: Path) -> None:
    pixels = matplotlib.image.imread(write_png({"cpu-1t": FRONT}, tmp_path / "front.png", "digits $5", {"cpu-1t": 0.2}))
    assert pixels.shape == (1080, 1800, 4)
    assert full_blue(pixels) > 5 * 150  # five members of some hundred pixels each


def test_png_of_an_empty_front_and_of_a_title_with_half_a_formula(tmp_path: Path) -> None:
    assert write_png({"cpu-1t": front_of([FAILED], TEACHER)}, tmp_path / "a.png", "a $\\frac{1").stat().st_size > 1000


BLUE = np.array([0x00, 0x72, 0xB2]) / 255


def full_blue(pixels: np.ndarray) -> int:
    """How many pixels have the colour of a solid marker."""
    return int((np.abs(pixels[..., :3] - BLUE).max(axis=-1) < 0.01).sum())


@pytest.mark.parametrize("targets", [TARGETS, TARGETS[:2]])
def test_png_of_several_targets_has_a_panel_for_each(tmp_path: Path, targets: tuple[str, ...]) -> None:
    fronts = fronts_of(SEVERAL, SEVERAL_TEACHER, targets)
    ratios = dict.fromkeys(targets, 0.4)
    pixels = matplotlib.image.imread(write_png(fronts, tmp_path / "front.png", "digits", ratios))
    n_rows = (len(targets) + 1) // 2
    assert pixels.shape[1] == 1950
    panels = [pixels[: pixels.shape[0] // n_rows, :975], pixels[: pixels.shape[0] // n_rows, 975:]]
    assert all(full_blue(panel) > 3 * 80 for panel in panels)


def test_estimates_are_drawn_hollow(tmp_path: Path) -> None:
    hollow = fronts_of(SEVERAL, SEVERAL_TEACHER, [BOARD])[BOARD]
    solid = replace_source(hollow, "measured")
    frame = frame_of(hollow)
    across, up = frame.fractions(100 * latency_of(hollow.members[0]).ratio, 100 * hollow.accuracy_of(hollow.members[0]))
    column, row = round(1800 * (0.105 + 0.865 * across)), round(1080 * (1 - 0.125 - 0.735 * up))
    for front, colour in ((hollow, np.ones(3)), (solid, BLUE)):
        pixels = matplotlib.image.imread(write_png({BOARD: front}, tmp_path / "a.png", "t"))
        assert pixels[row, column, :3] == pytest.approx(colour, abs=0.01)


def replace_source(front: Front, source: Literal["measured", "predicted"]) -> Front:
    def change(record: Record) -> Record:
        return replace(record, latency=replace(latency_of(record), source=source))

    members, dominated = (tuple(change(one) for one in group) for group in (front.members, front.dominated))
    return replace(front, members=members, dominated=dominated, teacher=change(front.teacher))
