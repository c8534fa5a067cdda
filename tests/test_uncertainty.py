"""Who goes first: regions by their certainty, what that costs, and that samples keep apart."""

import math
from itertools import pairwise

import hypothesis
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from denoisers.gaussian import GaussianDenoiser, GaussianField
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import FreeDenoiser, steps_within
from patchcanvas.window_batch import ExactBatch, FittingBatch, Memory
from sampling.diffusers_solver import Diffusers
from sampling.noise import CanvasNoise, WindowNoise
from sampling.solvers import Euler, Heun
from strategies.async_patch import AsyncPatch, never_clean
from strategies.batching import limited
from strategies.canvas import Canvas, Known
from strategies.conditioning import conditioned
from strategies.schedules import by_certainty, distances, fast_and_slow
from strategies.uncertainty import LookingAhead, Noticing, Regions, part_of

FIELD = GaussianField(mean=0.2, variance=0.5)
PLANE = GaussianField(rows="exponential", rows_length=2.0)

ADAPTIVE = [
    {"schedule": "uncertainty"},
    {"schedule": "uncertainty", "stretch": 3.3, "lag": 0.2, "region": 1},
    {"schedule": "dual_loop"},
    {"schedule": "dual_loop", "inner_steps": 3, "certain": 0.3, "region": 1},
    {"look_ahead": 0.5},
    {"schedule": "uncertainty", "look_ahead": 1.0},
]
adaptive = pytest.mark.parametrize(
    "options", ADAPTIVE, ids=lambda o: "-".join(map(str, o.values()))
)

# Dense solves of a dozen pixels, some hundred steps of them, and the noise of 80 they start from.
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}


class Told:
    """Independent pixels of unit variance, whose uncertainty depends on place and on what is seen.

    Attributes:
        seen: Levels, variances and images of all calls for a variance.
    """

    patch_size, multiple, channels, takes_noise_maps, estimates_variance = 8, 1, 1, True, True

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self.calls = 0

    def __call__(self, x_t, sigma, context=None):
        self.calls += 1
        return (x_t / (1 + sigma.square())).where(sigma > 0, x_t)

    def with_variance(self, x_t, sigma, context=None):
        # Of a sample's own: what is brighter is less certain.
        variance = (x_t / (1 + sigma)).mean(1, keepdim=True).exp()
        full = sigma.expand_as(variance)
        variance = (full.square() / (1 + full.square())) * variance
        self.seen.append((full, variance, x_t))
        return self(x_t, sigma), variance


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def noise(*indices: int) -> CanvasNoise:
    return CanvasNoise(0, indices or (0,), dtype=torch.float64)


def line(width: int) -> Canvas:
    return Canvas(height=1, width=width, channels=1)


def given(canvas: Canvas, columns: slice) -> Known:
    mask = torch.zeros(1, 1, canvas.height, canvas.width, dtype=torch.bool)
    mask[..., columns] = True
    return Known(normal(1, 1, canvas.height, canvas.width).where(mask, math.nan), mask)


