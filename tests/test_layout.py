import numpy as np
import pytest
import torch
from torchmetrics import Metric

from benchmarks.metrics.catalogue import FIGURES
from benchmarks.metrics.features import RandomConv
from benchmarks.metrics.layout import (
    Layout,
    SkyAtTop,
    area_sums,
    layout_correlation,
    profile_of,
    sky_at_top,
)
from benchmarks.metrics.palette import PaletteDistance, palette_of
from benchmarks.metrics.reference import Reference
from benchmarks.metrics.resampling import bootstrap_counts
from benchmarks.metrics.suite import MetricSuite, read_off
from datamodules.landscapes import Landscapes
from strategies.canvas import Canvas, WindowEdges

# Sums of integers are exact; a division or two, and a mean of 48 products, are left.
ROUNDING = 1e-12


def noise(count: int, height: int = 8, width: int = 9, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def bands(*colours: tuple[int, int, int], width: int = 5) -> torch.Tensor:
    """An image with these colours from top to bottom, a row each."""
    rows = torch.tensor(colours, dtype=torch.uint8).T
    return rows[None, :, :, None].expand(1, 3, len(colours), width).contiguous()


def figure(metric: Metric, canvases: torch.Tensor, indices: torch.Tensor | None = None):
    metric.update(canvases, torch.arange(len(canvases)) if indices is None else indices)
    return next(iter(metric.compute().values()))


@pytest.mark.parametrize(("steps", "cells"), [(1, 4), (3, 4), (16, 16), (37, 16), (48, 16), (9, 1)])
def test_area_sums_are_those_of_steps_repeated_until_cells_fit(steps, cells):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-900, 900, (2, 3, steps), generator=generator)
    # Each step as often as there are cells: a cell is then as many of them as there are steps.
    expected = values.repeat_interleave(cells, dim=-1).unflatten(-1, (cells, steps)).sum(-1)
    assert torch.equal(area_sums(values, cells), expected)


BLUE, BLACK, WHITE, RED, GREEN = (0, 0, 255), (0, 0, 0), (255,) * 3, (255, 0, 0), (0, 255, 0)


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [
        (BLUE, BLACK, 2.0),  # B moves by 2, the others stay
        (BLACK, BLUE, -2.0),
        (WHITE, BLACK, 0.0),  # grey has no blueness
        (RED, BLACK, -1.0),
        (GREEN, BLACK, -1.0),
        (BLUE, GREEN, 3.0),
    ],
)
def test_blueness_of_the_top_quarter_less_that_of_the_bottom(top, bottom, expected):
    # What lies between the quarters plays no part.
    image = bands(top, BLUE, RED, bottom)
    assert sky_at_top(image).item() == pytest.approx(expected, rel=ROUNDING)
    larger = image.repeat_interleave(8, dim=2)
    assert sky_at_top(larger).item() == pytest.approx(expected, rel=ROUNDING)


def test_of_six_rows_a_quarter_is_one_and_a_half():
    image = bands(BLACK, BLUE, RED, RED, BLUE, WHITE)
    image[:, 2, 1] = 51  # a blueness of 51 / 127.5 = 0.4
    # (0 + 0.4 / 2) / 1.5 at the top, (0 + 2 / 2) / 1.5 at the bottom.
    assert sky_at_top(image).item() == pytest.approx((0.2 - 1.0) / 1.5, rel=ROUNDING)


def test_blueness_is_a_mean_over_columns():
    image = bands(BLUE, BLACK, BLACK, BLACK, width=4)
    image[:, :, 0, 1:] = 0
    assert sky_at_top(image).item() == pytest.approx(2 / 4, rel=ROUNDING)


def test_sky_at_top_is_the_mean_over_canvases_with_a_bootstraps_interval():
    canvases = noise(25)
    values = sky_at_top(canvases)
    means = bootstrap_counts(25, seed=4) @ values / 25
    found = figure(SkyAtTop(seed=4), canvases)
    margin = 1.959964 * means.std().item()
    assert found.value == pytest.approx(values.mean().item())
    assert (found.low, found.high) == (
        pytest.approx(found.value - margin),
        pytest.approx(found.value + margin),
    )
    # Upside down it is negative, and not cut off at zero.
    flipped = figure(SkyAtTop(seed=4), canvases.flip(2))
    assert (flipped.value, flipped.low) == (
        pytest.approx(-found.value),
        pytest.approx(-found.high),
    )
    assert figure(SkyAtTop(seed=4, limit=5), canvases) == figure(SkyAtTop(seed=4), canvases[:5])


