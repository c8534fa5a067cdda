import math

import pytest
import torch

from benchmarks import seams
from benchmarks.seams import colour_drift, seam_ratio


def canvas_of(steps: list[int]) -> torch.Tensor:
    """A canvas whose columns differ from their left neighbours by these levels; rows are equal."""
    columns = torch.tensor([0, *steps]).cumsum(0).to(torch.uint8)
    return columns.expand(2, 3, 5, -1).contiguous()


def test_seam_ratio_of_known_steps():
    canvases = canvas_of([2, 2, 10, 2, -2, -10, 2])
    assert seam_ratio(canvases, columns=[3, 6], rows=[]) == 5
    assert seam_ratio(canvases, columns=[3], rows=[]) == 10 / (20 / 6)


def test_seam_ratio_of_rows_is_that_of_columns_transposed():
    canvases = canvas_of([2, 2, 10, 2, -2, -10, 2]).transpose(-1, -2)
    assert seam_ratio(canvases, columns=[], rows=[3, 6]) == 5


def test_each_axis_counts_by_its_borders():
    across = canvas_of([2, 2, 10, 2])[:, :, :1].expand(-1, -1, 4, -1)
    down = torch.tensor([0, 4, 16, 20], dtype=torch.uint8).view(4, 1)
    # Columns: step 10 at the border, 2 elsewhere. Rows: 12 at both borders (the same one given
    # twice counts once), 4 elsewhere.
    ratio = seam_ratio(across + down, columns=[3], rows=[2, 2])
    assert ratio == (10 + 12) / (2 + 4)


def test_seam_ratio_is_a_mean_over_canvases_and_channels(monkeypatch):
    canvases = torch.cat([canvas_of([2, 10, 2]), canvas_of([2, 2, 2]), canvas_of([-0, 6, 2])])
    canvases[0, 1] = 7  # a flat channel
    # Over the 18 planes of three pairs: 5, 6 and 6 of them move.
    expected = (5 * 10 + 6 * 2 + 6 * 6) / ((5 * 4 + 6 * 4 + 6 * 2) / 2)
    assert seam_ratio(canvases, columns=[2], rows=[]) == pytest.approx(expected)
    monkeypatch.setattr(seams, "CHUNK", 4)
    assert seam_ratio(canvases, columns=[2], rows=[]) == pytest.approx(expected)


def test_falling_steps_count_like_rising_ones():
    canvases = canvas_of([9, 3, 50, 3])
    assert seam_ratio(255 - canvases, columns=[3], rows=[]) == 50 / 5


def test_noise_without_windows_has_ratio_one():
    generator = torch.Generator().manual_seed(0)
    canvases = torch.randint(0, 256, (50, 3, 32, 64), dtype=torch.uint8, generator=generator)
    # 9,600 steps at borders, relative deviation 0.7 each: the standard error is 0.007.
    assert seam_ratio(canvases, columns=[16, 32], rows=[]) == pytest.approx(1, abs=0.035)


def test_borders_outside_the_canvas_are_left_out():
    canvases = canvas_of([2, 2, 10, 2])
    assert seam_ratio(canvases, columns=[0, 3, 5, 99], rows=[-1, 5]) == 5


@pytest.mark.parametrize("columns", [[], [0], [5], [-3, 17]])
def test_no_border_inside_is_refused(columns):
    with pytest.raises(ValueError, match="must lie inside the canvas of 5 x 5 px"):
        seam_ratio(canvas_of([1, 1, 1, 1]), columns=columns, rows=[])


def test_nothing_but_borders_is_refused():
    with pytest.raises(ValueError, match="a step that is no border"):
        seam_ratio(canvas_of([1, 1]), columns=[1, 2], rows=[])


def test_canvases_without_steps_give_no_nan():
    assert seam_ratio(canvas_of([0, 0, 0]), columns=[2], rows=[]) == 1
    assert seam_ratio(canvas_of([0, 5, 0]), columns=[2], rows=[]) == math.inf


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
    monkeypatch.setattr(seams, "CHUNK", 3)
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
    nothing = torch.zeros(0, 3, 4, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="at least 1 canvas"):
        seam_ratio(nothing, columns=[4], rows=[])
    with pytest.raises(ValueError, match="at least 1 canvas"):
        colour_drift(nothing, size=2, distance=2)
