"""The levels must have the distribution, the shapes and the regions that they promise."""

import math

import pytest
import torch
from torch import Generator, Tensor

from sampling.noise_levels.mixed import Mixed
from sampling.noise_levels.shared import Shared

UNIFORM = Shared(p_mean=-0.8, p_std=1.4)
MAPS = Mixed(p_mean=-0.8, p_std=1.4, map_share=1.0, region_multiple=4)


def drawn_maps(count: int, height: int, width: int, *, batch: int = 1) -> list[Tensor]:
    generator = Generator().manual_seed(1)
    return [MAPS.draw(batch, height, width, generator=generator).sigma for _ in range(count)]


def regions(sigma: Tensor) -> Tensor:
    """One level for each cell of `region_multiple` pixels squared."""
    return sigma[:, :, ::4, ::4]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 16), (16, 8), (8, 24)])
def test_levels_are_one_a_sample_or_one_a_pixel(height, width):
    generator = Generator().manual_seed(0)
    assert UNIFORM.draw(5, height, width, generator=generator).sigma.shape == (5, 1, 1, 1)
    assert MAPS.draw(5, height, width, generator=generator).sigma.shape == (5, 1, height, width)


def test_the_logarithm_of_a_level_is_normal():
    drawn = UNIFORM.draw(65_536, 16, 16, generator=Generator().manual_seed(2))
    log_sigma = drawn.sigma.log().flatten()
    # 65,536 draws of deviation 1.4: the standard errors are 1.4 / 256 = 0.0055 of the mean,
    # 0.0055 / sqrt(2) = 0.0039 of the deviation and sqrt(p (1 - p)) / 256 of a share; five of each.
    assert log_sigma.mean().item() == pytest.approx(-0.8, abs=5 * 0.0055)
    assert log_sigma.std().item() == pytest.approx(1.4, abs=5 * 0.0039)
    for z in (-2.0, -1.0, 0.5, 2.0):
        share = (log_sigma < -0.8 + 1.4 * z).double().mean().item()
        expected = (1 + math.erf(z / 2**0.5)) / 2
        assert share == pytest.approx(expected, abs=5 * (expected * (1 - expected)) ** 0.5 / 256)


def test_levels_of_regions_have_the_same_distribution():
    # One cell of each map, so that the draws are independent: about 4,000 x (1/2 + 1/4) are not
    # clean, the standard errors are 1.4 / sqrt(3,000) = 0.026 and 0.018; five of each.
    corners = torch.stack([sigma[0, 0, 0, 0] for sigma in drawn_maps(4000, 16, 16)])
    log_sigma = corners[corners > 0].log()
    assert log_sigma.mean().item() == pytest.approx(-0.8, abs=5 * 0.026)
    assert log_sigma.std().item() == pytest.approx(1.4, abs=5 * 0.018)


@pytest.mark.parametrize("map_share", [0.25, 1.0])
def test_the_share_of_maps(map_share):
    levels = Mixed(map_share=map_share, region_multiple=4)
    generator = Generator().manual_seed(3)
    drawn = [levels.draw(1, 16, 16, generator=generator).sigma.shape[-1] > 1 for _ in range(4000)]
    # The standard error of a share of 4,000 is at most 0.5 / sqrt(4000) = 0.0079, and 0 at 1.
    error = (map_share * (1 - map_share) / 4000) ** 0.5
    assert sum(drawn) / 4000 == pytest.approx(map_share, abs=5 * error)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 16), (24, 8)])
def test_maps_are_constant_on_cells_of_region_multiple(height, width):
    for sigma in drawn_maps(200, height, width, batch=3):
        cells = regions(sigma).repeat_interleave(4, 2).repeat_interleave(4, 3)
        assert torch.equal(sigma, cells)


def edges(sigma: Tensor, axis: int) -> set[int]:
    """Where a map changes along an axis, in pixels."""
    changes = sigma.diff(dim=axis).abs().flatten(0, 1).amax((0, 2 if axis == 2 else 1))
    return set((changes.nonzero().flatten() + 1).tolist())


def test_regions_are_equal_rectangles_of_every_size_but_the_whole():
    # A map with a level for each region changes at every multiple of the region's side; such maps
    # are told by having more than one level that is not 0.
    sides = set()
    for sigma in drawn_maps(2000, 16, 16):
        if (sigma > 0).all() and not (sigma == sigma[0, 0, 0, 0]).all():
            height, width = (min(edges(sigma, axis), default=16) for axis in (2, 3))
            assert edges(sigma, 2) == set(range(height, 16, height))
            assert edges(sigma, 3) == set(range(width, 16, width))
            sides.add((height, width))
    assert sides == {(a, b) for a in (4, 8, 16) for b in (4, 8, 16)} - {(16, 16)}


def test_a_quarter_of_all_cells_is_clean():
    # Half of the maps have clean regions, half of theirs. One cell a map, 4,000 maps: the
    # standard error is sqrt(3/16 / 4000) = 0.0068.
    corners = torch.stack([sigma[0, 0, 0, 0] for sigma in drawn_maps(4000, 16, 16)])
    assert (corners == 0).double().mean().item() == pytest.approx(0.25, abs=5 * 0.0068)


def test_beside_clean_regions_a_sample_has_one_level():
    mixed = 0
    for sigma in drawn_maps(500, 16, 16):
        levels = sigma.unique()
        if levels[0] == 0:
            assert len(levels) <= 2
            mixed += len(levels) == 2
    assert mixed > 100  # of about 250 maps with clean regions


def test_samples_of_a_batch_have_levels_of_their_own():
    for sigma in drawn_maps(50, 16, 16, batch=2):
        noisy = [sample[sample > 0] for sample in sigma]
        assert not set(noisy[0].tolist()) & set(noisy[1].tolist())


def test_the_generator_is_the_only_randomness():
    levels = Mixed(map_share=0.5, region_multiple=4)
    runs = []
    for seed in (7, 7, 8):
        torch.rand(seed)
        generator = Generator().manual_seed(seed)
        drawn = [levels.draw(2, 16, 8, generator=generator).sigma.flatten() for _ in range(50)]
        runs.append(torch.cat(drawn))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0][:2], runs[2][:2])


@pytest.mark.parametrize(
    ("wrong", "must"),
    [
        ({"p_std": 0.0}, "p_std > 0"),
        ({"sigma_min": 0.0}, "0 < sigma_min < sigma_max"),
        ({"sigma_max": 0.001}, "0 < sigma_min < sigma_max"),
        ({"map_share": 0.0}, r"map_share must be in \(0, 1\]"),
        ({"map_share": 1.1}, r"map_share must be in \(0, 1\]"),
        ({"region_multiple": 0}, "region_multiple must be at least 1"),
    ],
)
def test_bad_settings_are_refused(wrong, must):
    with pytest.raises(ValueError, match=must):
        Mixed(**wrong)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (6, 6), (4, 7)])
def test_a_sample_that_cannot_be_cut_is_refused(height, width):
    with pytest.raises(ValueError, match=f"{height} x {width} px cannot be cut"):
        MAPS.draw(1, height, width, generator=Generator())