def test_landscapes_have_their_sky_above():
    found = figure(SkyAtTop(), Landscapes().crops("test", 64, 32, 64))
    assert found.low > 0.2


def profile_by_numpy(image: torch.Tensor) -> np.ndarray:
    rows = (image.double().numpy() / 127.5 - 1).mean(2)
    rows = rows.repeat(16, axis=1).reshape(3, 16, -1).mean(2)
    return rows - rows.mean(1, keepdims=True)


@pytest.mark.parametrize("size", [(16, 4), (48, 1), (37, 6), (5, 8)])
def test_profiles_are_mean_colours_of_bands_about_their_own_mean(size):
    images = noise(2, *size)
    for found, image in zip(profile_of(images), images, strict=True):
        assert found.numpy() == pytest.approx(profile_by_numpy(image), abs=ROUNDING)


def test_the_correlation_is_that_of_numpy_over_bands_and_channels():
    seeds, canvases = noise(3, 20, 7), noise(3, 32, 11, seed=1)
    found = layout_correlation(profile_of(canvases), profile_of(seeds))
    for value, canvas, seed in zip(found.tolist(), canvases, seeds, strict=True):
        flat = [profile_by_numpy(image).ravel() for image in (canvas, seed)]
        assert value == pytest.approx(np.corrcoef(*flat)[0, 1], rel=1e-9)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return layout_correlation(profile_of(a), profile_of(b)).item()


