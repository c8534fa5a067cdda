import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling.level_paths import Joint, LevelPath, Random, Sequential, Wavefront
from strategies.async_patch import staggered

sizes = st.integers(1, 20)
regions = st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9))
ends = st.fixed_dictionaries(
    {"sigma_min": st.floats(1e-4, 0.1), "sigma_max": st.floats(1.0, 1e3)},
)
paths = st.one_of(
    ends.map(lambda e: Joint(**e)),
    st.builds(lambda e, region: Sequential(**e, region=region), ends, regions),
    st.builds(
        lambda e, region, lag: Wavefront(**e, region=region, lag=lag),
        ends,
        regions,
        st.floats(0.01, 1),
    ),
    st.builds(
        lambda e, region, seed, shortest: Random(**e, region=region, seed=seed, shortest=shortest),
        ends,
        regions,
        st.integers(0, 2**31),
        st.floats(0.05, 1),
    ),
)


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def share(path: LevelPath, t: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """How far down the pixels are, 0 at sigma_max and 1 at sigma_min."""
    sigma = path(t, height, width).sigma.expand(-1, -1, height, width)
    return (path.sigma_max / sigma).log() / math.log(path.sigma_max / path.sigma_min)


@settings(max_examples=60, deadline=None)
@given(path=paths, height=sizes, width=sizes)
def test_every_pixel_falls_from_one_end_to_the_other(path, height, width):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    log_gamma, slope = path(t, height, width)
    # Numbers of order 20 in float64.
    tight = {"rtol": 0, "atol": 1e-12}
    first, last = -2 * math.log(path.sigma_max), -2 * math.log(path.sigma_min)
    torch.testing.assert_close(log_gamma[0], torch.full_like(log_gamma[0], first), **tight)
    torch.testing.assert_close(log_gamma[-1], torch.full_like(log_gamma[0], last), **tight)
    assert (log_gamma.diff(dim=0) >= -1e-12).all()
    assert (slope >= 0).all()
    torch.testing.assert_close(path(t, height, width).sigma, log_gamma.exp().rsqrt())


@settings(max_examples=60, deadline=None)
@given(path=paths, height=sizes, width=sizes)
def test_the_slope_is_the_derivative_between_the_joins(path, height, width):
    joins = path.joins(height, width)
    assert joins[0] == 0
    assert joins[-1] == 1
    pieces = [(start, end) for start, end in itertools.pairwise(joins) if end - start > 1e-3]
    middle = times(*((start + end) / 2 for start, end in pieces))
    step = times(*((end - start) / 4 for start, end in pieces)).view(-1, 1, 1, 1)
    after, before = (path(middle + s * step.flatten(), height, width)[0] for s in (1, -1))
    # At most parabolas, of which a central difference is exact: rounding of 20 over 2e-4.
    torch.testing.assert_close(
        path(middle, height, width).slope, (after - before) / (2 * step), rtol=0, atol=1e-9
    )


@settings(max_examples=30, deadline=None)
@given(path=paths, height=sizes, width=sizes, t=st.floats(0, 1))
def test_a_time_means_the_same_in_any_company(path, height, width, t):
    alone, together = path(times(t), height, width), path(times(0.3, t), height, width)
    assert torch.equal(alone.log_gamma[0], together.log_gamma[1])
    assert torch.equal(alone.slope[0], together.slope[1])


def test_a_joint_path_is_one_level_an_image_evenly_in_the_logarithm():
    levels = Joint(sigma_min=0.01, sigma_max=100.0)(times(0, 0.25, 0.5), 4, 6)
    expected = times(100, 10, 1).view(3, 1, 1, 1)
    torch.testing.assert_close(levels.sigma, expected)


def test_regions_of_a_sequence_go_one_after_another_row_by_row():
    # 3 x 5 px in regions of 2 x 2: the lower and right ones are cut.
    order = torch.tensor([[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]])
    for turn in range(6):
        down = share(Sequential(region=(2, 2)), times((turn + 0.5) / 6), 3, 5)[0, 0]
        expected = torch.where(order == turn, 0.5, (order < turn).double())
        torch.testing.assert_close(down, expected.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", [Sequential(), Wavefront(lag=0.5)])
def test_regions_are_columns_of_a_quarter_unless_said_otherwise(path):
    down = share(path, times(0.1), 3, 10)[0, 0]
    assert torch.equal(down, down[:1].expand(3, 10))
    assert (down[0] > 1e-9).tolist() == [True] * 3 + [False] * 7


def test_a_region_of_a_wavefront_starts_when_the_one_before_is_a_lag_down():
    path = Wavefront(region=(4, 1), lag=0.3)
    starts = path.turns(4, 5).start[0, 0, 0]
    for column in range(1, 5):
        before = share(path, starts[column : column + 1], 4, 5)[0, 0, 0]
        assert before[column - 1].item() == pytest.approx(0.3, abs=1e-12)
        assert before[column].item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("lag", "steps"), [(1.0, 10), (0.5, 5), (0.3, 3)])
def test_wavefronts_are_those_of_async_patch(lag, steps):
    sigmas = torch.logspace(2, -2, 11, dtype=torch.float64)
    fronts = torch.arange(4).view(1, 1, 1, 4)
    sigmas = torch.cat(list(staggered(sigmas, fronts, steps)))
    path = Wavefront(sigma_min=0.01, sigma_max=100.0, region=(1, 1), lag=lag)
    t = torch.linspace(0, 1, len(sigmas), dtype=torch.float64)
    # float64 powers of 10.
    torch.testing.assert_close(path(t, 1, 4).sigma, sigmas, rtol=1e-10, atol=0)
    if lag == 1:
        torch.testing.assert_close(
            Sequential(region=(1, 1))(t, 1, 4), Wavefront(region=(1, 1), lag=1.0)(t, 1, 4)
        )


def test_a_random_path_is_its_seed():
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    first, again, other = (Random(seed=seed)(t, 8, 8).log_gamma for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_every_region_of_a_random_path_has_a_turn_of_its_own():
    path = Random(seed=0, shortest=0.25)
    turns = path.turns(8, 12)  # sixteen regions of 2 x 3 px
    for values in turns:
        blocks = values.view(4, 2, 4, 3).transpose(1, 2).flatten(2)
        assert torch.equal(blocks, blocks[..., :1].expand_as(blocks))
        assert len(values.unique()) == 16
    assert (turns.start >= 0).all()
    assert (turns.end <= 1).all()
    assert (turns.end - turns.start >= 0.25 - 1e-12).all()
    assert turns.bend.min() < -0.1 < 0.1 < turns.bend.max()


def test_a_positive_bend_is_quick_first():
    path = Random(seed=3, region=(1, 1))
    turns = path.turns(1, 8)
    middle = ((turns.start + turns.end) / 2).flatten()
    halfway = share(path, middle, 1, 8).view(8, 8).diagonal()
    # u + b u (1 - u) at u = 1/2.
    torch.testing.assert_close(halfway, 0.5 + turns.bend.flatten() / 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Joint(sigma_min=0.0), "0 < sigma_min < sigma_max, got 0.0 and 80.0"),
        (lambda: Joint(sigma_min=2.0, sigma_max=1.0), "0 < sigma_min < sigma_max"),
        (lambda: Joint(sigma_max=math.inf), "0 < sigma_min < sigma_max"),
        (lambda: Sequential(region=(0, 4)), r"at least 1 x 1 px, got \(0, 4\)"),
        (lambda: Wavefront(lag=0.0), r"lag must be in \(0, 1\], got 0.0"),
        (lambda: Wavefront(lag=1.1), r"lag must be in \(0, 1\], got 1.1"),
        (lambda: Random(shortest=0.0), r"shortest must be in \(0, 1\], got 0.0"),
    ],
)
def test_what_is_no_path_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