class MadeUp(Told):
    """Says a variance that has nothing to do with anything."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def with_variance(self, x_t, sigma, context=None):
        variance = torch.rand(len(x_t), 1, *x_t.shape[-2:], generator=self.generator)
        self.seen.append((sigma, variance, x_t))
        return x_t, variance


class Constant(Told):
    """Says the same variances for ever, or one after another."""

    def __init__(self, *variances: Tensor) -> None:
        super().__init__()
        self.variances = variances

    def with_variance(self, x_t, sigma, context=None):
        self.seen.append((sigma, x_t, x_t))
        return x_t, self.variances[min(len(self.seen), len(self.variances)) - 1]


class Watched(Constant):
    """Remembers all maps of levels that it is shown, whether or not for a variance."""

    def __init__(self, *variances: Tensor) -> None:
        super().__init__(*variances)
        self.maps = []

    def __call__(self, x_t, sigma, context=None):
        self.maps.append(sigma.expand(len(x_t), 1, *x_t.shape[-2:]))
        return x_t

    def with_variance(self, x_t, sigma, context=None):
        self(x_t, sigma)
        return super().with_variance(x_t, sigma, context)


def random_regions(seed: int, *, height: int, width: int, side: int) -> Regions:
    """Three windows that know nothing, a little and a lot."""
    drawn = torch.rand(3, 1, height, width, generator=torch.Generator().manual_seed(seed))
    known = drawn < torch.tensor([0.0, 0.3, 0.8]).view(3, 1, 1, 1)
    return Regions(known, side, distances(known, side))


def walked(ladder, noticing: Noticing) -> Tensor:
    """All maps of a ladder, each asked for once there was an evaluation at the last but one."""
    maps = []
    for sigma in ladder:
        maps.append(sigma)
        if len(maps) > 1:
            noticing(maps[-2], maps[-2])
    return torch.stack(maps)


def by_region(maps: Tensor, regions: Regions, sample: int) -> Tensor:
    """What the regions of a sample have in every map, from maps in which their pixels agree."""
    found = {}
    for row, column in regions.unknown[sample, 0].nonzero().tolist():
        place = row // regions.side, column // regions.side
        pixel = maps[:, sample, 0, row, column]
        assert torch.equal(found.setdefault(place, pixel), pixel)
    return torch.stack([found[place] for place in sorted(found)], 1)


@settings(max_examples=15, deadline=None)
@hypothesis.given(
    seed=st.integers(0, 999),
    levels=st.integers(1, 6),
    stretch=st.floats(1, 5),
    lead=st.integers(1, 6),
    side=st.integers(1, 4),
)
def test_every_region_goes_down_every_level_in_the_steps_that_are_promised(
    seed, levels, stretch, lead, side
):
    # Levels are whole numbers here, so that differences of maps count them.
    sigmas, steps = torch.arange(levels, -1, -1).double(), math.ceil(stretch * levels)
    regions, noticing = random_regions(seed, height=3, width=7, side=side), Noticing(MadeUp(seed))
    maps = walked(by_certainty(sigmas, regions, noticing, steps=steps, lead=lead), noticing)
    assert len(maps) == steps + 1
    assert (maps[0] == levels).all()
    assert (maps[-1] == 0).all()
    for sample in range(3):
        own = by_region(maps, regions, sample)
        descended = own[:-1] - own[1:]
        # One level at a time, and never up.
        assert ((descended == 0) | (descended == 1)).all()
        assert (own.amax(1) - own.amin(1) <= lead).all()
        # As many as the budget says, dealt out evenly.
        total = own.shape[1] * levels
        expected = [(step + 1) * total // steps for step in range(steps)]
        assert descended.sum(1).cumsum(0).tolist() == expected
        # Known pixels are at the highest level there is.
        known = ~regions.unknown[sample, 0]
        assert (maps[:, sample, 0][:, known] == own.amax(1, keepdim=True)).all()


@settings(max_examples=15, deadline=None)
@hypothesis.given(
    seed=st.integers(0, 999),
    stretch=st.floats(1, 5),
    lead=st.integers(1, 5),
    side=st.integers(1, 3),
)
def test_no_region_goes_before_a_more_certain_one_that_may(seed, stretch, lead, side):
    levels = 5
    sigmas, steps = torch.arange(levels, -1, -1).double(), math.ceil(stretch * levels)
    regions, told = random_regions(seed, height=3, width=7, side=side), MadeUp(seed)
    noticing = Noticing(told)
    maps = walked(by_certainty(sigmas, regions, noticing, steps=steps, lead=lead), noticing)
    variances = torch.stack([variance for _, variance, _ in told.seen])
    for sample in range(3):
        own = by_region(maps, regions, sample)
        unknown = regions.unknown[sample]
        for step in range(1, steps):
            left, gone = own[step], own[step] > own[step + 1]
            means = {}
            for row, column in unknown[0].nonzero().tolist():
                place = row // side, column // side
                means.setdefault(place, []).append(variances[step - 1, sample, 0, row, column])
            means = torch.stack([torch.stack(means[place]).mean() for place in sorted(means)])
            must = left == steps - step
            may = (left > 0) & (left.amax() - left < lead) & ~must
            went, stayed = means[gone & may], means[may & ~gone]
            if len(went) and len(stayed):
                # Those within a thousandth of each other are alike.
                assert went.max() <= 1.002 * stayed.min()
            assert gone[must].all()
            if (gone & ~may & ~must).any():
                assert gone[may].all()


def known_left(width: int, samples: int = 1) -> Regions:
    """The regions of two pixels of a line of which the first two are known."""
    known = torch.zeros(samples, 1, 1, width, dtype=torch.bool)
    known[..., :2] = True
    return Regions(known, 2, distances(known, 2))


def on_pixels(*values: float) -> Tensor:
    """What pixels have, of regions of two pixels; the first one's are known, and far off."""
    return torch.tensor([9.0, 9.0, *(value for value in values for _ in range(2))]).view(
        1, 1, 1, -1
    )


