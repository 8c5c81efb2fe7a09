"""What choices lose: divergences by hand, which choices are tried, and what lies between them."""

import math

import pytest
import torch

from nas.strategies.sensitivity import _between, complete, divergence, probe, probes
from tests.search_spaces.spaces import space_of


def test_divergence_of_logits_by_hand() -> None:
    same = torch.tensor([[0.0, 0.0]])
    assert divergence(same + 3, same, True) == pytest.approx(0.0, abs=1e-7)
    # At temperature 2 the logits (2 log 3, 0) are 3/4 and 1/4: 4 KL(1/2, 1/2 || 3/4, 1/4) = 4 * 0.5 log(4/3)
    assert divergence(torch.tensor([[2 * math.log(3.0), 0.0]]), same, True) == pytest.approx(2 * math.log(4 / 3))


def test_divergence_of_values_is_a_share_of_the_variance() -> None:
    wanted = torch.tensor([[1.0], [3.0]])
    assert divergence(wanted + 1, wanted, False) == pytest.approx(0.5)  # the variance is 2
    assert divergence(torch.full((2, 1), math.nan), wanted, False) == math.inf


def test_two_widths_of_a_group_and_every_other_choice_are_tried() -> None:
    space = space_of("resnet")
    tried: dict[str, list[object]] = {}
    for site, choice in probes(space):
        tried.setdefault(site.name, []).append(choice)
    assert "precision" not in tried
    assert set(tried) == {name for name, site in space.sites.items() if site.kind != "precision"}
    for name, choices in tried.items():
        site = space.sites[name]
        assert site.unchanged not in choices
        if site.kind == "channels":
            assert choices == list(dict.fromkeys([site.choices[len(site.choices) // 2], site.choices[-1]]))
        else:
            assert choices == list(site.choices[1:])


def test_a_probe_is_finite_and_grows_with_the_cut() -> None:
    space = space_of("resnet")
    site = next(site for site in space.sites.values() if site.kind == "channels")
    held_out = (space.statistics.inputs, space.statistics.outputs)
    little, much = (probe(space, site, site.choices[i], True, held_out) for i in (1, -1))
    assert 0 <= little < much < math.inf


def test_between_two_widths_the_logarithm_is_linear() -> None:
    points = [(8, 1e-2), (4, 1.0)]
    assert _between(8, 16, points) == pytest.approx(1e-2)
    assert _between(6, 16, points) == pytest.approx(1e-1)
    assert _between(4, 16, points) == pytest.approx(1.0)
    assert _between(12, 16, points) == pytest.approx(1e-3)  # towards a hundredth of the first at the full width
    assert _between(2, 16, points) is None  # nothing is known below the narrowest
    assert _between(8, 16, []) is None


def test_completed_losses_are_monotone_over_widths_and_literal_elsewhere() -> None:
    space = space_of("resnet")
    channels = next(site for site in space.sites.values() if site.kind == "channels")
    depth = next(site for site in space.sites.values() if site.kind == "depth")
    widths = [int(c) for c in channels.choices]
    middle, last = widths[len(widths) // 2], widths[-1]
    losses = complete(space, {channels.name: {middle: 0.5, last: 0.2}, depth.name: {"drop": 0.7}})
    assert losses[depth.name] == {"keep": 0.0, "drop": 0.7}
    found = losses[channels.name]
    assert set(found) == set(widths)
    assert found[widths[0]] == 0.0
    assert found[middle] == pytest.approx(0.5)
    ordered = [found[width] for width in widths]
    assert ordered == sorted(ordered)


def test_choices_that_could_not_be_tried_are_left_out() -> None:
    space = space_of("resnet")
    factorize = next(site for site in space.sites.values() if site.kind == "factorize")
    losses = complete(space, {factorize.name: {factorize.choices[1]: math.inf}})
    assert losses == {factorize.name: {factorize.unchanged: 0.0}}
