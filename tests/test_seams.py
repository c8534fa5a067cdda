import math

import pytest
import torch

from benchmarks.metrics.estimates import Estimate
from benchmarks.metrics.resampling import bootstrap_counts
from benchmarks.metrics.seams import SeamRatio, WrapError
from strategies.canvas import WindowEdges


def canvas_of(steps: list[int]) -> torch.Tensor:
    """A canvas whose columns differ from their left neighbours by these levels; rows are equal."""
    columns = torch.tensor([0, *steps]).cumsum(0).to(torch.uint8)
    return columns.expand(2, 3, 5, -1).contiguous()


def measured(metric, canvases: torch.Tensor) -> Estimate:
    metric.update(canvases, torch.arange(len(canvases)))
    (figure,) = metric.compute().values()
    return figure


def seam_ratio(canvases: torch.Tensor, *, columns: list[int], rows: list[int]) -> float:
    height, width = canvases.shape[-2:]
    edges = WindowEdges(rows=tuple(rows), columns=tuple(columns))
    return measured(SeamRatio(edges=edges, height=height, width=width), canvases).value


def by_definition(canvases: torch.Tensor, *, columns: list[int], rows: list[int]) -> float:
    """The docstring's formula, place by place."""
    at_edges = expected = 0.0
    for values, edges in ((canvases, columns), (canvases.mT, rows)):
        steps = values.double().diff(dim=-1).abs().mean((0, 1, 2)).tolist()
        others = [step for place, step in enumerate(steps, start=1) if place not in edges]
        at_edges += sum(steps[edge - 1] for edge in edges)
        expected += len(edges) * sum(others) / len(others)
    return at_edges / expected


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
    # Columns: step 10 at the border, 2 elsewhere. Rows: 12 at both edges (the same one given
    # twice counts once), 4 elsewhere.
    ratio = seam_ratio(across + down, columns=[3], rows=[2, 2])
    assert ratio == (10 + 12) / (2 + 4)


def test_seam_ratio_is_a_mean_over_canvases_and_channels(monkeypatch):
    canvases = torch.cat([canvas_of([2, 10, 2]), canvas_of([2, 2, 2]), canvas_of([-0, 6, 2])])
    canvases[0, 1] = 7  # a flat channel
    # Over the 18 planes of three pairs: 5, 6 and 6 of them move.
    expected = (5 * 10 + 6 * 2 + 6 * 6) / ((5 * 4 + 6 * 4 + 6 * 2) / 2)
    assert seam_ratio(canvases, columns=[2], rows=[]) == pytest.approx(expected)
    monkeypatch.setattr(SeamRatio, "in_flight", 4 * canvases[0].numel())
    assert seam_ratio(canvases, columns=[2], rows=[]) == pytest.approx(expected)


def test_falling_steps_count_like_rising_ones():
    canvases = canvas_of([9, 3, 50, 3])
    assert seam_ratio(255 - canvases, columns=[3], rows=[]) == 50 / 5


def test_noise_without_windows_has_ratio_one():
    generator = torch.Generator().manual_seed(0)
    canvases = torch.randint(0, 256, (50, 3, 32, 64), dtype=torch.uint8, generator=generator)
    # 9,600 steps at edges, relative deviation 0.7 each: the standard error is 0.007.
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


def test_no_canvases_are_refused():
    with pytest.raises(ValueError, match="at least 2 canvases"):
        seam_ratio(torch.zeros(0, 3, 4, 8, dtype=torch.uint8), columns=[4], rows=[])


def noise(count: int, height: int = 6, width: int = 20, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def test_the_metric_is_the_ratio_with_a_bootstraps_interval():
    canvases = noise(40)
    canvases[:, :, :, 12:] //= torch.arange(1, 41).view(40, 1, 1, 1).to(torch.uint8)
    edges = WindowEdges(rows=(3,), columns=(12, 7))
    metric = SeamRatio(edges=edges, height=6, width=20, seed=3)
    figure = measured(metric, canvases)
    assert figure.value == pytest.approx(by_definition(canvases, columns=[12, 7], rows=[3]))
    resampled = [
        by_definition(canvases.repeat_interleave(row, dim=0), columns=[7, 12], rows=[3])
        for row in bootstrap_counts(40, seed=3).long()
    ]
    margin = 1.959964 * torch.tensor(resampled, dtype=torch.float64).std().item()
    assert (figure.low, figure.high) == pytest.approx(
        (figure.value - margin, figure.value + margin)
    )


def test_the_metric_of_steps_at_borders_alone_is_infinite():
    metric = SeamRatio(edges=WindowEdges((), (2,)), height=5, width=4)
    figure = measured(metric, canvas_of([0, 5, 0]))
    assert (figure.value, figure.low, figure.high) == (math.inf,) * 3
    metric = SeamRatio(edges=WindowEdges((), (2,)), height=5, width=4)
    assert measured(metric, canvas_of([0, 0, 0])) == Estimate(1.0, 1.0, 1.0)


def test_the_metric_refuses_borders_outside_and_other_sizes():
    with pytest.raises(ValueError, match="must lie inside the canvas of 5 x 5 px"):
        SeamRatio(edges=WindowEdges((0,), (5,)), height=5, width=5)
    metric = SeamRatio(edges=WindowEdges((), (5,)), height=6, width=20)
    with pytest.raises(ValueError, match="must be 6 x 20 px, got 20 x 6"):
        metric.update(noise(2, 20, 6), torch.arange(2))


def wrap_error(canvases: torch.Tensor, **settings) -> float:
    height, width = canvases.shape[-2:]
    defaults = {"wrap_height": False, "wrap_width": True, "edges": WindowEdges((), ())}
    metric = WrapError(height=height, width=width, **defaults | settings)
    return measured(metric, canvases).value


def test_wrap_error_is_the_closing_step_over_the_mean_step():
    # Steps 2, 6, 4 and back by 12.
    canvases = canvas_of([2, 6, 4])
    assert wrap_error(canvases) == 12 / 4
    assert wrap_error(canvases, edges=WindowEdges((), (0, 2, 4))) == 12 / 3
    down = canvases.transpose(-1, -2)
    settings = {"wrap_height": True, "wrap_width": False, "edges": WindowEdges((2,), (1, 2))}
    assert wrap_error(down, **settings) == 12 / 3


def test_each_axis_that_wraps_counts_once():
    across = canvas_of([2, 6, 4])[:, :, :1].expand(-1, -1, 3, -1)
    down = torch.tensor([0, 1, 10], dtype=torch.uint8).view(3, 1)
    # Closing steps 12 across and 10 down, mean steps 4 and 5.
    assert wrap_error(across + down, wrap_height=True) == pytest.approx((12 + 10) / (4 + 5))


def test_wrap_error_of_a_circle_is_one_wherever_it_is_cut():
    angle = 2 * math.pi * torch.arange(64) / 64
    circle = (128 + 100 * torch.stack([angle.sin(), angle.cos(), (2 * angle).sin()])).round()
    canvases = circle.to(torch.uint8).view(1, 3, 1, 64).expand(64, -1, 4, -1)
    turned = torch.stack([canvas.roll(turn, -1) for turn, canvas in enumerate(canvases)])
    # Every step closes one of the canvases.
    assert wrap_error(turned) == pytest.approx(1)


def test_wrap_error_needs_an_axis_that_wraps_and_a_step_that_is_no_border():
    with pytest.raises(ValueError, match="must wrap along an axis"):
        wrap_error(noise(2), wrap_width=False)
    with pytest.raises(ValueError, match="a step that is no border"):
        wrap_error(noise(2, width=3), edges=WindowEdges((), (1, 2)))
