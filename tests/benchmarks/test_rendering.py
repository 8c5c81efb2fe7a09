import pytest
import torch
from clutter.rendering import SIZE, render
from clutter.task import digit_arrays, renderings


def test_the_digits_are_split_four_to_one() -> None:
    digits, labels, train, test = digit_arrays()
    assert digits.shape == (5000, 1, SIZE, SIZE)
    assert labels.bincount().tolist() == [500] * 10
    assert sorted(torch.cat([train, test]).tolist()) == list(range(5000))
    assert (len(train), len(test)) == (4000, 1000)
    assert (digits.min(), digits.max()) == (0, 1)


def test_eight_digits_rendered_with_seed_five() -> None:
    # The figures come from the code that the peers' files were made with, which gave the same images bit for bit.
    digits, _, _, test = digit_arrays()
    images = renderings(digits[test][:8], 1, 5)
    ramp = torch.linspace(-1, 1, images.numel(), dtype=torch.float64)
    assert float((images.double().flatten() * ramp).sum()) == pytest.approx(-9.448413834, abs=1e-3)
    assert float(images.double().sum()) == pytest.approx(-780.902969756, abs=1e-3)
    assert images[3, 0, 10, 10:14].tolist() == pytest.approx([-0.8398, -0.5830, -0.8354, 0.3124], abs=1e-4)


def test_a_rendering_has_clutter_from_the_pool_only() -> None:
    black, white = torch.zeros(4, 1, SIZE, SIZE), torch.ones(4, 1, SIZE, SIZE)
    from_black = render(black, black, torch.Generator().manual_seed(0))
    from_white = render(black, white, torch.Generator().manual_seed(0))
    brighter = (from_white > from_black + 0.2 / 0.30 - 1e-4).flatten(1).sum(1)
    # Five pieces of 8x8 pixels, at least a fifth bright, which may lie over each other.
    assert bool((brighter >= 64).all())
    assert bool((brighter <= 5 * 64).all())
    assert torch.equal((from_white != from_black).flatten(1).sum(1), brighter)
