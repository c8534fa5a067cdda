"""Strategies on circular and toroidal Gaussian fields."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from benchmarks.oracle.__main__ import main
from benchmarks.oracle.figures import (
    correlation_by_distance,
    correlation_of_neighbours,
    relative_w2,
    variance_at_the_end,
)
from benchmarks.oracle.measure import Trial
from benchmarks.oracle.plan import planned, read_command
from benchmarks.oracle.probe import BulkNoise
from benchmarks.oracle.records import OracleResults
from patchcanvas.records import read_record
from sampling.sigmas import karras_sigmas
from strategies.canvas import Canvas, WindowEdges
from strategies.catalogue import names

SIDE, WINDOW, OVERLAP, LENGTH, STEPS = 24, 8, 4, 3.0, 12
LOOP = [
    "fields=line",
    "line.wrap_width=true",
    f"line.width={SIDE}",
    f"line.window={WINDOW}",
    f"line.overlap={OVERLAP}",
    f"line.length={LENGTH}",
    f"solver.num_steps={STEPS}",
]
TORUS = ["fields=plane", "plane.wrap_height=true", "plane.wrap_width=true"]


def trial(*arguments: str) -> Trial:
    (job,) = planned(read_command(list(arguments)))
    (found,) = job.trials
    return found


def correlations() -> np.ndarray:
    """The Markov loop in closed form."""
    distance = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    return np.cosh((SIDE / 2 - distance) / LENGTH) / math.cosh(SIDE / 2 / LENGTH)


def groups(strategy: str) -> list[tuple[float, list[np.ndarray]]]:
    """Weights of an estimate, and the pixels of the windows that have it."""

    def windows(size: int, stride: int, first: int = 0) -> list[np.ndarray]:
        begins = range(first, SIDE + first, stride)
        return [np.arange(begin, begin + size) % SIDE for begin in begins]

    match strategy:
        case "naive":
            return [(1.0, windows(WINDOW, WINDOW))]
        case "multidiffusion":
            return [(0.5, windows(WINDOW, WINDOW - OVERLAP))]
        case "diffcollage":
            stride = WINDOW - OVERLAP
            return [(1.0, windows(WINDOW, stride)), (-1.0, windows(OVERLAP, stride, stride))]
        case "direct":
            return [(1.0, [np.arange(SIDE)])]
    raise AssertionError(strategy)


def expected_covariance(strategy: str) -> np.ndarray:
    """Heun's method on what the strategy makes of an estimate, once more, with numpy's matrices."""
    K = correlations()

    def slope(x: np.ndarray, sigma: float) -> np.ndarray:
        x0_hat = np.zeros_like(x)
        for weight, windows in groups(strategy):
            for place in windows:
                K_w = K[np.ix_(place, place)]
                gain = K_w @ np.linalg.inv(K_w + sigma**2 * np.eye(len(place)))
                x0_hat[place] += weight * gain @ x[place]
        return (x - x0_hat) / sigma

    sigmas = karras_sigmas(STEPS).tolist()
    x = sigmas[0] * np.eye(SIDE)
    for sigma, sigma_next in itertools.pairwise(sigmas):
        first = slope(x, sigma)
        euler = x + (sigma_next - sigma) * first
        mean = (first + slope(euler, sigma_next)) / 2 if sigma_next else first
        x = x + (sigma_next - sigma) * mean
    return x @ x.T


@pytest.mark.parametrize("strategy", ["naive", "multidiffusion", "diffcollage", "direct"])
def test_rows_of_parallel_strategies_are_exact_on_a_loop(strategy):
    row = trial(*LOOP, f"strategy={strategy}").measured()
    assert (row.method, row.canvases, row.sampling) == ("unit vectors", SIDE, None)
    true, made = (
        torch.from_numpy(each) for each in (correlations(), expected_covariance(strategy))
    )
    # The root of a singular difference halves the digits of float64.
    assert row.w2 == pytest.approx(relative_w2(true, made), abs=1e-7)


@pytest.mark.parametrize("strategy", names())
def test_every_strategy_closes_a_loop_and_a_torus(strategy):
    for arguments in (LOOP, [*TORUS, "plane.height=16", "plane.width=16", "solver.num_steps=4"]):
        found = trial(*arguments, f"strategy={strategy}", "sequential_steps=4", "samples=50")
        canvas = found.make(BulkNoise(0, 0, 2))
        assert canvas.shape[-2:] == (found.case.canvas.height, found.case.canvas.width)
        # Where windows are one after another they meet somewhere, and all at once at the beginning.
        assert found.window_edges.columns


@pytest.mark.parametrize("arguments", [LOOP, [*TORUS, "plane.height=16", "plane.width=16"]])
def test_the_network_on_the_whole_loop_is_exact_but_for_the_solver(arguments):
    row = trial(*arguments, "strategy=direct", "solver.num_steps=80").measured()
    # As on a line: what 80 steps of Heun's leave.
    assert row.w2 == pytest.approx(0, abs=5e-5)


def test_the_closing_line_is_a_border_as_any_other():
    row = trial(*LOOP, "strategy=diffcollage").measured()
    assert row.edge_columns == [0, 4, 8, 12, 16, 20]
    assert trial(*LOOP, "strategy=naive").window_edges == WindowEdges((), (0, 8, 16))
    assert trial(*LOOP[2:], "fields=line", "strategy=naive").window_edges == WindowEdges(
        (), (8, 16)
    )


def test_a_border_at_the_beginning_lies_between_the_last_pixel_and_the_first():
    covariance = torch.eye(4, dtype=torch.float64)
    covariance[0, 3] = covariance[3, 0] = 0.5
    loop = Canvas(height=1, width=4, channels=1, wrap_width=True)
    assert correlation_of_neighbours(covariance, loop, WindowEdges((), (0,))) == 0.5
    assert correlation_of_neighbours(covariance, loop, WindowEdges((), (0, 2))) == 0.25


def test_distances_on_a_loop_are_the_shorter_way_round():
    covariance = torch.from_numpy(correlations())
    loop = Canvas(height=1, width=SIDE, channels=1, wrap_width=True)
    found = correlation_by_distance(covariance, loop)
    torch.testing.assert_close(found, covariance[0, : SIDE // 2 + 1], rtol=0, atol=1e-12)
    assert variance_at_the_end(covariance, loop) is None
    open_line = dataclasses.replace(loop, wrap_width=False)
    assert len(correlation_by_distance(covariance, open_line)) == SIDE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["line.wrap_width=true", "line.width=90"], "the nearest that close are 88 and 96 px"),
        ([*TORUS[1:], "plane.width=22"], "the nearest that close are 20 and 24 px"),
    ],
)
def test_windows_that_do_not_close_a_loop_are_refused(arguments, said):
    fields = "line" if arguments[0].startswith("line") else "plane"
    with pytest.raises(ValueError, match=said):
        planned(read_command([f"fields={fields}", "strategy=diffcollage", *arguments]))


def test_a_run_writes_loops_and_reads_them_again(tmp_path, capsys):
    arguments = [*LOOP, "strategy=naive,diffcollage", f"results={tmp_path}"]
    assert main(arguments) == 0
    (path,) = tmp_path.glob("*/oracle.json")
    results = read_record(OracleResults, path)
    (case,) = results.cases
    assert (case.name, case.wraps) == ("loop, exponential, length 3", (False, True))
    assert [row.end_variance for row in case.rows] == [None, None]
    assert "variance at end" not in (path.parent / "oracle.md").read_text()
    assert len(case.correlation) == SIDE // 2 + 1
    # Without a terminal a row is told as it is finished.
    said = capsys.readouterr().err
    for row in case.rows:
        assert f"loop, exponential, length 3, {row.strategy}: W2² {row.w2:.4f} (exact)" in said


@pytest.mark.parametrize(
    ("wraps", "name"),
    [
        ((), "plane"),
        (("height",), "plane that wraps down"),
        (("width",), "plane that wraps across"),
        (("height", "width"), "torus"),
    ],
)
def test_planes_are_called_by_what_wraps(wraps, name):
    arguments = ["fields=plane", "strategy=direct", *(f"plane.wrap_{axis}=true" for axis in wraps)]
    assert trial(*arguments).case.name == f"{name}, exponential, length 2"