@pytest.mark.parametrize(
    ("lead", "expected"),
    # Region 0 is the nearest to what is known and goes first, before anything was said.
    [(9, [0, 1, 1, 2, 2, 0]), (1, [0, 1, 2, 1, 2, 0])],
)
def test_the_order_of_three_regions_by_hand(lead, expected):
    regions = known_left(8)
    noticing = Noticing(Constant(on_pixels(0.3, 0.1, 0.2)))
    ladder = by_certainty(torch.tensor([2.0, 1.0, 0.0]), regions, noticing, steps=6, lead=lead)
    own = by_region(walked(ladder, noticing), regions, 0)
    assert (own[:-1] - own[1:]).argmax(1).tolist() == expected


def test_regions_hardly_different_go_by_their_distance():
    regions = known_left(8)
    noticing = Noticing(Constant(on_pixels(0.20001, 0.2, 0.2)))
    ladder = by_certainty(torch.tensor([2.0, 1.0, 0.0]), regions, noticing, steps=6, lead=9)
    own = by_region(walked(ladder, noticing), regions, 0)
    assert (own[:-1] - own[1:]).argmax(1).tolist() == [0, 0, 1, 1, 2, 2]


def test_the_certain_leap_and_the_others_follow_by_hand():
    regions = known_left(10)
    # Evaluations: the leap, two steps, the next leap, two steps. What the leap's evaluation says
    # decides of the next; nothing that is said in between does.
    said = [on_pixels(0.1, 0.2, 0.4, 0.3)] * 1 + [on_pixels(9.0, 9.0, 0.1, 0.1)] * 5
    noticing = Noticing(Constant(*said))
    sigmas = torch.tensor([6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    ladder = fast_and_slow(sigmas, regions, noticing, inner=2, share=0.5)
    own = by_region(walked(ladder, noticing), regions, 0)
    first = [[6, 6, 6, 6], [4, 4, 6, 6], [4, 4, 5, 5]]  # by distance
    second = [[4, 4, 4, 4], [2, 2, 4, 4], [2, 2, 3, 3]]  # as said at 6
    third = [[2, 2, 2, 2], [2, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]  # as said at 4
    assert own.tolist() == first + second + third


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(10, 0.7, 7), (100, 0.29, 29), (3, 0.5, 1), (2, 0.1, 1), (1, 0.9, 0), (0, 0.5, 0)],
)
def test_a_share_of_regions_is_rounded_down_but_is_at_least_one_of_two(count, share, expected):
    assert part_of(torch.tensor([count]), share).tolist() == [expected]


def test_regions_are_squares_and_count_what_is_unknown_of_them():
    known = torch.zeros(1, 1, 5, 7, dtype=torch.bool)
    known[..., :2, :3] = True
    known[..., 4, 6] = True
    regions = Regions(known, 3, distances(known, 3))
    values = normal(1, 1, 5, 7)
    squares = [
        (r, c) for r in (slice(0, 3), slice(3, 5)) for c in (slice(0, 3), slice(3, 6), slice(6, 7))
    ]
    expected = [values[0, 0][place][~known[0, 0][place]].mean() for place in squares]
    torch.testing.assert_close(regions.means(values)[0], torch.stack(expected), rtol=1e-12, atol=0)
    spread = regions.spread(torch.arange(6).view(1, 6))[0, 0]
    for number, place in enumerate(squares):
        assert (spread[place] == number).all()


def images(strategy: AsyncPatch, denoiser, canvas: Canvas, *indices: int, known=None) -> Tensor:
    return strategy.generate(denoiser, canvas, noise(*indices), known=known)


@pytest.mark.parametrize("solver", [Heun(num_steps=5), Euler(num_steps=6, churn=2.0)])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.0])
def test_a_stretch_of_1_is_joint_bit_for_bit(solver, guidance):
    canvas, denoiser = Canvas(height=4, width=8, channels=1), GaussianDenoiser(PLANE, patch_size=4)
    joint, stretched = (
        AsyncPatch(solver=solver, guidance=guidance, schedule=schedule, stretch=1.0)
        for schedule in ("joint", "uncertainty")
    )
    assert torch.equal(*(images(each, denoiser, canvas, 0, 1) for each in (joint, stretched)))


