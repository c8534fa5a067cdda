"""The order of windows, as integers: what is painted, what is known, and what can run together."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from strategies.order import Axis, Filling, fillings, lattice
from strategies.windows import Tiling

# A busy machine is no failure.
examples = settings(max_examples=60, deadline=None)


@st.composite
def chains(draw) -> Axis:
    window = draw(st.integers(2, 11))
    overlap = draw(st.integers(1, window // 2))
    windows = draw(st.integers(1, 6))
    return Axis(
        length=window + (windows - 1) * (window - overlap),
        window=window,
        overlap=overlap if windows > 1 else 0,
    )


@st.composite
def loops(draw) -> Axis:
    """Every loop that is legal: any overlap up to half a window, three strides or more."""
    window = draw(st.integers(3, 11))
    overlap = draw(st.integers(1, window // 2))
    length = draw(st.integers(3, 8)) * (window - overlap)
    return Axis(length=length, window=window, overlap=overlap, wraps=True)


axes = chains() | loops()


def windows_of(axis: Axis) -> int:
    """How many windows stand on the lattice of an axis."""
    return (axis.length - (0 if axis.wraps else axis.overlap)) // axis.stride


@st.composite
def plans(draw, rows=axes, columns=axes) -> tuple[Axis, Axis, tuple[int, int], bool]:
    down, across = draw(rows), draw(columns)
    first = tuple(draw(st.integers(0, windows_of(axis) - 1)) for axis in (down, across))
    return down, across, first, draw(st.booleans())


def nowhere(rows: Axis, columns: Axis) -> Tensor:
    return torch.zeros(rows.length, columns.length, dtype=torch.bool)


def all_fillings(rows: Axis, columns: Axis, first: tuple[int, int], both_ways: bool):
    size = rows.length, columns.length
    given = nowhere(rows, columns)
    return fillings(rows, columns, first, both_ways=both_ways, given=given, size=size)


def line(axis: Axis, first: int, both_ways: bool) -> list[Filling]:
    """The windows of one axis: of a canvas that is one pixel high."""
    return all_fillings(Axis(length=1, window=1, overlap=0), axis, (0, first), both_ways)


def place(filling: Filling) -> tuple[Tensor, Tensor]:
    return filling.rows[:, None], filling.columns


@examples
@given(plans())
def test_every_pixel_is_painted_by_one_window(plan):
    rows, columns = plan[:2]
    times = torch.zeros(rows.length, columns.length, dtype=torch.int64)
    for filling in all_fillings(*plan):
        assert filling.known.shape == (rows.window, columns.window)
        times[place(filling)] += ~filling.known
    assert (times == 1).all()


@examples
@given(plans())
def test_a_window_knows_exactly_what_earlier_ones_have_painted(plan):
    painted = nowhere(*plan[:2])
    for filling in all_fillings(*plan):
        assert torch.equal(filling.known, painted[place(filling)])
        assert not filling.known.all()
        painted[place(filling)] = True


@examples
@given(plans())
def test_windows_stand_on_the_canvas_in_one_piece(plan):
    for filling in all_fillings(*plan):
        for axis, covered in zip(plan[:2], (filling.rows, filling.columns), strict=True):
            steps = covered.diff() % axis.length
            assert (steps == 1).all()
            assert len(covered) == axis.window
            assert axis.wraps or covered[-1] < axis.length


def side(window: int, known: int, *, of_the_end: bool) -> Tensor:
    """A window of which so many pixels are known at one side."""
    pixels = torch.arange(window)
    return pixels >= window - known if of_the_end else pixels < known


@examples
@given(chains(), st.data())
def test_a_window_of_a_chain_knows_its_overlap_with_the_one_towards_the_first(axis, data):
    first = data.draw(st.integers(0, windows_of(axis) - 1))
    order = line(axis, first, data.draw(st.booleans()))
    # Those after the first one, then those before it, both outwards.
    after, before = windows_of(axis) - first, first
    numbers = [filling.number[1] for filling in order]
    assert numbers == [*range(after), *(-1 - k for k in range(before))]
    for filling, number in zip(order, numbers, strict=True):
        assert filling.columns[0] == axis.begins[first + number]
        overlap = axis.overlap if number else 0
        assert torch.equal(filling.known[0], side(axis.window, overlap, of_the_end=number < 0))


@examples
@given(plans(chains(), chains()))
def test_a_window_of_a_plane_knows_an_l_shaped_border(plan):
    rows, columns = plan[:2]
    for filling in all_fillings(*plan):
        down, across = (
            side(axis.window, axis.overlap if number else 0, of_the_end=number < 0)
            for axis, number in zip((rows, columns), filling.number, strict=True)
        )
        assert torch.equal(filling.known, down[:, None] | across)


@examples
@given(loops(), st.data())
def test_a_loop_is_closed_by_a_window_that_sees_both_ends(axis, data):
    first = data.draw(st.integers(0, windows_of(axis) - 1))
    order = line(axis, first, data.draw(st.booleans()))
    *grown, last = [filling.known[0] for filling in order]
    begun, *others = grown
    assert not begun.any()
    # The one before the last may see more of where growth goes on, so as to fill less.
    for known in others:
        (edges,) = (known[1:] != known[:-1]).nonzero(as_tuple=True)
        assert len(edges) == 1
        assert known.sum() >= axis.overlap
    if axis.window > 2 * axis.overlap:
        others = others[:-1]
    assert all(known.sum() == axis.overlap for known in others)
    # Half the overlap on either side, rounded down on one and up on the other.
    seen = int((~last).nonzero()[0]), int((~last).flip(0).nonzero()[0])
    assert (seen[0], seen[1]) == (max(1, axis.overlap // 2), axis.overlap - axis.overlap // 2)
    assert 0 < axis.window - sum(seen) <= axis.stride
    assert (~last)[seen[0] : axis.window - seen[1]].all()


@examples
@given(loops(), st.data())
def test_growth_meets_opposite_the_first_window_or_right_before_it(axis, data):
    first, both_ways = data.draw(st.integers(0, windows_of(axis) - 1)), data.draw(st.booleans())
    last = line(axis, first, both_ways)[-1]
    new = last.columns[~last.known[0]]
    begin = axis.begins[first]
    # Pixels between the first window and what the last one paints, ahead and back.
    ahead = (int(new[0]) - begin - axis.window) % axis.length
    back = (begin - int(new[-1]) - 1) % axis.length
    if both_ways:
        # A step to one side more than to the other, and the window before the last.
        assert abs(ahead - back) <= 2 * axis.stride
    else:
        assert back == 0


@examples
@given(plans(loops(), axes))
def test_a_window_of_a_torus_knows_what_those_of_its_axes_know(plan):
    rows, columns, first, both_ways = plan
    down, across = (
        {filling.number[1]: filling.known[0] for filling in line(axis, place, both_ways)}
        for axis, place in zip((rows, columns), first, strict=True)
    )
    order = all_fillings(*plan)
    assert len(order) == len(down) * len(across)
    for filling in order:
        row, column = filling.number
        assert torch.equal(filling.known, down[row][:, None] | across[column])


@examples
@given(plans())
def test_a_window_waits_for_those_that_painted_what_it_knows_and_for_no_other(plan):
    painter = torch.full_like(nowhere(*plan[:2]), -1, dtype=torch.int64)
    order = all_fillings(*plan)
    for number, filling in enumerate(order):
        turns = [order[known].turn for known in painter[place(filling)].unique() if known >= 0]
        assert filling.turn == max(turns, default=-1) + 1
        painter[place(filling)] = painter[place(filling)].where(filling.known, number)


@examples
@given(plans())
def test_windows_of_one_turn_know_nothing_of_each_other(plan):
    order = all_fillings(*plan)
    for turn in {filling.turn for filling in order}:
        together = [filling for filling in order if filling.turn == turn]
        times = torch.zeros(plan[0].length, plan[1].length, dtype=torch.int64)
        for filling in together:
            times[place(filling)] += ~filling.known
        assert times.max() == 1
        for filling in together:
            assert not times[place(filling)][filling.known].any()


@examples
@given(plans(chains(), chains()))
def test_turns_are_anti_diagonals(plan):
    rows, columns, first, _ = plan
    order = all_fillings(*plan)
    assert [filling.turn for filling in order] == [
        abs(row) + abs(column) for row, column in (filling.number for filling in order)
    ]
    # From a corner H + W - 1 of them; from elsewhere as far as the farthest corner.
    farthest = [
        max(place, windows_of(axis) - 1 - place)
        for axis, place in zip((rows, columns), first, strict=True)
    ]
    assert len({filling.turn for filling in order}) == sum(farthest) + 1


@examples
@given(plans(loops(), loops()))
def test_turns_of_a_torus_are_those_of_its_axes_together(plan):
    rows, columns, first, both_ways = plan
    down, across = (
        {filling.number[1]: filling.turn for filling in line(axis, place, both_ways)}
        for axis, place in zip((rows, columns), first, strict=True)
    )
    for filling in all_fillings(*plan):
        assert filling.turn == down[filling.number[0]] + across[filling.number[1]]
    for axis, turns in ((rows, down), (columns, across)):
        # As many strides as there are less one, where windows share half of each other, and the
        # first; half of them on either side. Otherwise one window more.
        windows = windows_of(axis) - (axis.window == 2 * axis.overlap)
        sides = math.ceil((windows_of(axis) - 3) / 2) if both_ways else windows_of(axis) - 3
        closing = 1 if axis.window == 2 * axis.overlap else 2
        assert len(turns) == windows
        assert max(turns.values()) == sides + closing


@examples
@given(plans())
def test_a_number_names_one_window(plan):
    numbers = [filling.number for filling in all_fillings(*plan)]
    assert len(set(numbers)) == len(numbers)
    assert numbers[0] == (0, 0)


@examples
@given(chains(), st.integers(0, 4), st.data())
def test_a_longer_chain_has_the_windows_of_a_shorter_one_under_the_same_numbers(axis, more, data):
    first = data.draw(st.integers(0, windows_of(axis) - 1))
    overlap = axis.overlap or 1
    longer = Axis(
        length=axis.length + more * (axis.window - overlap), window=axis.window, overlap=overlap
    )
    shorter, long = (a.spots(first, both_ways=True) for a in (axis, longer))
    assert set(shorter) <= set(long)


@st.composite
def rectangles(draw, plan) -> Tensor:
    """Up to two rectangles of a canvas."""
    given = nowhere(*plan[:2])
    for _ in range(draw(st.integers(0, 2))):
        corners = [draw(st.integers(0, axis.length - 1)) for axis in plan[:2]]
        top, left = corners
        bottom, right = (
            draw(st.integers(begin + 1, axis.length))
            for begin, axis in zip(corners, plan[:2], strict=True)
        )
        given[top:bottom, left:right] = True
    return given


@examples
@given(plans(), st.data())
def test_windows_without_a_pixel_to_paint_are_left_out(plan, data):
    rows, columns, first, both_ways = plan
    given = data.draw(rectangles(plan))
    # Planned may be up to a stride more than asked for.
    size = tuple(
        axis.length - (0 if axis.wraps else data.draw(st.integers(0, axis.stride - 1)))
        for axis in (rows, columns)
    )
    order = fillings(rows, columns, first, both_ways=both_ways, given=given, size=size)
    # The turn after which a pixel is painted; 0 where it is not.
    painted = torch.zeros_like(given, dtype=torch.int64)
    for filling in order:
        # What a window left out would have painted beyond the canvas is no context either.
        before = painted[place(filling)]
        assert torch.equal(filling.known, before > 0)
        assert filling.turn == before.max()
        new = (before == 0) & ~given[place(filling)]
        painted[place(filling)] = before.where(~new, filling.turn + 1)
        inside = (filling.rows < size[0])[:, None] & (filling.columns < size[1])
        assert (new & inside).any()
    assert (given | (painted > 0))[: size[0], : size[1]].all()
    # Leaving windows out makes none wait longer.
    turns = {filling.number: filling.turn for filling in all_fillings(*plan)}
    assert all(filling.turn <= turns[filling.number] for filling in order)


def test_windows_on_both_sides_of_what_is_given_are_filled_together():
    axis = Axis(length=44, window=8, overlap=4)
    given = torch.zeros(8, 44, dtype=torch.bool)
    given[:, 13:33] = True
    one = Axis(length=8, window=8, overlap=0)
    order = fillings(one, axis, (0, 5), both_ways=True, given=given, size=(8, 44))
    assert [(filling.number[1], filling.turn) for filling in order] == [
        *((2, 0), (3, 1), (4, 2)),
        *((-2, 0), (-3, 1), (-4, 2), (-5, 3)),
    ]


def test_nothing_is_filled_where_everything_is_given():
    axis = Axis(length=20, window=8, overlap=4)
    given = nowhere(axis, axis)
    given[:19, :17] = True
    assert fillings(axis, axis, (0, 0), both_ways=True, given=given, size=(19, 17)) == []


@examples
@given(chains())
def test_the_middle_window_has_as_much_to_its_left_as_to_its_right_within_a_stride(axis):
    left = axis.middle
    assert left in axis.begins
    right = axis.length - axis.window - left
    assert abs(left - right) <= axis.stride
    # Of two the left one.
    assert left <= right


def test_a_loop_has_no_middle():
    assert Axis(length=24, window=8, overlap=4, wraps=True).middle == 0


def test_a_chain_is_planned_as_long_as_its_windows_need():
    axis = lattice(Tiling(length=21, window=8, overlap=4))
    assert axis == Axis(length=24, window=8, overlap=4)
    assert axis.begins == [0, 4, 8, 12, 16]


@examples
@given(axes)
def test_windows_of_the_lattice_are_strides_apart(axis):
    assert axis.begins == [axis.stride * number for number in range(windows_of(axis))]


def test_the_first_window_of_a_loop_may_begin_anywhere_on_its_lattice():
    axis = lattice(Tiling(length=18, window=8, overlap=2, wraps=True))
    assert axis.begins == [0, 6, 12]
    assert [spot.begin for spot in axis.spots(2, both_ways=False)] == [12, 16, 5]


@pytest.mark.parametrize(
    ("length", "window", "overlap", "message"),
    [
        (8, 8, 4, r"at least 3 strides of 4 px = 12 px long, got 8 px\."),
        (12, 8, 2, r"at least 3 strides of 6 px = 18 px long, got 12 px\."),
        (21, 8, 4, r"a multiple of 4 px and at least 8 px, got 21 px; .* 20 and 24 px\."),
        (6, 2, 1, r"sees both its ends .* at least 3 px, got 2 px\."),
    ],
)
def test_loops_that_cannot_be_closed_are_refused(length, window, overlap, message):
    with pytest.raises(ValueError, match=message):
        lattice(Tiling(length=length, window=window, overlap=overlap, wraps=True))


@pytest.mark.parametrize(("length", "window", "overlap"), [(12, 8, 4), (18, 8, 2), (6, 3, 1)])
def test_the_shortest_loops_are_three_strides(length, window, overlap):
    tiling = Tiling(length=length, window=window, overlap=overlap, wraps=True)
    assert lattice(tiling).length == length
