import itertools
import math

import numpy as np
import pytest
import torch

from benchmarks.metrics.drift import colour_drift
from benchmarks.metrics.palette import DIRECTIONS, PaletteDistance, palette_distance, palette_of
from benchmarks.metrics.resampling import bootstrap_counts
from datamodules.landscapes import Landscapes

# Sums of integers are exact; divisions, squares and a mean of 3,904 terms are left.
ROUNDING = 1e-12


def noise(
    count: int, height: int = 8, width: int = 8, most: int = 256, seed: int = 0
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = (count, 3, height, width)
    return torch.randint(0, most, size, dtype=torch.uint8, generator=generator)


def between(a: torch.Tensor, b: torch.Tensor) -> list[float]:
    return palette_distance(palette_of(a), palette_of(b)).tolist()


def unit_directions() -> np.ndarray:
    vectors = np.array(DIRECTIONS, dtype=float)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sorted_along(image: torch.Tensor, directions: np.ndarray) -> np.ndarray:
    """All pixels in their order: images of one size are matched pixel by pixel."""
    return np.sort(directions @ (image.flatten(1).double().numpy() / 127.5 - 1), axis=1)


def figure(metric: PaletteDistance, canvases: torch.Tensor, indices: torch.Tensor | None = None):
    metric.update(canvases, torch.arange(len(canvases)) if indices is None else indices)
    return metric.compute()["palette_distance"]


def test_directions_are_half_a_sphere_that_treats_all_channels_alike():
    found = set(DIRECTIONS)
    assert len(found) == len(DIRECTIONS) == 61
    both = found | {(-r, -g, -b) for r, g, b in found}
    assert len(both) == 122
    for order in itertools.permutations(range(3)):
        assert {tuple(vector[place] for place in order) for vector in both} == both
    assert {(-r, g, b) for r, g, b in both} == both
    units = unit_directions()
    # Evenly: none are parallel, and the nearest are (2, 1, 0) and (3, 1, 0).
    nearest = np.sort(np.abs(units @ units.T), axis=None)[-62]
    assert nearest == pytest.approx(7 / math.sqrt(5 * 10))
    # The fourth moment of a component is 1/5 on a sphere, and 1/9 to 1/3 for directions that treat
    # channels alike; that of 61 random ones is off by 0.007 or so.
    assert (units**4).mean() == pytest.approx(1 / 5, abs=0.003)


@pytest.mark.parametrize("shift", [(40, 0, 0), (0, -35, 0), (10, -20, 30), (25, 25, 25)])
def test_a_shift_of_all_colours_is_its_length_in_the_unit_of_drift(shift):
    image = noise(1, 7, 9, most=150) + 50
    v = torch.tensor(shift)
    moved = (image.int() + v[:, None, None]).to(torch.uint8)
    expected = math.sqrt(sum(c**2 for c in shift) / 3) / 127.5
    assert between(image, moved) == pytest.approx([expected], rel=ROUNDING)
    # Side by side they drift as far over their width.
    drift = colour_drift(torch.cat([image, moved], dim=-1), size=9, distance=9)
    assert between(image, moved) == pytest.approx([drift], rel=ROUNDING)


def test_black_and_white_are_two_apart():
    black = torch.zeros(1, 3, 2, 3, dtype=torch.uint8)
    assert between(black, black + 255) == pytest.approx([2], rel=ROUNDING)


def test_one_channel_stretched_about_its_mean():
    # 64 levels, one a cell. Only red varies, by 40 about 120, then by 120: at a direction's red
    # component r the quantiles are r times as far apart, and the mean of r^2 is 1/3.
    red = torch.arange(64).view(1, 8, 8) - 31.5
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[:, 0] = (torch.cat([red, 3 * red]) + 127.5).to(torch.uint8)
    deviation = math.sqrt((64**2 - 1) / 12) / 127.5
    expected = (3 - 1) * deviation / math.sqrt(3)
    assert between(images[:1], images[1:]) == pytest.approx([expected], rel=ROUNDING)


@pytest.mark.parametrize(("few", "many"), [(0, 64), (16, 17), (5, 40)])
def test_two_colours_in_other_shares(few, many):
    # The share of pixels that changes colour must go all the way: sqrt(share) |a - b| / sqrt(3).
    a, b = (torch.tensor(colour, dtype=torch.uint8) for colour in ((200, 10, 90), (30, 60, 255)))
    images = a[:, None].repeat(2, 1, 64)
    images[0, :, :few] = b[:, None]
    images[1, :, :many] = b[:, None]
    apart = (a.double() - b.double()).norm().item() / 127.5
    expected = math.sqrt((many - few) / 64) * apart / math.sqrt(3)
    images = images.view(2, 3, 4, 16)
    assert between(images[:1], images[1:]) == pytest.approx([expected], rel=ROUNDING)


def test_places_play_no_part():
    image = noise(1, 9, 14)
    order = torch.randperm(9 * 14, generator=torch.Generator().manual_seed(1))
    shuffled = image.flatten(2)[..., order].view(1, 3, 14, 9)
    assert between(image, shuffled) == [0]


@pytest.mark.parametrize("times", [(1, 2), (3, 1), (5, 7)])
def test_the_number_of_pixels_plays_no_part(times):
    image = noise(1, 5, 7)
    larger = image.repeat_interleave(times[0], 2).repeat_interleave(times[1], 3)
    assert between(image, larger) == pytest.approx([0], abs=ROUNDING)


@pytest.mark.parametrize("sizes", [((1, 1), (8, 8)), ((5, 7), (3, 9)), ((16, 40), (2, 31))])
def test_quantiles_are_means_over_equal_shares_of_the_pixels(sizes):
    images = [noise(1, *size, seed=seed) for seed, size in enumerate(sizes)]
    cells = []
    for image in images:
        x = image[0].flatten(1).double().numpy() / 127.5 - 1
        along = np.sort(unit_directions() @ x, axis=1)
        # Each pixel 64 times: a 64th of them is as many copies as the image has pixels.
        cells.append(along.repeat(64, axis=1).reshape(61, 64, -1).mean(2))
    expected = math.sqrt(((cells[0] - cells[1]) ** 2).mean())
    assert between(*images) == pytest.approx([expected], rel=ROUNDING)
    assert palette_of(images[0])[0].numpy() == pytest.approx(cells[0], abs=ROUNDING)


def test_channels_exchanged_or_reversed_in_both_images_change_nothing():
    a, b = noise(1, 6, 6), noise(1, 6, 6, most=120, seed=1)
    for order in itertools.permutations(range(3)):
        exchanged = [image[:, list(order)] for image in (a, b)]
        assert between(*exchanged) == pytest.approx(between(a, b), rel=ROUNDING)
    reversed_red = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
    assert between(a ^ reversed_red, b ^ reversed_red) == pytest.approx(between(a, b), rel=ROUNDING)


def test_distances_of_landscapes_are_those_of_all_pixels_along_random_directions():
    crops = Landscapes().crops("test", 8, 32, 32)
    drawn = np.random.default_rng(0).normal(size=(4000, 3))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    pairs = torch.tensor(list(itertools.combinations(range(8), 2)))
    found = between(crops[pairs[:, 0]], crops[pairs[:, 1]])
    same, random = (
        [
            math.sqrt(((along[one] - along[other]) ** 2).mean())
            for along in [[sorted_along(crop, directions) for crop in crops]]
            for one, other in pairs.tolist()
        ]
        for directions in (unit_directions(), drawn)
    )
    # 16 pixels a cell: at most 1 % is lost, and nothing is ever gained.
    assert found == pytest.approx(same, rel=0.01)
    assert all(mine <= exact for mine, exact in zip(found, same, strict=True))
    # A squared component has the deviation 0.3 about 1/3: of 4,000 it leaves 1.4 % of a squared
    # distance at most, 0.7 % of a distance. Five of these, and 1 % for the cells.
    assert found == pytest.approx(random, rel=0.045)


def test_the_palette_of_a_landscape_is_its_own():
    panoramas = Landscapes().crops("test", 24, 32, 96)
    seeds, far = palette_of(panoramas[..., :32]), panoramas[..., -32:]
    own = figure(PaletteDistance(palettes=seeds), far)
    others = figure(PaletteDistance(palettes=seeds.roll(1, 0)), far)
    assert 2 * own.high < others.low


def test_the_figure_is_the_root_mean_square_over_canvases():
    palettes = palette_of(noise(9, 5, 6))
    canvases, indices = noise(4, 3, 11, most=90, seed=1), torch.tensor([7, 0, 8, 3])
    squares = palette_distance(palette_of(canvases), palettes[indices]).square()
    found = figure(PaletteDistance(palettes=palettes), canvases, indices)
    assert found.value == pytest.approx(squares.mean().sqrt().item(), rel=ROUNDING)


def test_the_interval_is_a_bootstraps():
    canvases, palettes = noise(25), palette_of(noise(25, most=90, seed=1))
    squares = palette_distance(palette_of(canvases), palettes).square()
    resampled = (bootstrap_counts(25, seed=4) @ squares / 25).sqrt()
    found = figure(PaletteDistance(palettes=palettes, seed=4), canvases)
    margin = 1.959964 * resampled.std().item()
    assert found.low == pytest.approx(found.value - margin)
    assert found.high == pytest.approx(found.value + margin)


def test_an_interval_ends_at_zero():
    # One canvas of three has other colours: by the bootstrap alone the figure might be negative.
    canvases = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    palettes = palette_of(canvases)
    canvases[1] = 255
    found = figure(PaletteDistance(palettes=palettes), canvases)
    assert found.value == pytest.approx(2 / math.sqrt(3), rel=ROUNDING)
    assert found.low == 0


@pytest.mark.parametrize("size", [1, 4])
def test_figures_are_equal_for_any_batch_size(size):
    canvases, palettes = noise(11, 16, 24), palette_of(noise(11, seed=1))
    metric = PaletteDistance(palettes=palettes)
    for part in torch.arange(11).flip(0).split(size):
        metric.update(canvases[part], part)
    expected = figure(PaletteDistance(palettes=palettes), canvases)
    assert metric.compute()["palette_distance"] == expected


def test_only_the_first_canvases_are_looked_at():
    canvases, palettes = noise(6), palette_of(noise(3, seed=1))
    few = figure(PaletteDistance(palettes=palettes), canvases[:3])
    assert figure(PaletteDistance(palettes=palettes, limit=3), canvases) == few


def test_no_images_have_no_palettes():
    assert palette_of(noise(0)).shape == (0, 61, 64)


@pytest.mark.parametrize("index", [3, -1])
def test_a_sample_without_a_seed_image_is_refused(index):
    metric = PaletteDistance(palettes=palette_of(noise(3)))
    with pytest.raises(ValueError, match=rf"with 3 of them .* from 0 to 2, got {index}\."):
        metric.update(noise(2), torch.tensor([0, index]))


def test_palettes_that_are_not_its_own_are_refused():
    with pytest.raises(ValueError, match=r"61 x 64 each, got 60 x 64\."):
        PaletteDistance(palettes=palette_of(noise(3))[:, 1:])