def saying(*order: int) -> Tensor:
    """Variances of the four regions of 8 px, the most certain first."""
    return torch.tensor([order.index(pixel // 2) + 1.0 for pixel in range(8)]).view(1, 1, 1, 8)


def places_of(watched: Watched, solver) -> list[list[int]]:
    """How many levels down the ladder the four regions were, evaluation by evaluation."""
    maps = torch.stack(watched.maps)[:, 0, 0, 0, ::2].double()
    return (maps[..., None] - solver.sigmas()).abs().argmin(-1).tolist()


def test_under_heun_the_last_evaluation_of_a_step_decides_and_the_lag_bounds():
    # At every level a step begins and ends with an evaluation; those at its beginning mislead.
    misleading, right = saying(0, 1, 2, 3), saying(3, 2, 1, 0)
    watched, solver = Watched(*[misleading, right] * 12), Heun(num_steps=3)
    # One region of four a step; with T = 3, 0.34 T is one level.
    strategy = AsyncPatch(
        solver=solver, window=(1, 8), region=2, schedule="uncertainty", stretch=4.0, lag=0.34
    )
    images(strategy, watched, line(8))
    # All four are as near to the middle: the one on the left goes first, before anything was said.
    went = [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]
    later = [1, 1, 1, 2], [1, 1, 2, 2], [1, 2, 2, 2], [2, 2, 2, 2]
    last = [2, 2, 2, 3], [2, 2, 3, 3], [2, 3, 3, 3]
    ladder = [*went, *later, *last, [3, 3, 3, 3]]
    # The last step, whose end is 0 all over, is one of Euler.
    expected = [there for pair in pairwise(ladder) for there in pair][:-1]
    assert places_of(watched, solver) == expected


def test_under_heun_the_first_evaluation_of_an_outer_step_decides_who_leaps_next():
    # An outer step is three steps, six evaluations: only its first may be heard.
    said = {0: saying(1, 0, 2, 3), 6: saying(3, 2, 1, 0)}
    watched = Watched(*(said.get(call, saying(2, 1, 0, 3)) for call in range(18)))
    strategy = AsyncPatch(
        solver=Heun(num_steps=3), window=(1, 8), region=2, schedule="dual_loop", certain=0.25
    )
    images(strategy, watched, line(8))
    places = places_of(watched, Heun(num_steps=6))
    # One of four leaps: by place, as said at the beginning, and as said at the second one's.
    assert places[1] == [2, 0, 0, 0]
    assert places[7] == [2, 4, 2, 2]
    assert places[13] == [4, 4, 4, 6]
    for outer in (0, 1, 2):
        assert places[6 * outer] == [2 * outer] * 4


def test_what_is_heard_does_not_pile_up():
    sigmas, regions = torch.arange(6, -1, -1).double(), known_left(8)
    for ladder, most in (
        (lambda noticing: by_certainty(sigmas, regions, noticing, steps=12, lead=9), 1),
        (lambda noticing: fast_and_slow(sigmas, regions, noticing, inner=2, share=0.5), 3),
    ):
        noticing, heard = Noticing(Constant(on_pixels(0.3, 0.1, 0.2))), []
        maps = ladder(noticing)
        for sigma in maps:
            heard.append(len(noticing.heard))
            noticing(sigma, sigma)
        assert max(heard) <= most


def test_looking_ahead_takes_the_share_and_the_way_that_are_asked_for():
    watched, solver = Watched(saying(2, 0, 1, 3)), Heun(num_steps=3)
    strategy = AsyncPatch(solver=solver, window=(1, 8), region=2, certain=0.25, look_ahead=0.3)
    images(strategy, watched, line(8))
    first, ahead = (torch.stack(watched.maps[k::2])[:, 0, 0, 0, ::2] for k in (0, 1))
    assert len(ahead) == 5
    share = torch.tensor([1.0, 1.0, 0.7, 1.0], dtype=torch.float64)
    torch.testing.assert_close(ahead, share * first, rtol=1e-12, atol=0)  # rounding


def test_the_most_certain_of_a_few_leap_however_small_the_share():
    watched = Watched(saying(2, 0, 1, 3))
    settings = {"solver": Euler(num_steps=2), "window": (1, 8), "region": 2, "certain": 0.1}
    images(AsyncPatch(schedule="dual_loop", **settings), watched, line(8))
    assert places_of(watched, Euler(num_steps=4))[1] == [2, 0, 0, 0]
    watched = Watched(saying(2, 0, 1, 3))
    images(AsyncPatch(look_ahead=0.5, **settings), watched, line(8))
    assert (watched.maps[1] < watched.maps[0])[0, 0, 0, ::2].tolist() == [False, False, True, False]


def fresh_noise(options: dict, churn: float) -> Tensor:
    """Of every pixel, the sum of ln(1 + gamma) over all that it was raised."""
    watched, solver = Watched(saying(3, 1, 0, 2)), Euler(num_steps=8, churn=churn)
    strategy = AsyncPatch(solver=solver, window=(1, 8), region=2, **options)
    images(strategy, watched, line(8))
    ladder = 2 * solver.num_steps if options["schedule"] == "dual_loop" else solver.num_steps
    sigmas = Euler(num_steps=ladder).sigmas()[:-1]
    seen = torch.stack([levels[0, 0, 0] for levels in watched.maps])
    # Nothing is raised by half of the way to the next level.
    raised = (seen[..., None] / sigmas).log()
    nearest = raised.gather(-1, raised.abs().argmin(-1, keepdim=True))[..., 0]
    return nearest.where(seen > 0, 0.0).sum(0)


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "wavefront"},
        {"schedule": "sequential"},
        {"schedule": "uncertainty"},
        {"schedule": "uncertainty", "stretch": 4.5},
    ],
)
def test_every_schedule_churns_as_much_as_joint(options):
    churn = 0.4
    joint = fresh_noise({"schedule": "joint"}, churn)
    expected = torch.full((8,), 8 * math.log1p(churn / 8), dtype=torch.float64)
    for found in (joint, fresh_noise(options, churn)):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)  # rounding


