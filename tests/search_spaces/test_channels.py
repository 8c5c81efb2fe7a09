from itertools import pairwise

import pytest

from search_spaces.channels import Channels, widths
from tests.search_spaces.spaces import space_of


@pytest.mark.parametrize(
    ("n_channels", "n_units", "expected"),
    [
        (64, 64, (64, 56, 48, 40, 32, 24, 16, 8, 4)),
        (24, 24, (24, 20, 16, 12, 8, 4)),
        (8, 8, (8, 4)),
        (6, 6, (6, 5, 4, 3, 2, 1)),
        (48, 12, (48, 40, 32, 24, 16, 8, 4)),
        (24, 4, (24, 18, 12, 6)),
        (2, 2, (2, 1)),
        (1, 1, (1,)),
    ],
)
def test_widths(n_channels: int, n_units: int, expected: tuple[int, ...]) -> None:
    assert widths(n_channels, n_units) == expected


def test_widths_are_nested() -> None:
    channels = space_of("resnet").transforms["channels"]
    assert isinstance(channels, Channels)
    for site in channels.sites:
        kept = [set(channels.units(site.name, int(width)).tolist()) for width in site.choices]
        assert [len(units) for units in kept] == list(site.choices)
        assert all(narrow < wide for wide, narrow in pairwise(kept))


def test_whole_units_of_a_grouped_convolution_go() -> None:
    channels = space_of("grouped").transforms["channels"]
    assert isinstance(channels, Channels)
    assert len(channels.units("channels:before", 8)) == 2
