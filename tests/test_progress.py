"""Bars on a terminal, lines everywhere else: a row as it is finished, and signs of life."""

import io
import itertools
import time

import pytest
from rich.console import Console

from benchmarks.inpainting.records import CompletionRow, Figure
from benchmarks.latency.records import Point
from benchmarks.latency.table import line_of as line_of_point
from benchmarks.metrics.estimates import Estimate, Spread
from benchmarks.oracle.records import Evaluations, OracleRow, Sampling
from benchmarks.oracle.table import line_of as line_of_oracle
from benchmarks.results.lines import line_of
from benchmarks.results.records import Cost, Row
from patchcanvas.cli.progress import FIRST, MOST, Lines, progress_bars, report_line
from studies.peers.records import Finding


def log() -> Console:
    return Console(file=io.StringIO(), width=40, soft_wrap=True)


def written(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


class Clock:
    """A time that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("terminal", [True, False])
def test_where_no_terminal_is_rows_are_lines(terminal):
    console = Console(file=io.StringIO(), width=40, force_terminal=terminal)
    long = f"naive: {'a figure, ' * 20}end"
    with progress_bars(console) as progress:
        task = progress.add_task("naive", total=2)
        progress.advance(task, 2)
        report_line(progress, long)
    if terminal:
        assert "end" not in console.file.getvalue()
        assert "2/2" in console.file.getvalue()
    else:
        assert written(console) == [long]


def test_signs_of_life_come_ever_more_rarely():
    console, clock = log(), Clock()
    progress = Lines(console, clock=clock)
    task = progress.add_task("naive", total=1000)
    said = []
    for clock.now in range(0, 3601, 10):
        progress.update(task, completed=clock.now / 10)
        before = len(written(console))
        progress.say()
        if len(written(console)) > before:
            said.append(clock.now)
    # After 30 s, then 1, 2, 4 minutes later, then every 5.
    assert said[:6] == [30, 90, 210, 450, 750, 1050]
    assert len(said) < 20
    assert written(console)[:2] == [
        "naive: 3 of 1,000, 30 s so far",
        "naive: 9 of 1,000, 1 min 30 s so far",
    ]
    assert max(b - a for a, b in itertools.pairwise(said)) == MOST


def test_the_newest_unfinished_task_is_told_of():
    console, clock = log(), Clock()
    progress = Lines(console, clock=clock)
    progress.add_task("all", total=3)
    clock.now = FIRST / 2
    part = progress.add_task("a part", total=2)
    clock.now = FIRST
    progress.say()  # the part has just begun
    assert written(console) == []
    clock.now = 2 * FIRST
    progress.say()
    progress.update(part, completed=2)
    progress.say()
    assert written(console) == ["a part: 0 of 2, 45 s so far", "all: 0 of 3, 1 min 0 s so far"]


def test_work_that_advances_nothing_gives_signs_of_life_too(monkeypatch):
    monkeypatch.setattr("patchcanvas.cli.progress.FIRST", 0.0)
    console = log()
    with Lines(console) as progress:
        progress.add_task("one long call", total=1)
        deadline = time.monotonic() + 10
        while not written(console) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert written(console)[0].startswith("one long call: 0 of 1")
    assert progress._thread is not None
    assert not progress._thread.is_alive()


def test_nothing_is_said_of_what_is_soon_over():
    console = log()
    with progress_bars(console) as progress:
        progress.advance(progress.add_task("quick", total=1))
    assert written(console) == []


COST = Cost(70, 140, 93.0, 0, Spread(0.5, 0.4, 0.6, 3), 0.71, 0.97, 100.0)
FIGURES = {"fid_plus": Estimate(1.88, 1.56, 2.19), "seam_ratio": Estimate(1.04, 1.0, 1.1)}
ORACLE = OracleRow(
    "diffcollage",
    {},
    80,
    None,
    [],
    [8],
    "samples",
    96,
    96,
    0.0,
    0.0169,
    0.0,
    0.935,
    None,
    None,
    [1.0],
    Sampling(0.02, 0.001, {"w2": 0.0004}),
    Evaluations(318, 3339, 424.0, 0),
    12.4,
)


@pytest.mark.parametrize(
    ("line", "figures"),
    [
        (
            line_of(Row("diffcollage", True, [], {}, {}, FIGURES, {}, {}, {}, COST, [])),
            ["diffcollage", "FID+ 1.88", "Seams 1.04", "70 forward passes", "0.71 s a canvas"],
        ),
        (line_of(Row("real", None, [], {}, {}, {}, {}, {}, {}, None, [])), ["real: no figures"]),
        (line_of_oracle(ORACLE), ["diffcollage", "0.0169", "0.0004", "0.935", "318 calls", "12 s"]),
        (
            CompletionRow(
                "half", "naive", {}, 5, 9.0, 0.0, 0.25, {"psnr": Figure(17.5, 0.1)}, []
            ).line,
            ["half naive", "psnr 17.5", "5 steps", "0.25 s an image"],
        ),
        (
            line_of_point(
                Point("naive", 4, (32, 128), 35, 140, 4 * 35 * 1024, 0, 0, 1, 1, [0], [0.5], [0.4])
            ),
            ["naive", "width 4", "0.5", "35 calls", "35.0 NFE/px", "80.0 % in network"],
        ),
        (
            Finding("a seam", "at the wrap", "a ratio", None, 1.01, {"theirs": "OutOfMemory"}).line,
            ["a seam", "at the wrap", "theirs OutOfMemory", "ours 1.01"],
        ),
    ],
)
def test_a_row_is_one_line_with_its_figures(line, figures):
    assert "\n" not in line
    assert [figure for figure in figures if figure not in line] == []