def test_a_dual_loop_churns_by_the_levels_of_its_own_ladder():
    found = fresh_noise({"schedule": "dual_loop"}, 0.4)
    # First the two regions on the left leap, then those that are said to: 3 and 1. Eight outer
    # steps of two levels; a leap is one of them.
    each = math.log1p(0.4 / 16)
    leaps = torch.tensor([1, 8, 0, 7]).repeat_interleave(2).double()
    torch.testing.assert_close(found, each * (16 - leaps), rtol=1e-9, atol=0)  # rounding


@adaptive
@pytest.mark.parametrize("solver", [Heun(num_steps=4), Euler(num_steps=4, churn=1.0)])
def test_a_sample_has_its_own_order_and_is_what_it_is_alone(options, solver):
    options = {"region": 2} | options
    strategy = AsyncPatch(solver=solver, window=(2, 6), guidance=1.5, **options)
    mask = torch.zeros(3, 1, 2, 6, dtype=torch.bool)
    mask[0, ..., :3] = mask[2, ..., 0, :] = True
    known = Known(normal(3, 1, 2, 6), mask)
    told = Told()
    together = strategy.fill(told, known, WindowNoise(noise(0, 1, 2), ["a"]))
    for k in range(3):
        own = Known(known.y[k : k + 1], mask[k : k + 1])
        alone = strategy.fill(Told(), own, WindowNoise(noise(k), ["a"]))
        torch.testing.assert_close(together[k : k + 1], alone, **ROUNDING)


def test_samples_that_know_the_same_go_their_own_ways():
    told, canvas = Told(), line(8)
    strategy = AsyncPatch(
        solver=Euler(num_steps=4), window=(1, 8), schedule="uncertainty", region=1
    )
    images(strategy, told, canvas, 0, 1)
    maps = torch.stack([sigma for sigma, _, _ in told.seen])
    assert not torch.equal(maps[:, 0], maps[:, 1])


