import math

import pytest
import torch

from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.texture import (
    FAINTEST,
    TEXTURES,
    colour_distance,
    colour_spread_distance,
    gradient_energy,
    local_contrast,
    log_ratio,
    octave_energies,
    textures,
)

HEIGHT, WIDTH = 32, 16


def noise(deviation: float, samples: int = 64):
    generator = torch.Generator().manual_seed(1)
    return deviation * torch.randn(
        samples, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.float64
    )


def ramp(across: float, down: float):
    rows = torch.arange(HEIGHT, dtype=torch.float64)[:, None]
    columns = torch.arange(WIDTH, dtype=torch.float64)
    return (down * rows + across * columns).expand(2, 3, HEIGHT, WIDTH)


def wave(down: int, across: int, amplitude: float = 1.0):
    """A standing wave of as many half cycles down and across, its crests on the edges."""
    rows = torch.cos(math.pi * down * (torch.arange(HEIGHT).double() + 0.5) / HEIGHT)
    columns = torch.cos(math.pi * across * (torch.arange(WIDTH).double() + 0.5) / WIDTH)
    return (amplitude * rows[:, None] * columns).expand(1, 3, HEIGHT, WIDTH)


def test_the_gradient_energy_of_a_ramp_is_its_slope_squared():
    torch.testing.assert_close(gradient_energy(ramp(3.0, 0.0)), torch.full((2,), 9.0).double())
    torch.testing.assert_close(gradient_energy(ramp(3.0, 4.0)), torch.full((2,), 25.0).double())


def test_the_gradient_energy_of_white_noise_is_four_variances():
    # 64 images of 3 x 496 and 3 x 480 squared differences of kurtosis 3, neighbours of which share
    # a pixel: the standard error is below 4 s^2 sqrt(2 * 1.5 / 94,000) = 0.6 %.
    assert gradient_energy(noise(5.0)).mean().item() == pytest.approx(100.0, rel=0.03)


def test_white_noise_has_three_quarters_of_its_variance_in_the_finest_octave_and_so_on():
    found = octave_energies(noise(5.0), 3).mean(0)
    # Of 98,304 coefficients 3/64 are in the coarsest octave: its standard error is
    # sqrt(2 / 4608) = 2 %.
    expected = [25 * 3 / 4, 25 * 3 / 16, 25 * 3 / 64]
    assert found.tolist() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("down", "across", "octave"),
    [
        (16, 0, 0),  # the lowest of the finest: a quarter of a cycle a pixel
        (15, 7, 1),
        (0, 8, 0),
        (3, 8, 0),  # the finer of both axes decides
        (0, 7, 1),
        (8, 0, 1),
        (7, 3, 2),
        (0, 2, 2),
        (4, 0, 2),
    ],
)
def test_a_wave_is_in_its_octave_alone(down: int, across: int, octave: int):
    energies = octave_energies(wave(down, across, amplitude=6.0), 3)[0]
    share = (0.5 if down else 1.0) * (0.5 if across else 1.0)
    expected = torch.zeros(3).double()
    expected[octave] = 36 * share
    torch.testing.assert_close(energies, expected)


@pytest.mark.parametrize(("down", "across"), [(0, 0), (3, 1), (3, 0)])
def test_what_is_coarser_than_all_octaves_is_in_none(down: int, across: int):
    assert octave_energies(wave(down, across), 3).abs().max().item() < 1e-20


def test_all_octaves_together_are_the_variance():
    # Of 16 x 16 px four octaves hold every wave but the mean.
    images = noise(3.0)[..., :16, :] + 100
    variance = images.var((2, 3), correction=0).mean(1)
    torch.testing.assert_close(octave_energies(images, 4).sum(1), variance)


def test_a_smooth_image_has_no_step_where_its_edges_would_meet():
    # A ramp of 16 columns: a Fourier transform would have half of it in coarse octaves and more
    # than 1 % in the finest.
    images = ramp(1.0, 0.0)
    share = octave_energies(images, 3)[:, 0] / images[0, 0].var(correction=0)
    assert share.max().item() < 2e-3


