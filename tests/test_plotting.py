"""The one style of pictures: a strategy looks the same in all of them, and names can be read."""

import itertools

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from benchmarks.latency.picture import seconds_against_width
from benchmarks.report.plots import curve_against_distance, quality_against_cost
from patchcanvas.plotting import (
    COLOURS,
    PALETTE,
    SEQUENTIAL,
    Name,
    boxes_along,
    look,
    style,
    write,
    write_names,
)
from strategies.catalogue import names, strategy_class
from strategies.parallel import ParallelStrategy
from tests.example_results import results_of, row
from tests.test_latency import point
from tests.test_latency import results_of as latencies_of


def test_every_strategy_has_a_colour_of_its_own():
    assert set(names()) < set(COLOURS)
    assert len({look(name).colour for name in names()}) == len(names())
    assert len(set(PALETTE)) == len(PALETTE)


@pytest.mark.parametrize("name", names())
def test_sequential_strategies_are_dashed(name):
    parallel = issubclass(strategy_class(name), ParallelStrategy)
    assert (name not in SEQUENTIAL) == parallel
    assert (look(name).dashes == ()) == parallel
    assert look(name).marker == ("o" if parallel else "s")


def test_a_budget_changes_no_look():
    assert look("naive@64.5") == look("naive")
    assert look("my.package.Own@64") == look("my.package.Own")


def test_strategies_of_ones_own_have_a_look_that_their_name_decides():
    # Of a digest, not of Python's hash, which differs from process to process.
    assert look("my.package.Own").colour == "#0b396b"
    others = {look(f"my.package.Own{number}").colour for number in range(5)}
    assert len(others) == 5
    assert not others & set(PALETTE)


def test_a_strategy_looks_the_same_in_every_program():
    compared = results_of([row(name, 9.0) for name in names()])
    cost = quality_against_cost(compared, unit="pixels").axes[0]
    curves = curve_against_distance(compared, "drift").axes[0]
    timed = latencies_of([point(name, 1, 1.0) for name in names()])
    latency = seconds_against_width(timed).axes[0]
    for name in names():
        colour = look(name).colour
        for axes in (cost, curves, latency):
            assert colour in {to_hex(line.get_color()) for line in axes.lines}


@pytest.fixture
def panel():
    with style(10):
        figure = Figure(figsize=(4, 3), dpi=100)
        axes = figure.add_axes([0.1, 0.1, 0.6, 0.8])
    axes.set(xlim=(0, 10), ylim=(0, 10))
    return axes


PLACES = [(12, sign * 4 * step) for sign in (-1, 1) for step in range(60)]


def boxes_of(axes: Axes) -> dict[str, Bbox]:
    """What the words cover, without their hairlines."""
    axes.figure.draw_without_rendering()
    return {text.get_text(): Text.get_window_extent(text) for text in axes.texts}


def test_names_stay_clear_of_each_other_and_in_order(panel):
    wanted = [Name(f"name {number}", (9.5, 5 + 0.01 * number), "black") for number in range(8)]
    write_names(panel, wanted, PLACES, within=panel.figure.bbox)
    boxes = boxes_of(panel)
    ordered = [boxes[name.text] for name in wanted]
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(ordered))
    assert max(box.x1 for box in ordered) <= panel.figure.bbox.x1


def test_a_name_alone_stands_beside_its_point(panel):
    write_names(panel, [Name("a $", (5.0, 5.0), "black")], PLACES, within=panel.figure.bbox)
    (label,) = panel.texts
    assert label.xyann == (12, 0)
    assert label.get_text() == r"a \$"


def test_names_keep_clear_of_lines_and_stay_where_they_may(panel):
    (line,) = panel.plot([0, 10], [5, 5])
    within = panel.get_window_extent()
    name = Name("name", (2.0, 5.0), "black")
    write_names(panel, [name], PLACES, within=within, taken=boxes_along(line))
    box = boxes_of(panel)["name"]
    assert box.count_overlaps(boxes_along(line)) == 0
    assert box.count_overlaps([within]) == 1


def test_a_picture_is_written_whole(panel, tmp_path):
    write(panel.figure, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (400, 300)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