@adaptive
def test_neither_batches_nor_the_order_of_windows_change_an_image(options, tmp_path):
    canvas = Canvas(height=4, width=10, channels=1)
    base = {"solver": Heun(num_steps=3), "window": 4, "overlap": 2, **options}
    whole = images(AsyncPatch(**base), Told(), canvas, 0, 1)
    variants = [
        (AsyncPatch(**base, max_batch=1), Told()),
        (AsyncPatch(**base, order="raster"), Told()),
        (AsyncPatch(**base), ExactBatch(Told(), 3)),
        (AsyncPatch(**base), FittingBatch(Told(), Memory(tmp_path / "m.json", "an abacus"))),
    ]
    for strategy, denoiser in variants:
        # The denoiser is elementwise: batches do not even round differently.
        assert torch.equal(images(strategy, denoiser, canvas, 0, 1), whole)


@adaptive
@pytest.mark.parametrize("weak_branch", ["current_level", "pure_noise"])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.0])
def test_known_pixels_come_back_bit_by_bit_and_enter_clean(options, guidance, weak_branch):
    canvas, told = line(14), Told()
    known = given(canvas, slice(3, 6))
    strategy = AsyncPatch(
        solver=Heun(num_steps=3),
        window=(1, 8),
        guidance=guidance,
        weak_branch=weak_branch,
        **options,
    )
    image = images(strategy, told, canvas, 0, 1, known=known)
    assert image.isfinite().all()
    assert torch.equal(image[..., 3:6], known.y[..., 3:6].expand(2, 1, 1, 3))
    if guidance:
        # What decides is the branch that sees them clean.
        assert all((sigma == 0).any() for sigma, _, _ in told.seen)


