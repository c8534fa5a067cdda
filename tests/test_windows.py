from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.windows import Regions, grid, overlaps, planned_length, spans

# A busy machine is no failure.
without_deadline = settings(deadline=None)


@st.composite
def layouts(draw) -> tuple[int, int, int]:
    """(length, window, overlap) that `planned_length` accepts, whether or not they tile."""
    window = draw(st.integers(1, 40))
    return draw(st.integers(window, 300)), window, draw(st.integers(0, window - 1))


@st.composite
def loops(draw) -> tuple[int, int, int]:
    """(length, window, overlap) of windows that close a loop."""
    window = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, window - 1))
    fewest = -(-window // (window - overlap))
    return draw(st.integers(fewest, fewest + 20)) * (window - overlap), window, overlap


def tiles(length: int, window: int, overlap: int) -> bool:
    """Whether one window and a number of strides make up the length: by trying all numbers."""
    return any(window + n * (window - overlap) == length for n in range(length + 1))


@without_deadline
@given(layouts())
def test_the_planned_length_is_the_next_that_tiles(layout):
    length, window, overlap = layout
    planned = planned_length(length, window, overlap)
    assert planned >= length
    assert tiles(planned, window, overlap)
    assert not any(tiles(shorter, window, overlap) for shorter in range(length, planned))


@without_deadline
@given(layouts())
def test_a_planned_length_is_its_own_plan(layout):
    length, window, overlap = layout
    planned = planned_length(length, window, overlap)
    assert planned_length(planned, window, overlap) == planned


@without_deadline
@given(layouts())
def test_spans_cover_every_pixel_of_the_planned_length_and_nothing_else(layout):
    length, window, overlap = layout
    planned = planned_length(length, window, overlap)
    windows = spans(planned, window, overlap)
    assert {stop - start for start, stop in windows} == {window}
    assert {pixel for span in windows for pixel in range(*span)} == set(range(planned))
    assert all(stop - start == overlap for (_, stop), (start, _) in pairwise(windows))


@without_deadline
@given(layouts())
def test_windows_less_overlaps_count_every_pixel_once_up_to_half_a_window(layout):
    length, window, overlap = layout
    overlap = min(overlap, window // 2)
    windows = spans(planned_length(length, window, overlap), window, overlap)
    shared = overlaps(windows)
    assert len(shared) == (len(windows) - 1 if overlap else 0)
    counts = [0] * windows[-1][1]
    for count, group in ((1, windows), (-1, shared)):
        for start, stop in group:
            for pixel in range(start, stop):
                counts[pixel] += count
    assert set(counts) == {1}


@without_deadline
@given(layouts())
def test_lengths_between_two_plans_are_refused_with_the_next_one(layout):
    length, window, overlap = layout
    planned = planned_length(length, window, overlap)
    if planned == length:
        assert len(spans(length, window, overlap)) == 1 + (length - window) // (window - overlap)
        return
    with pytest.raises(
        ValueError,
        match=rf"windows of {window} px overlapping by {overlap} px cannot tile {length} px; the "
        rf"next length that they tile is {planned} px\.",
    ):
        spans(length, window, overlap)


@without_deadline
@given(loops())
def test_windows_of_a_loop_lie_at_every_stride_and_cover_every_pixel(loop):
    length, window, overlap = loop
    assert planned_length(length, window, overlap, wraps=True) == length
    windows = spans(length, window, overlap, wraps=True)
    assert {stop - start for start, stop in windows} == {window}
    assert {pixel % length for span in windows for pixel in range(*span)} == set(range(length))
    first_again = (windows[0][0] + length, windows[0][1] + length)
    pairs = pairwise([*windows, first_again])
    assert all(stop - start == overlap for (_, stop), (start, _) in pairs)


@without_deadline
@given(loops())
def test_a_loop_of_windows_less_overlaps_counts_every_pixel_once_up_to_half_a_window(loop):
    length, window, overlap = loop
    overlap = min(overlap, window // 2)
    length = len(spans(length, *loop[1:], wraps=True)) * (window - overlap)
    windows = spans(length, window, overlap, wraps=True)
    shared = overlaps(windows, loop=length)
    # As many variables as factors, the one across the edge included.
    assert len(shared) == (len(windows) if overlap else 0)
    assert len(set(shared)) == len(shared)
    counts = [0] * length
    for count, group in ((1, windows), (-1, shared)):
        for start, stop in group:
            assert 0 <= start < length
            for pixel in range(start, stop):
                counts[pixel % length] += count
    assert set(counts) == {1}


def test_two_windows_of_the_length_of_their_loop_share_both_halves():
    windows = spans(8, 8, 4, wraps=True)
    assert windows == [(0, 8), (4, 12)]
    assert overlaps(windows, loop=8) == [(4, 8), (0, 4)]


@pytest.mark.parametrize("plan", [planned_length, spans])
@without_deadline
@given(layout=layouts(), shorter=st.integers(0, 40))
def test_lengths_that_close_no_loop_are_refused_with_the_nearest_that_do(plan, layout, shorter):
    length, window, overlap = layout
    length -= shorter
    stride = window - overlap
    closing = [n for n in range(window, 2 * (length + window) + 80) if n % stride == 0]
    if length in closing:
        assert plan(length, window, overlap, wraps=True)
        return
    near = [n for n in closing if n < length][-1:] + [n for n in closing if n > length][:1]
    with pytest.raises(
        ValueError,
        match=rf"windows of {window} px overlapping by {overlap} px close a loop whose length is a "
        rf"multiple of {stride} px and at least {window} px, got {length} px; the nearest that "
        rf"closes? (is|are) {' and '.join(map(str, near))} px\.$",
    ):
        plan(length, window, overlap, wraps=True)


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("plan", [planned_length, spans])
@pytest.mark.parametrize(("window", "overlap"), [(4, 4), (4, 5), (4, -1), (0, 0), (-2, 0)])
def test_an_overlap_that_is_no_part_of_a_window_is_refused(plan, wraps, window, overlap):
    with pytest.raises(
        ValueError,
        match=rf"need 0 <= overlap < window, got overlap={overlap}, window={window}\.",
    ):
        plan(20, window, overlap, wraps=wraps)


@pytest.mark.parametrize("plan", [planned_length, spans])
@pytest.mark.parametrize("length", [-3, 0, 7])
def test_less_than_a_window_is_refused(plan, length):
    with pytest.raises(
        ValueError,
        match=rf"must be at least one window of 8 px along both axes, got {length} px\.",
    ):
        plan(length, 8, 2)


def test_a_grid_is_the_product_of_its_axes():
    regions = grid(spans(10, 4, 1), spans(8, 5, 2))
    assert regions == Regions(4, 5, ((0, 0), (0, 3), (3, 0), (3, 3), (6, 0), (6, 3)))
    assert regions.slices[-1] == (slice(6, 10), slice(3, 8))


def test_regions_reach_as_far_as_the_last_of_them():
    assert Regions(4, 5, ((0, 9), (6, 3))).reach == (10, 14)