def test_what_the_correlation_keeps_and_what_it_ignores():
    seed, other = (noise(1, 32, 10, seed=seed) // 2 for seed in range(2))
    before = correlation(other, seed)
    assert correlation(seed, seed) == pytest.approx(1, rel=ROUNDING)
    # Upside down, a ramp is its own opposite.
    ramp = bands(*((8 * row, 4 * row, 3 * row) for row in range(32)))
    assert correlation(ramp, ramp.flip(2)) == pytest.approx(-1, rel=ROUNDING)
    # Another palette, less contrast, places within a row, and another size say nothing.
    tint = torch.tensor([90, 0, 41], dtype=torch.uint8)[:, None, None]
    assert correlation(other + tint, seed) == pytest.approx(before, rel=1e-9)
    assert correlation(2 * other, seed) == pytest.approx(before, rel=1e-9)
    assert correlation(other.flip(3), seed) == pytest.approx(before, rel=1e-9)
    larger = other.repeat_interleave(3, dim=2).repeat_interleave(5, dim=3)
    assert correlation(larger, seed) == pytest.approx(before, rel=1e-9)
    # Where rows are exchanged, it changes.
    assert abs(correlation(other.roll(7, 2), seed) - before) > 0.01


@pytest.mark.parametrize("height", [3, 32, 37])
def test_an_image_without_vertical_order_has_no_correlation(height):
    # Columns differ, rows do not; in floating point their means might.
    flat = noise(1, 1, 7).expand(1, 3, height, 7).contiguous()
    assert profile_of(flat).abs().max() == 0
    assert correlation(flat, noise(1, 32, 10)) == 0
    assert correlation(flat, flat) == 0


def test_the_figure_is_the_mean_over_canvases_with_a_bootstraps_interval():
    profiles, canvases = profile_of(noise(30, 12, 4)), noise(25, 8, 9, seed=1)
    indices = torch.arange(25).flip(0) + 5
    values = layout_correlation(profile_of(canvases), profiles[indices])
    means = bootstrap_counts(25, seed=4) @ values.flip(0) / 25
    found = figure(Layout(profiles=profiles, seed=4), canvases, indices)
    assert found.value == pytest.approx(values.mean().item())
    assert found.low == pytest.approx(values.mean().item() - 1.959964 * means.std().item())
    # A negative one is not cut off at zero.
    opposite = figure(Layout(profiles=-profiles, seed=4), canvases, indices)
    assert (opposite.value, opposite.low) == (
        pytest.approx(-found.value),
        pytest.approx(-found.high),
    )


@pytest.mark.parametrize("size", [1, 4])
def test_figures_are_equal_for_any_batch_size(size):
    canvases, profiles = noise(11, 16, 24), profile_of(noise(11, seed=1))
    metrics = [SkyAtTop(), Layout(profiles=profiles)]
    for metric in metrics:
        for part in torch.arange(11).flip(0).split(size):
            metric.update(canvases[part], part)
    expected = [figure(SkyAtTop(), canvases), figure(Layout(profiles=profiles), canvases)]
    assert [next(iter(metric.compute().values())) for metric in metrics] == expected


def test_only_the_first_canvases_are_looked_at():
    canvases, profiles = noise(6), profile_of(noise(3, seed=1))
    few = figure(Layout(profiles=profiles), canvases[:3])
    assert figure(Layout(profiles=profiles, limit=3), canvases) == few


@pytest.mark.parametrize("index", [3, -1])
def test_a_sample_without_a_seed_image_is_refused(index):
    metric = Layout(profiles=profile_of(noise(3)))
    with pytest.raises(ValueError, match=rf"with 3 of them .* from 0 to 2, got {index}\."):
        metric.update(noise(2), torch.tensor([0, index]))


def test_profiles_that_are_not_its_own_are_refused():
    with pytest.raises(ValueError, match=r"3 x 16 each, got 3 x 15\."):
        Layout(profiles=profile_of(noise(3))[..., 1:])


def suite(seeds: torch.Tensor | None, num_samples: int = 4) -> MetricSuite:
    network = RandomConv()
    reference = Reference(network(noise(9, 16, 16)), "0" * 64)
    return MetricSuite(
        features=network,
        reference=reference,
        canvas=Canvas(height=16, width=24, channels=3),
        num_samples=num_samples,
        strip=8,
        seed=3,
        long_crops=noise(6, 16, 24, seed=1),
        why_no_long_crops=None,
        seeds=seeds,
    )


SEEDED = {"palette_distance", "sky_at_top", "layout_correlation"}


def test_the_ruler_compares_samples_with_their_seed_images():
    canvases, seeds = noise(4, 16, 24, seed=2), noise(4, 10, 12, seed=5)
    measured = {}
    for name, given in (("without", None), ("with", seeds)):
        metrics = suite(given).metrics(WindowEdges((), (8,)))
        metrics.update(canvases, torch.arange(4))
        measured[name] = read_off(metrics)
    single = measured["with"].single
    assert set(single) - set(measured["without"].single) == SEEDED <= set(FIGURES)
    assert single | measured["without"].single == single
    assert measured["with"].curves == measured["without"].curves
    palette = PaletteDistance(palettes=palette_of(seeds), seed=3)
    assert single["palette_distance"] == figure(palette, canvases)
    layout = Layout(profiles=profile_of(seeds), seed=3)
    assert single["layout_correlation"] == figure(layout, canvases)
    assert single["sky_at_top"] == figure(SkyAtTop(seed=3), canvases)


def test_real_long_crops_have_a_sky_but_no_seed_images():
    # There are more of them than seed images, too.
    seeded, unconditional = suite(noise(4, 10, 12)), suite(None)
    found = seeded.real(WindowEdges((), ()), starts_at=0)
    others = unconditional.real(WindowEdges((), ()), starts_at=0)
    assert set(found.single) - set(others.single) == {"sky_at_top"}
    expected = sky_at_top(seeded.long_crops).mean().item()
    assert found.single["sky_at_top"].value == pytest.approx(expected)


def test_the_ruler_refuses_seed_images_that_are_not_one_a_sample():
    with pytest.raises(ValueError, match=r"each of 5 samples, got 4\."):
        suite(noise(4), num_samples=5)


def test_the_ruler_keeps_the_seed_images_that_it_is_built_with():
    network, seeds = RandomConv(), noise(4, 10, 12)
    given = (Landscapes(), network, Reference(network(noise(9, 16, 16)), "0" * 64))
    canvas, settings = Canvas(height=16, width=24, channels=3), {"strip": 8, "seed": 3}
    built = MetricSuite.of(*given, canvas, num_samples=4, seeds=seeds, **settings)
    assert torch.equal(built.seeds, seeds)
    assert MetricSuite.of(*given, canvas, num_samples=4, **settings).seeds is None