def test_the_contrast_of_a_ramp_is_that_of_four_steps():
    # 0, a, 2a, 3a have the variance 15/12 a^2, whatever stands in the next square.
    expected = torch.full((2,), 2 * math.sqrt(15 / 12)).double()
    torch.testing.assert_close(local_contrast(ramp(2.0, 0.0)), expected)


def test_contrast_is_local():
    squares = torch.tensor([10.0, 200.0]).double().repeat_interleave(4).expand(1, 3, 4, 8)
    assert local_contrast(squares).item() == 0
    checks = (torch.arange(4)[:, None] + torch.arange(8)) % 2
    # Two values 2 a apart have the deviation a; the mean is over squares and not their variances.
    images = torch.cat([6.0 * checks[:, :4], 2.0 * checks[:, 4:]], dim=-1).double()
    assert local_contrast(images.expand(1, 3, 4, 8)).item() == pytest.approx((3 + 1) / 2)


def test_squares_that_are_not_whole_play_no_part():
    images = torch.zeros(1, 3, 6, 7).double()
    images[..., 4:, :] = 255
    images[..., 4:] = torch.arange(3) * 100
    assert local_contrast(images).item() == 0


def test_twice_and_half_count_alike_and_the_invisible_not_at_all():
    made, given = torch.tensor([8.0, 2.0, 0.25, 8.0]), torch.tensor([2.0, 8.0, 0.01, 0.01])
    ratios = log_ratio(made.double(), given.double())
    assert ratios.tolist() == [2.0, -2.0, 0.0, math.log2(8.0 / FAINTEST)]


def test_every_statistic_has_its_name():
    # Octaves of a wave each, so that no two statistics agree.
    images = wave(16, 0, 8.0) + wave(8, 0, 4.0) + wave(4, 0, 2.0)
    found = textures(images)
    assert tuple(found) == TEXTURES
    assert [found[name].item() for name in ("fine", "medium", "coarse")] == pytest.approx(
        [32.0, 8.0, 2.0]
    )
    assert found["gradient"].item() == gradient_energy(images).item()
    assert found["contrast"].item() == local_contrast(images).item()


def test_channels_are_averaged():
    images = noise(2.0)
    apart = [textures(images[:, [channel]].repeat(1, 3, 1, 1)) for channel in range(3)]
    for name, values in textures(images).items():
        mean = sum(one[name] for one in apart) / 3
        torch.testing.assert_close(values, mean)


def test_the_distance_of_mean_colours():
    first, second = torch.zeros(1, 3, 4, 4).double(), torch.zeros(1, 3, 2, 8).double()
    second[:, 0], second[:, 2] = 30, 40
    assert colour_distance(first, second).item() == 50


def test_both_colour_distances_are_that_of_the_gaussians_fitted_to_the_pixels():
    first, second = noise(5.0, samples=2), noise(9.0, samples=2).flip(0) + 20
    second[:, 1] += 0.7 * second[:, 0]
    squares = colour_distance(first, second) ** 2, colour_spread_distance(first, second) ** 2
    count = HEIGHT * WIDTH
    for sample in range(2):
        one, other = (images[sample].flatten(1).mT for images in (first, second))
        mean = squares[0][sample].item()
        # The Frechet distance divides covariances by one less than the number of pixels.
        whole = frechet_distance(one, other) - mean
        assert squares[1][sample].item() == pytest.approx(whole * (count - 1) / count, rel=1e-9)


def test_colours_of_images_of_one_colour_have_no_spread():
    flat = torch.full((1, 3, 4, 4), 7.0).double()
    assert colour_spread_distance(flat, flat).item() == 0
    # One channel of deviation 5 against none at all.
    other = flat.clone()
    other[:, 1, ::2] += 10
    assert colour_spread_distance(flat, other).item() == pytest.approx(5.0)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match=r"3 octaves need images of at least 8 px a side, got 8 x"):
        octave_energies(torch.zeros(1, 3, 8, 6).double(), 3)
    with pytest.raises(ValueError, match="at least 4 px a side, got 3 x 8"):
        local_contrast(torch.zeros(1, 3, 3, 8).double())