# Solver steps of a window, for so many levels.
COSTS = [
    ({}, lambda levels: levels),
    ({"look_ahead": 0.5}, lambda levels: levels),
    ({"schedule": "uncertainty"}, lambda levels: 2 * levels),
    # 1.1 * 10 is a little more than 11.
    ({"schedule": "uncertainty", "stretch": 1.1}, lambda levels: -(-11 * levels // 10)),
    ({"schedule": "uncertainty", "stretch": 4.0, "look_ahead": 0.5}, lambda levels: 4 * levels),
    ({"schedule": "dual_loop"}, lambda levels: 3 * levels),
    ({"schedule": "dual_loop", "inner_steps": 3}, lambda levels: 4 * levels),
]


@pytest.mark.parametrize(("options", "steps_of"), COSTS)
@pytest.mark.parametrize("guidance", [pytest.param(0.0, marks=pytest.mark.slow), 2.0])
def test_what_a_window_costs_is_what_is_documented(options, steps_of, guidance):
    ahead = 2 if "look_ahead" in options else 1
    for solver, evaluations in (
        (Heun(num_steps=3), 2 * steps_of(3) - 1),
        (Euler(num_steps=10), steps_of(10)),
    ):
        strategy = AsyncPatch(solver=solver, window=(1, 4), guidance=guidance, **options)
        for known, weak in ((None, 0), (given(line(4), slice(0, 2)), 1 if guidance else 0)):
            metered = NFECounter(Told())
            images(strategy, metered, line(4), 0, 1, known=known)
            assert metered.calls == evaluations * (ahead + weak)
            assert metered.patches == 2 * metered.calls
            assert metered.pixels == 4 * metered.patches


@pytest.mark.parametrize(
    ("options", "steps_of"),
    [*COSTS[:4], *(pytest.param(*cost, marks=pytest.mark.slow) for cost in COSTS[4:])],
)
def test_a_budget_buys_the_steps_that_fit(options, steps_of):
    free = FreeDenoiser.like(Told())
    ahead = 2 if "look_ahead" in options else 1

    def make(steps: int) -> AsyncPatch:
        return AsyncPatch(solver=Euler(num_steps=steps), window=(1, 4), overlap=2, **options)

    # Three windows of 4 px on 8.
    cost = {steps: ahead * steps_of(steps) * 12 / 8 for steps in range(2, 99)}
    budget = cost[3] + 0.1
    expected = max(steps for steps, one in cost.items() if one <= budget)
    assert steps_within(make, free, line(8), budget) == expected


def test_the_free_denoiser_knows_how_far_off_it_is():
    free, x_t = FreeDenoiser.like(Told()), torch.randn(2, 1, 3, 3)
    field = GaussianDenoiser(GaussianField(columns="independent"), patch_size=3)
    sigma = torch.tensor([0.0, 1.7]).view(2, 1, 1, 1)
    for said, true in zip(
        free.with_variance(x_t, sigma), field.with_variance(x_t, sigma), strict=True
    ):
        torch.testing.assert_close(said, true)
    assert not FreeDenoiser.like(Silent()).estimates_variance


class Silent:
    """Does not know how far off it is."""

    patch_size, multiple, channels, takes_noise_maps = 8, 1, 1, True

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x_t, sigma, context=None):
        self.calls += 1
        return x_t


@adaptive
def test_a_denoiser_that_says_no_variance_is_refused_before_any_call(options):
    for silent in (Silent(), NFECounter(Silent()), ExactBatch(Silent(), 2)):
        with pytest.raises(ValueError, match=r"estimates_variance is False\): take one trained"):
            images(AsyncPatch(window=(1, 8), **options), silent, line(12))
        assert not getattr(silent, "calls", 0)


@pytest.mark.parametrize("schedule", ["uncertainty", "dual_loop"])
@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
def test_solvers_that_remember_are_refused(schedule):
    strategy = AsyncPatch(solver=Diffusers(num_steps=5), window=(1, 8), schedule=schedule)
    with pytest.raises(ValueError, match=f"the {schedule} schedule .* solver=heun or solver=euler"):
        images(strategy, Told(), line(12))


class Conditional(Told):
    """Adds its context, and half of it to the variance; remembers the sizes of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = []

    def __call__(self, x_t, sigma, context=None):
        self.sizes.append(len(x_t))
        return x_t / (1 + sigma) + context.view(-1, 1, 1, 1)

    def with_variance(self, x_t, sigma, context=None):
        variance = (sigma + x_t.square() + context.view(-1, 1, 1, 1)).mean(1, keepdim=True)
        return self(x_t, sigma, context), variance


WRAPPERS = {
    "limited": (lambda denoiser, path: limited(denoiser, 2), [2, 2, 1]),
    "conditioned": (lambda denoiser, path: conditioned(denoiser, torch.zeros(5)), [5]),
    "metered": (lambda denoiser, path: NFECounter(denoiser), [5]),
    "fitting": (lambda denoiser, path: FittingBatch(denoiser, small_memory(path)), [2, 2, 1]),
    "exact": (lambda denoiser, path: ExactBatch(denoiser, 3), [3, 3]),
    "never clean": (lambda denoiser, path: never_clean(denoiser, 0.1), [5]),
}


def small_memory(path) -> Memory:
    memory = Memory(path / "window_batch.json", "an abacus")
    memory.remember(2 * 12)
    return memory


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("rows", [1, 5])
def test_wrappers_ask_for_the_variance_as_they_ask_for_the_estimate(name, rows, tmp_path):
    wrap, sizes = WRAPPERS[name]
    x_t, sigma, context = normal(5, 1, 3, 4), 1 + normal(rows, 1, 3, 4).abs(), normal(5)
    inner = Conditional()
    wrapped = wrap(inner, tmp_path)
    assert wrapped.estimates_variance
    for said, true in zip(
        wrapped.with_variance(x_t, sigma, context),
        Conditional().with_variance(x_t, sigma, context),
        strict=True,
    ):
        assert torch.equal(said, true)
    assert inner.sizes == sizes
    assert torch.equal(wrapped(x_t, sigma, context), Conditional()(x_t, sigma, context))
    assert inner.sizes == 2 * sizes
    silent = wrap(Silent(), tmp_path)
    assert not silent.estimates_variance
    with pytest.raises(ValueError, match="does not say how far off its estimates are"):
        silent.with_variance(x_t, sigma)


def test_a_variance_is_one_call_and_is_timed_as_one():
    class Slow(Told):
        def with_variance(self, x_t, sigma, context=None):
            now[0] += 3.0
            return x_t, sigma.expand(len(x_t), 1, *x_t.shape[-2:])

    now = [0.0]
    metered = NFECounter(Slow(), clock=lambda: now[0])
    metered.with_variance(normal(2, 1, 3, 4), torch.ones(1, 1, 1, 1).double())
    assert (metered.calls, metered.patches, metered.pixels, metered.seconds) == (1, 2, 24, 3.0)


def test_a_pixel_said_to_be_at_the_clean_level_has_no_variance():
    sigma = torch.tensor([0.0, 2.0, 0.0, 1.0]).double().view(1, 1, 1, 4)
    told = Told()
    x0_hat, variance = never_clean(told, 0.1).with_variance(x_t := normal(1, 1, 1, 4), sigma)
    ((levels, said, _),) = told.seen
    assert levels[0, 0, 0].tolist() == [0.1, 2.0, 0.1, 1.0]
    assert torch.equal(variance, said.where(sigma > 0, 0.0))
    assert torch.equal(x0_hat[sigma == 0], x_t[sigma == 0])


def conditional(x: Tensor, levels: Tensor) -> Tensor:
    """E[x0 | x] where pixel i of x has noise of deviation levels_i: the textbook's formula."""
    K = FIELD.covariance(1, len(x))
    gain = torch.linalg.solve(K + levels.square().diag(), K).mT
    return FIELD.mean + gain @ (x - FIELD.mean)


@pytest.mark.parametrize("ahead", [0.3, 1.0])
def test_looking_ahead_shows_the_uncertain_where_the_certain_are_going(ahead):
    # Regions of two pixels: that at the lowest level is the most certain, the one next to the
    # clean pixels comes second.
    levels = torch.tensor([0.0, 0.0, 3.0, 3.0, 0.4, 0.4, 1.5, 1.5]).double()
    regions = known_left(8, samples=2)
    wrapped = LookingAhead(GaussianDenoiser(FIELD, patch_size=8), regions, share=0.7, ahead=ahead)
    x_t = normal(2, 1, 1, 8)
    sigma = levels.view(1, 1, 1, 8)
    x0_hat, variance = wrapped.with_variance(x_t, sigma)
    certain = torch.tensor([0, 0, 1, 1, 1, 1, 0, 0]).bool()
    # An observation without noise, but for the last of 16 digits.
    floored = levels.clamp(min=1e-15)
    for k in range(2):
        x = x_t[k, 0, 0]
        first = conditional(x, floored)
        moved = x + ahead * (first - x)
        shown = torch.where(certain, moved, x)
        second = conditional(
            shown, torch.where(certain, (1 - ahead) * levels, levels).clamp(min=1e-15)
        )
        expected = torch.where(certain, first, second)
        torch.testing.assert_close(x0_hat[k, 0, 0], expected, **ROUNDING)
    K = FIELD.covariance(1, 8)
    posterior = (K - K @ torch.linalg.solve(K + floored.square().diag(), K)).diagonal()
    torch.testing.assert_close(variance, posterior.expand(2, 1, 1, 8), **ROUNDING)
    assert torch.equal(wrapped(x_t, sigma), x0_hat)


def test_looking_all_the_way_ahead_changes_nothing_on_a_gaussian_field():
    # The other pixels' estimate is linear in the clean ones, so that the mean of these does for
    # them all; part of the way counts what x_t says twice.
    denoiser, x_t = GaussianDenoiser(FIELD, patch_size=8), normal(3, 1, 1, 8)
    sigma = torch.tensor([0.0, 0.0, 3.0, 3.0, 0.4, 0.4, 1.5, 1.5]).double().view(1, 1, 1, 8)
    regions = known_left(8, samples=3)
    near, far = (
        (LookingAhead(denoiser, regions, share=0.7, ahead=ahead)(x_t, sigma) - denoiser(x_t, sigma))
        for ahead in (1.0, 0.5)
    )
    assert near.abs().max() < 1e-9  # rounding, as above
    assert far.abs().max() > 1e-2


def test_regions_without_noise_are_no_part_of_the_share():
    # One of two noisy regions is half of them; the clean third would be the most certain of all.
    levels = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.4, 0.4, 1.5, 1.5]).double().view(1, 1, 1, 8)
    regions = known_left(8)
    seen = []

    class Watched(Told):
        def __call__(self, x_t, sigma, context=None):
            seen.append(sigma)
            return x_t

    ahead = LookingAhead(Watched(), regions, share=0.5, ahead=0.5)
    ahead(torch.zeros(1, 1, 1, 8).double(), levels)
    expected = [0.0, 0.0, 0.0, 0.0, 0.2, 0.2, 1.5, 1.5]
    assert seen[-1].flatten().tolist() == pytest.approx(expected)
