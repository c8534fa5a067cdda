import math

import pytest
import torch

from benchmarks.metrics import state
from benchmarks.metrics.drift import ColourDrift, colour_drift
from benchmarks.metrics.resampling import bootstrap_counts


def canvas_of(steps: list[int]) -> torch.Tensor:
    """A canvas whose columns differ from their left neighbours by these levels; rows are equal."""
    columns = torch.tensor([0, *steps]).cumsum(0).to(torch.uint8)
    return columns.expand(2, 3, 5, -1).contiguous()


def noise(count: int, height: int = 6, width: int = 20, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def figures(canvases: torch.Tensor, **settings) -> dict:
    height, width = canvases.shape[-2:]
    metric = ColourDrift(height=height, width=width, **{"distance": None} | settings)
    metric.update(canvases, torch.arange(len(canvases)))
    return metric.compute()


def test_large_strips_do_not_overflow():
    # Black then white, all strips that are compared wholly one or the other: 2 apart. Their sum of
    # squares is 3 x 1,537 x (255 x 512 x 512)^2 = 2.1e19, beyond 64-bit integers.
    canvas = torch.zeros(1, 3, 512, 4096, dtype=torch.uint8)
    canvas[..., 2048:] = 255
    assert colour_drift(canvas, size=512, distance=2048) == pytest.approx(2.0, abs=1e-12)


def test_colour_drift_of_a_ramp_is_its_slope():
    canvases = canvas_of([3] * 40)
    for distance in (0, 1, 16, 33):
        drift = colour_drift(canvases, size=8, distance=distance)
        assert drift == pytest.approx(3 * distance / 127.5)


def test_colour_drift_of_one_jump():
    canvases = torch.zeros(1, 3, 4, 10, dtype=torch.uint8)
    canvases[:, 0, :, 5:] = 255
    # Strips of 2, 4 apart: red moves by 1/2, 1, 1, 1, 1/2 of [-1, 1]'s 2 over 5 positions.
    expected = (4 * (0.25 + 1 + 1 + 1 + 0.25) / 5 / 3) ** 0.5
    assert colour_drift(canvases, size=2, distance=4) == pytest.approx(expected)


def test_colour_drift_ignores_detail_and_chunks(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    canvases = torch.randint(0, 256, (7, 3, 8, 40), dtype=torch.uint8, generator=generator)
    drift = colour_drift(canvases, size=4, distance=9)
    shuffled = canvases[:, :, torch.randperm(8, generator=generator)]
    monkeypatch.setattr(state.chunks, "__defaults__", (3 * canvases[0].numel(),))
    assert colour_drift(shuffled, size=4, distance=9) == drift


def test_colour_drift_equals_strips_cut_out_one_by_one():
    generator = torch.Generator().manual_seed(1)
    canvases = torch.randint(0, 256, (3, 3, 6, 20), dtype=torch.uint8, generator=generator)
    x = canvases.double() / 127.5 - 1
    moved = [x[..., c + 7 : c + 12].mean((2, 3)) - x[..., c : c + 5].mean((2, 3)) for c in range(9)]
    expected = torch.stack(moved).square().mean().sqrt().item()
    assert colour_drift(canvases, size=5, distance=7) == pytest.approx(expected)


@pytest.mark.parametrize(("size", "distance"), [(0, 1), (1, -1), (4, 2), (6, 0)])
def test_strips_that_do_not_fit_are_refused(size, distance):
    with pytest.raises(ValueError, match=rf"got size={size}, distance={distance}, width=5"):
        colour_drift(canvas_of([1, 1, 1, 1]), size=size, distance=distance)


def test_no_canvases_are_refused():
    with pytest.raises(ValueError, match="at least 1 canvas"):
        colour_drift(torch.zeros(0, 3, 4, 8, dtype=torch.uint8), size=2, distance=2)


def test_drift_of_a_ramp_grows_with_distance_in_both_directions():
    canvases = canvas_of([2] * 63)
    found = figures(canvases, strip=8, start=24)
    assert set(found) == {"drift", "contrast"}
    assert found["drift"].distances == list(range(0, 33, 4))
    expected = [2 * distance / 127.5 for distance in found["drift"].distances]
    assert found["drift"].values == pytest.approx(expected)
    # Within eight columns a ramp of 2 has the deviation 2 sqrt((64 - 1) / 12).
    deviation = 2 * math.sqrt((64 - 1) / 12) / 127.5
    assert found["contrast"].values == pytest.approx([deviation] * 9)
    # Equal canvases leave no doubt.
    assert found["drift"].low == found["drift"].values == found["drift"].high


def test_both_directions_are_pooled_as_squares():
    canvases = torch.zeros(2, 3, 4, 12, dtype=torch.uint8)
    canvases[..., 8:] = 51
    canvases[..., :4] = 102
    drift = figures(canvases, strip=4, start=4)["drift"]
    # 4 px away: 51 levels to the right and 102 to the left; 2 px away: half of that.
    root = math.sqrt((51**2 + 102**2) / 2) / 127.5
    assert (drift.distances, drift.values) == ([0, 2, 4], pytest.approx([0, root / 2, root]))


def test_curves_equal_strips_cut_out_one_by_one():
    canvases = noise(7, width=29)
    found = figures(canvases, strip=5, start=10)
    x = canvases.double() / 127.5 - 1
    assert found["drift"].distances == [0, 2, 4, 6, 8, 10, 12, 14]
    for place, distance in enumerate(found["drift"].distances):
        lefts = {left for left in (10 - distance, 10 + distance) if 0 <= left <= 24}
        strips = torch.stack([x[..., left : left + 5] for left in lefts])
        moved = strips.mean((-1, -2)) - x[..., 10:15].mean((-1, -2))
        drift = moved.square().mean().sqrt().item()
        contrast = strips.var((-1, -2), correction=0).mean().sqrt().item()
        assert found["drift"].values[place] == pytest.approx(drift, abs=1e-12)
        assert found["contrast"].values[place] == pytest.approx(contrast)


def test_every_figure_has_a_bootstraps_interval():
    canvases = noise(30)
    settings = {"strip": 4, "start": 8, "distance": 6, "seed": 2}
    found = figures(canvases, **settings)
    assert found["colour_drift"].value == pytest.approx(colour_drift(canvases, size=4, distance=6))
    resampled = []
    for row in bootstrap_counts(30, seed=2).long():
        again = figures(canvases.repeat_interleave(row, dim=0), **settings)
        points = [again["drift"].values[2], again["contrast"].values[3]]
        resampled.append([again["colour_drift"].value, *points])
    margins = 1.959964 * torch.tensor(resampled, dtype=torch.float64).std(0)
    drift, contrast = found["drift"], found["contrast"]
    high = [found["colour_drift"].high, drift.high[2], contrast.high[3]]
    value = [found["colour_drift"].value, drift.values[2], contrast.values[3]]
    low = [found["colour_drift"].low, drift.low[2], contrast.low[3]]
    expected = torch.tensor(value, dtype=torch.float64)
    assert high == pytest.approx((expected + margins).tolist())
    assert low == pytest.approx((expected - margins).tolist())


@pytest.mark.parametrize(("start", "inside"), [(-7, 0), (3, 3), (19, 16)])
def test_the_first_strip_is_moved_inside(start, inside):
    canvases = noise(3)
    found = figures(canvases, strip=4, start=start)
    assert found == figures(canvases, strip=4, start=inside)
    assert found["drift"].distances[-1] == 2 * (max(inside, 16 - inside) // 2)


def test_long_canvases_have_at_most_32_distances():
    found = figures(noise(2, height=1, width=1000), strip=8)
    distances = found["drift"].distances
    assert 16 < len(distances) <= 32
    assert distances[:2] == [0, 32]
    assert distances[-1] > 992 - 32


def test_a_strip_of_one_column():
    assert figures(noise(2, width=3), strip=1)["drift"].distances == [0, 1, 2]


def test_the_metric_refuses_strips_that_do_not_fit():
    with pytest.raises(ValueError, match="got size=8, distance=0, width=5"):
        ColourDrift(height=4, width=5, strip=8, distance=None)
    metric = ColourDrift(height=6, width=20, strip=8, distance=None)
    with pytest.raises(ValueError, match="must be 6 x 20 px, got 6 x 21"):
        metric.update(noise(2, width=21), torch.arange(2))
