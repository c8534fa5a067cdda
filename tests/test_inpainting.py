import dataclasses
import math
import types
from pathlib import Path

import pytest
import torch
from PIL import Image as Picture
from torchmetrics.functional.image import peak_signal_noise_ratio

from benchmarks.inpainting.__main__ import Inpainting, main
from benchmarks.inpainting.completion import Completer
from benchmarks.inpainting.figures import diversity_figure, mean_figure, psnr, squared_errors
from benchmarks.inpainting.masks import SHARED, different_masks, known_pixels
from benchmarks.inpainting.picture import draw_grid, masked
from benchmarks.inpainting.records import CompletionResults, CompletionRow, Figure
from benchmarks.inpainting.study import Study
from benchmarks.inpainting.table import COLUMNS, document
from benchmarks.tables.columns import ABSENT, columns_of
from datamodules.landscapes import Landscapes
from denoisers.checkpoint import save_denoiser
from denoisers.gaussian import GaussianDenoiser, GaussianField
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import Spent, spent_on, steps_within
from patchcanvas.files import lock, unlock
from patchcanvas.making import as_known
from patchcanvas.pictures import read_picture
from patchcanvas.records import read_record, write_record
from sampling.solvers import Euler, Heun
from strategies.async_patch import AsyncPatch
from strategies.canvas import Canvas, Known
from strategies.catalogue import strategy_class
from strategies.lshape_repaint import LShapeRepaint
from strategies.naive import Naive
from strategies.replacement import Replacement
from studies.guidance.__main__ import main as guidance
from studies.guidance.figures import halves_compared, signed, unsigned
from studies.guidance.picture import lines
from studies.guidance.plan import guided, row_name
from studies.guidance.table import document as guidance_document

SIDE = 8
COMPARED = ("async_patch", "replacement", "reconstruction", "lshape_repaint")
# Deviation 0.2: five of them fit between black and white.
FIELD = GaussianField(
    rows="exponential",
    columns="exponential",
    rows_length=4.0,
    columns_length=4.0,
    variance=0.04,
    channels=3,
)
ORACLE = GaussianDenoiser(FIELD, patch_size=SIDE)
GREY = 127.5  # grey levels of one unit


def masks_of(name: str, count: int = 1, side: int = SIDE, seed: int = 0):
    return known_pixels(name, side, side, indices=range(count), seed=seed)


# Masks


@pytest.mark.parametrize(
    ("name", "unknown"), [("half", 512), ("box", 256), ("random_50", 512), ("random_90", 922)]
)
def test_the_share_of_unknown_pixels_is_exact(name: str, unknown: int):
    known = masks_of(name, count=SHARED + 1, side=32)
    assert (~known).sum((1, 2, 3)).tolist() == [unknown] * (SHARED + 1)


def test_the_half_is_the_left_one_and_the_box_is_in_the_middle():
    assert masks_of("half")[0, 0].int().tolist() == [[1] * 4 + [0] * 4] * 8
    edge, middle = [1] * 8, [1, 1, 0, 0, 0, 0, 1, 1]
    assert masks_of("box")[0, 0].int().tolist() == [edge] * 2 + [middle] * 4 + [edge] * 2


def test_random_masks_are_those_of_the_image_and_the_seed_whatever_the_batch():
    known = masks_of("random_50", count=2 * SHARED)
    assert torch.equal(known[0], known[SHARED - 1])
    assert not torch.equal(known[0], known[SHARED])
    later = known_pixels("random_50", SIDE, SIDE, indices=[SHARED + 3], seed=0)
    assert torch.equal(later[0], known[SHARED])
    assert not torch.equal(masks_of("random_50", seed=1), masks_of("random_50"))


def test_random_masks_are_random_everywhere():
    known = known_pixels("random_90", SIDE, SIDE, indices=range(0, 400 * SHARED, SHARED), seed=0)
    # 64 pixels, 6 of them known, in 400 masks: the standard error of a pixel's share is 0.015.
    shares = known.double().mean((0, 1))
    assert (shares - 6 / 64).abs().max().item() < 5 * 0.015


@pytest.mark.parametrize("name", ["half", "box"])
def test_masks_that_leave_nothing_are_refused(name: str):
    with pytest.raises(ValueError, match=f"mask {name} must leave something to make and something"):
        known_pixels(name, 1, 1, indices=[0], seed=0)


# Figures


def pictures(count: int = 6, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)


def test_psnr_is_that_of_torchmetrics_on_the_unknown_pixels():
    originals, images = pictures(seed=1), pictures(seed=2)
    unknown = ~masks_of("random_90", count=6)
    ours = psnr(squared_errors(images, originals, unknown))
    for number in range(6):
        place = unknown[number].expand(3, -1, -1)
        theirs = peak_signal_noise_ratio(
            images[number][place].double(), originals[number][place].double(), data_range=255.0
        )
        assert ours[number].item() == pytest.approx(theirs.item(), rel=1e-6)  # theirs is float32


def test_known_pixels_play_no_part():
    originals, unknown = pictures(), ~masks_of("box", count=6)
    images = originals.where(unknown, 255 - originals)
    assert squared_errors(images, originals, unknown).tolist() == [0.0] * 6
    assert psnr(torch.zeros(1).double()).item() == pytest.approx(58.92, abs=0.005)


def test_a_mean_has_the_standard_error_of_a_mean():
    assert mean_figure(torch.tensor([1.0, 2.0, 3.0]).double()) == Figure(2.0, 1 / math.sqrt(3))


def test_samples_of_one_distribution_have_a_spread_of_1_and_its_error_is_right():
    generator = torch.Generator().manual_seed(0)
    truth, first, again = torch.randn(3, 400, 50, 8, generator=generator, dtype=torch.float64)
    between = (first - again).square().mean(-1)
    errors = ((first - truth).square() + (again - truth).square()).mean(-1) / 2
    # In grey levels, far above rounding.
    found = [diversity_figure(100 * b, 100 * e) for b, e in zip(between, errors, strict=True)]
    values = torch.tensor([figure.value for figure in found])
    claimed = torch.tensor([figure.error for figure in found])
    # A ratio of means is biased by O(1 / 50) of its variance; 400 values of deviation 0.06.
    assert values.mean().item() == pytest.approx(1.0, abs=0.02)
    # 400 values tell their deviation to 4 %; first order is 50 images short of exact.
    assert claimed.mean().item() == pytest.approx(values.std().item(), rel=0.2)


def test_completions_that_are_all_alike_have_no_spread():
    zero, errors = torch.zeros(5).double(), torch.full((5,), 9.0).double()
    assert diversity_figure(zero, errors) == Figure(0.0, 0.0)
    assert diversity_figure(errors, errors) == Figure(1.0, 0.0)
    # Plain skies, completed to the bit: nothing is known better than rounding.
    assert diversity_figure(zero, zero) == Figure(0.0, 0.0)


def test_the_error_of_a_frechet_distance_is_one_standard_error():
    generator = torch.Generator().manual_seed(3)
    deviations = torch.tensor([40.0, 20.0, 10.0]).view(1, 3, 1, 1)

    def colours(images):
        return images.double().mean((2, 3))

    def drawn(count):
        images = 128 + deviations * torch.randn(count, 3, 1, 1, generator=generator)
        return images.round().clamp(0, 255).to(torch.uint8).expand(-1, -1, 4, 4)

    study = types.SimpleNamespace(
        features=colours,
        settings=types.SimpleNamespace(seed=0),
        _reference=types.SimpleNamespace(features=colours(drawn(400)) - 60),
    )
    found = [Study.frechet(study, drawn(100)) for _ in range(30)]
    values = torch.tensor([figure.value for figure in found])
    claimed = torch.tensor([figure.error for figure in found])
    # 30 values tell their deviation to 13 %; without the quantile it would be 96 % off.
    assert claimed.mean().item() == pytest.approx(values.std().item(), rel=0.4)


# Equal cost

GIVEN = as_known(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), masks_of("half"))
CANVAS = Canvas(height=SIDE, width=SIDE)


def maker(name: str, **settings):
    return lambda steps: strategy_class(name)(solver=Heun(num_steps=steps), **settings)


def found_steps(make, budget: float, weight: float = 1.0, canvas=CANVAS, known=GIVEN) -> int:
    return steps_within(make, ORACLE, canvas, budget, known=known, gradient_weight=weight)


def walked(name: str, steps: int) -> int:
    """Evaluations of Heun on one window: RePaint leaves all levels but the lowest 5 times."""
    return 2 * (steps + 4 * (steps - 1) if name == "lshape_repaint" else steps) - 1


@pytest.mark.parametrize("budget", [11.0, 16.0])
@pytest.mark.parametrize(
    ("name", "weight"),
    [*((name, 1.0) for name in COMPARED), ("reconstruction", 0.0), ("reconstruction", 1.5)],
)
def test_every_strategy_gets_the_most_steps_within_the_budget(name, budget, weight):
    gradients = weight if name == "reconstruction" else 0.0
    expected = max(n for n in range(2, 100) if (1 + gradients) * walked(name, n) <= budget)
    assert found_steps(maker(name), budget, weight) == expected


@pytest.mark.parametrize(
    ("mask", "budget"), [("half", 12.0), pytest.param("random_90", 17.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", COMPARED)
def test_the_budget_is_kept_under_every_mask_and_one_step_more_exceeds_it(name, mask, budget):
    canvas = Canvas(height=SIDE, width=2 * SIDE)
    known = as_known(
        torch.zeros(1, 3, SIDE, 2 * SIDE, dtype=torch.uint8),
        known_pixels(mask, SIDE, 2 * SIDE, indices=[0], seed=0),
    )
    steps = found_steps(maker(name), budget, canvas=canvas, known=known)
    costs = [
        spent_on(maker(name)(n), ORACLE, canvas, known=known).total(1.0) for n in (steps, steps + 1)
    ]
    assert costs[0] <= budget < costs[1]


def test_windows_that_are_given_cost_nothing():
    # The left half of 3 windows that overlap by half: the first is known, 2 are left.
    canvas = Canvas(height=SIDE, width=2 * SIDE)
    blank = torch.zeros(1, 3, SIDE, 2 * SIDE, dtype=torch.uint8)
    known = as_known(blank, known_pixels("half", SIDE, 2 * SIDE, indices=[0], seed=0))
    spent = spent_on(AsyncPatch(solver=Euler(num_steps=5)), ORACLE, canvas, known=known)
    assert spent == Spent(evaluations=5.0, gradients=0.0)


def test_random_masks_are_planned_by_their_mean_cost():
    # In two canvases of three windows each: nothing is given of one, the first window of the other.
    canvas = Canvas(height=SIDE, width=2 * SIDE)
    mask = torch.zeros(2, 1, SIDE, 2 * SIDE, dtype=torch.bool)
    mask[0, ..., 0, -1], mask[1, ..., :SIDE] = True, True
    known = as_known(torch.zeros(2, 3, SIDE, 2 * SIDE, dtype=torch.uint8), mask)
    apart = [
        spent_on(
            maker("async_patch")(4), ORACLE, canvas, known=Known(known.y[[k]], mask[[k]])
        ).evaluations
        for k in (0, 1)
    ]
    assert apart == [10.5, 7.0]
    assert spent_on(maker("async_patch")(4), ORACLE, canvas, known=known).evaluations == 8.75
    assert found_steps(maker("async_patch"), 8.75, canvas=canvas, known=known) == 4
    assert found_steps(maker("async_patch"), 8.7, canvas=canvas, known=known) == 3


@pytest.mark.parametrize(("name", "masks"), [("random_50", 3), ("half", 1)])
def test_a_plan_sees_every_mask_of_a_run_once(name, masks):
    count = 2 * SHARED + 1
    seen = different_masks(name, SIDE, SIDE, count=count, seed=0)
    assert len(seen) == masks
    assert torch.equal(seen, masks_of(name, count=count)[::SHARED][:masks])


def test_guidance_is_part_of_the_budget():
    assert found_steps(maker("async_patch"), 8.0) == 4
    assert found_steps(maker("async_patch", guidance=2.0), 8.0) == 2
    assert found_steps(maker("async_patch", guidance=0.0), 8.0) == 4


def test_strategies_that_need_more_steps_begin_there():
    def make(steps: int) -> LShapeRepaint:
        return LShapeRepaint(solver=Euler(num_steps=steps), jump_length=4, jump_n_sample=2)

    # 5 steps, and one stretch of 4 again.
    assert found_steps(make, 9.0) == 5
    with pytest.raises(ValueError, match=r"at least 9 evaluated.*which are 5 steps.*got 8\.9"):
        found_steps(make, 8.9)


def test_costs_that_do_not_grow_are_refused():
    with pytest.raises(ValueError, match="more steps must cost more"):
        found_steps(lambda steps: AsyncPatch(solver=Euler(num_steps=4)), 64.0)


def test_what_can_never_be_built_says_why():
    with pytest.raises(ValueError, match="jump_length must be at least 1"):
        found_steps(maker("lshape_repaint", jump_length=0), 64.0)


# A field whose answer is known


def field_images(count: int):
    generator = torch.Generator().manual_seed(5)
    eps = torch.randn(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return (FIELD.sample(eps) + 1).mul(GREY).round().clamp(0, 255).to(torch.uint8)


def completer(seed: int = 0, batch_size: int = 128) -> Completer:
    return Completer(NFECounter(ORACLE), CANVAS, seed, torch.device("cpu"), batch_size)


def test_a_denoiser_that_takes_known_pixels_is_told_them():
    class Listening:
        patch_size, multiple, channels, takes_noise_maps = SIDE, 2, 3, True
        takes = frozenset({"known"})

        def __call__(self, x_t, sigma, context=None):
            self.told = context
            return torch.zeros_like(x_t)

    listening, known = Listening(), masks_of("half").expand(2, -1, -1, -1)
    complete = Completer(NFECounter(listening), CANVAS, 0, torch.device("cpu"), 2)
    complete(Replacement(solver=Heun(num_steps=2)), field_images(2), known, attempt=0)
    assert torch.equal(listening.told.known, known.to(listening.told.known))


def posterior_variances(known) -> torch.Tensor:
    """Of the unknown pixels, given the others: a Schur complement, in squared grey levels."""
    covariance, given = FIELD.covariance(SIDE, SIDE), known.flatten()
    gain = torch.linalg.solve(covariance[given][:, given], covariance[given][:, ~given])
    rest = covariance[~given][:, ~given] - covariance[~given][:, given] @ gain
    return rest.diagonal() * GREY**2


@pytest.mark.parametrize("mask", ["half", "random_50"])
def test_async_patch_samples_the_conditional_of_a_field(mask: str):
    count = 256
    originals, known = field_images(count), masks_of(mask)
    # From 20 deviations of the field: no need for 400.
    strategy = AsyncPatch(solver=Heun(num_steps=20, sigma_max=4.0))
    complete = completer()
    masks = known.expand(count, -1, -1, -1)
    made = [complete(strategy, originals, masks, attempt=k).images for k in (0, 1)]
    errors = [squared_errors(images, originals, ~masks) for images in made]
    figure = mean_figure(sum(errors) / 2)
    # A sample and the truth are two draws of one distribution. Steps of finite length add less
    # than 1 % of the deviation, rounding 2 / 12 of a squared grey level.
    expected = 2 * posterior_variances(known).mean().item() + 2 / 12
    assert figure.value == pytest.approx(expected, abs=5 * figure.error + 0.02 * expected)
    assert figure.error < 0.05 * expected
    decibels = 10 * math.log10(255**2 / expected)
    assert psnr(torch.tensor([figure.value]).double()).item() == pytest.approx(decibels, abs=0.8)
    spread = diversity_figure(squared_errors(*made, ~masks), sum(errors) / 2)
    assert spread.value == pytest.approx(1.0, abs=5 * spread.error)
    assert spread.error < 0.05


def test_replacement_is_further_from_the_truth():
    # Its known bias: the unknown half learns of the known one through noisy pixels alone.
    count, known = 256, masks_of("half").expand(256, -1, -1, -1)
    originals, complete = field_images(count), completer()
    errors = [
        squared_errors(complete(kind(solver=Heun(num_steps=16)), originals, known).images,
                       originals, ~known).mean().item()
        for kind in (Replacement, AsyncPatch)
    ]  # fmt: skip
    assert errors[0] > 1.1 * errors[1]


def test_known_pixels_come_back_and_unknown_ones_are_never_read():
    originals, known = field_images(40), masks_of("random_90", count=40)
    strategy = AsyncPatch(solver=Euler(num_steps=3))
    made = completer()(strategy, originals, known).images
    assert torch.equal(made.where(known, 0), originals.where(known, 0))
    other = originals.where(known, 255 - originals)
    assert torch.equal(completer()(strategy, other, known).images, made)


def test_an_image_has_its_own_noise_whatever_the_batch():
    originals, known = field_images(40), masks_of("random_50", count=40)
    strategy = AsyncPatch(solver=Euler(num_steps=3))
    made = completer()(strategy, originals, known).images
    # Sums in another order may round a value on a half to the other side.
    parts = completer(batch_size=7)(strategy, originals, known).images
    assert (made.int() - parts.int()).abs().max().item() <= 1
    for other in (completer()(strategy, originals, known, attempt=1),
                  completer(seed=1)(strategy, originals, known)):  # fmt: skip
        assert not torch.equal(other.images, made)


def test_what_was_spent_is_counted_for_each_image():
    told = []
    originals, known = field_images(5), masks_of("half", count=5)
    strategy = strategy_class("reconstruction")(solver=Heun(num_steps=3))
    complete = completer(batch_size=2)
    for _ in range(2):  # every run starts from nothing
        made = complete(strategy, originals, known, advance=told.append)
        assert made.spent == Spent(evaluations=5.0, gradients=5.0)
    assert made.spent == spent_on(strategy, ORACLE, CANVAS, known=GIVEN)
    assert told == [2, 2, 1] * 2


def test_seconds_are_those_of_an_image(monkeypatch):
    clock = iter((3.0, 13.0))
    monkeypatch.setattr("benchmarks.inpainting.completion.time.perf_counter", lambda: next(clock))
    known, strategy = masks_of("half", count=5), AsyncPatch(solver=Euler(num_steps=2))
    assert completer(batch_size=2)(strategy, field_images(5), known).seconds == 2.0


# Texture of halves


def test_a_half_of_twice_the_contrast_has_four_times_the_energy():
    pattern = torch.tensor([[0, 40], [80, 20]]).repeat(SIDE // 2, SIDE // 2)
    halves = torch.cat([50 + pattern // 2, 50 + pattern], dim=1).to(torch.uint8)
    figures = halves_compared(halves.expand(4, 3, SIDE, 2 * SIDE))
    for name in ("gradient", "fine"):
        assert figures[signed(name)].value == pytest.approx(2.0)
        assert figures[unsigned(name)].value == pytest.approx(2.0)
    assert figures[signed("contrast")].value == pytest.approx(1.0)
    # Means of 17.5 and 35 above 50, in each of three channels.
    assert figures[unsigned("colour")].value == pytest.approx(17.5 * math.sqrt(3))
    turned = halves_compared(halves.flip(-1).expand(4, 3, SIDE, 2 * SIDE))
    assert turned[signed("fine")].value == pytest.approx(-2.0)
    assert turned[unsigned("fine")].value == pytest.approx(2.0)


def test_what_is_sharper_here_and_smoother_there_cancels_in_one_mean_and_not_in_the_other():
    pattern = torch.tensor([[0, 40], [80, 20]]).repeat(SIDE // 2, SIDE // 2)
    halves = torch.cat([50 + pattern // 2, 50 + pattern], dim=1).to(torch.uint8)
    both = torch.stack([halves, halves.flip(-1)]).unsqueeze(1).repeat(1, 3, 1, 1)
    figures = halves_compared(both)
    assert figures[signed("gradient")].value == pytest.approx(0.0, abs=1e-12)
    assert figures[unsigned("gradient")].value == pytest.approx(2.0)


# Commands

MOODY = "tests.test_inpainting.Moody"
behaviour = {"raise": None, "runs": [], "after": 0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moody(Naive):
    """Naive tiling that notes its runs, and fails when told to."""

    def generate(self, denoiser, canvas, noise, *, known=None, context=None):
        if len(noise) > 1:  # a dry run has one sample
            behaviour["runs"].append(int(known.mask.sum()))
            if behaviour["raise"] is not None and len(behaviour["runs"]) > behaviour["after"]:
                raise behaviour["raise"]
        return super().generate(denoiser, canvas, noise, known=known, context=context)


@pytest.fixture(autouse=True)
def _calm():
    behaviour.update({"raise": None, "runs": [], "after": 0})


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    save_denoiser(EDMPrecond(network, 16), path, provenance={"command": "none: untrained"})
    return path


@pytest.fixture
def arguments(weights, tmp_path) -> list[str]:
    return [
        f"denoiser={weights}",
        f"results={tmp_path / 'results'}",
        f"cache={tmp_path / 'cache'}",
        "num_samples=4",
        "num_reference=8",
        "pictures=2",
        "device=cpu",
    ]


def folders(tmp_path) -> list[Path]:
    return sorted((tmp_path / "results").glob("*/"))


def results_in(folder: Path) -> CompletionResults:
    return read_record(CompletionResults, folder / CompletionResults.FILE)


CHOSEN = (f"strategy={MOODY},async_patch", "masks=half,box", "pairs=2")
CHOSEN += ("budget=4",)


def inpainting(arguments: list[str], *more: str) -> int:
    return main([*arguments, *CHOSEN, *more])


@pytest.mark.slow
def test_a_run_leaves_every_row_and_every_picture(arguments, tmp_path):
    assert inpainting(arguments) == 0
    (folder,) = folders(tmp_path)
    results = results_in(folder)
    assert [row.key for row in results.rows] == [
        (mask, name) for mask in ("half", "box") for name in ("real", MOODY, "async_patch")
    ]
    for row in results.rows:
        assert len(row.pictures) == 2
        assert all((folder / file).is_file() for file in row.pictures)
        if row.name != "real":
            # Two steps of Heun are three evaluations; three steps would be five.
            assert (row.steps, row.evaluations, row.gradients) == (2, 3.0, 0.0)
            assert set(row.figures) == {"psnr", "fid", "diversity"}
            assert row.settings["solver"]["num_steps"] == 2
    assert results.settings["num_samples"] == 4
    assert results.settings["seed"] == 0
    assert results.environment["device"].startswith("cpu")
    assert len(results.reference_sha256) == 64
    for name in ("inpainting", "half", "box"):
        with Picture.open(folder / f"{name}.png") as picture:
            assert picture.width > 100
    assert (folder / "table.md").read_text() == document(results)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_row_that_is_missing(arguments, tmp_path):
    # Four images and two again make two runs a row: the first row is whole, the second not.
    behaviour.update({"raise": KeyboardInterrupt(), "after": 2})
    assert inpainting(arguments) == 130
    (folder,) = folders(tmp_path)
    kept = results_in(folder).rows
    assert [row.mask for row in kept] == ["half", "half", "half", "box"]
    behaviour.update({"raise": None, "runs": []})
    assert inpainting(arguments) == 0
    assert folders(tmp_path) == [folder]
    # A box of 8 x 8 in 16 x 16 px, known around it, for four images and for two.
    assert behaviour["runs"] == [4 * 192, 2 * 192]
    assert results_in(folder).rows[:4] == kept
    # What is finished is not gone on with, and other settings are another run.
    for more in ((), ("seed=1",)):
        prepared = Inpainting.prepare([*arguments, *CHOSEN, *more])
        prepared.experiment.close()
    assert len(folders(tmp_path)) == 3


def test_one_failure_costs_the_others_nothing_and_is_tried_again(arguments, tmp_path):
    behaviour.update({"raise": RuntimeError("no mood")})
    assert inpainting(arguments, "masks=half") == 1
    (folder,) = folders(tmp_path)
    results = results_in(folder)
    assert [row.name for row in results.rows] == ["real", "async_patch"]
    assert results.failures == {f"half {MOODY}": "RuntimeError: no mood"}
    assert f"Failed: half {MOODY}: RuntimeError: no mood" in document(results)
    assert "no mood" in (folder / f"half-{MOODY}.error.txt").read_text()
    behaviour["raise"] = None
    lock(folder)  # as the same command would, were it still going on
    assert inpainting(arguments, "masks=half") == 2
    unlock(folder)
    assert inpainting(arguments, "masks=half") == 0
    assert folders(tmp_path) == [folder]
    assert results_in(folder).failures == {}
    assert results_in(folder).rows[:2] == results.rows


def test_rows_that_were_compared_with_other_crops_are_not_gone_on_with(arguments, tmp_path, capsys):
    behaviour.update({"raise": KeyboardInterrupt()})
    assert inpainting(arguments, "masks=half") == 130
    (folder,) = folders(tmp_path)
    results = results_in(folder)
    sha256, results.reference_sha256 = results.reference_sha256, "0" * 64
    write_record(folder / CompletionResults.FILE, results)
    assert inpainting(arguments, "masks=half") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"(000000000000), got others ({sha256[:12]})" in said
    assert results_in(folder) == results


@pytest.mark.parametrize("command", [main, guidance])
def test_a_denoiser_of_other_than_colours_is_refused_before_any_work(
    command, arguments, tmp_path, capsys
):
    own = ["pairs=2"] if command is main else []
    network = UNet(in_channels=1, channels=(32,), blocks=(1,), attention_levels=0)
    path = tmp_path / "grey.safetensors"
    save_denoiser(EDMPrecond(network, 16), path, provenance={"command": "none: untrained"})
    assert command([*arguments, *own, f"denoiser={path}"]) == 2
    said = capsys.readouterr().err
    assert "denoiser must make photographs of 3 channels, got one of 1: take one" in said
    assert not folders(tmp_path)


def test_guidance_is_measured_at_equal_evaluations_and_at_equal_steps(arguments, tmp_path):
    asked = ["weights=[0,1,2]", "weak_branches=current_level", "equal_steps=true", "budget=8"]
    assert guidance([*arguments, *asked]) == 0
    (folder,) = folders(tmp_path)
    results = results_in(folder)
    cost = {row.name: (row.steps, row.evaluations) for row in results.rows}
    assert cost == {
        "real": (0, 0.0),
        "w = 0, current_level": (4, 7.0),
        "w = 1": (4, 7.0),
        "w = 2, current_level": (2, 6.0),
        "w = 2, current_level, equal steps": (4, 14.0),
    }
    found = lines(results.rows)
    assert {label: [weight for weight, _ in line] for label, line in found.items()} == {
        "current_level": [0.0, 1.0, 2.0],
        "current_level, equal steps": [1.0, 2.0],
    }
    assert (folder / "guidance.png").is_file()
    assert (folder / "completions.png").is_file()
    assert (folder / "table.md").read_text() == guidance_document(results)
    # The photographs' own halves; they are held out, and not those of the reference.
    originals = Landscapes().crops("test", 4, 16, 16, first=8)
    real = {name: results.rows[0].figures[name] for name in halves_compared(originals)}
    assert real == halves_compared(originals)
    assert read_picture(folder / results.rows[0].pictures[1]).equal(originals[1])


def test_guidance_changes_the_strategy_and_nothing_else():
    strategy = AsyncPatch(solver=Euler(num_steps=3), overlap=4)
    changed = guided(strategy, 2.0, "pure_noise")
    assert (changed.guidance, changed.weak_branch) == (2.0, "pure_noise")
    assert dataclasses.replace(changed, guidance=1.0, weak_branch="current_level") == strategy
    assert guided(strategy, 1.0, None) == strategy
    assert strategy.with_steps(7) == AsyncPatch(solver=Euler(num_steps=7), overlap=4)
    assert row_name(0.5, "current_level") == "w = 0.5, current_level"


@pytest.mark.parametrize(
    ("command", "wrong", "said"),
    [
        (main, "masks=haf", "masks must be among half, box, random_50, random_90, got 'haf'; did"),
        (main, "masks=,", "masks must name at least one of half"),
        (main, "budget=1", "async_patch: budget must be at least 3 "),
        (main, "budget=-1", "budget must be a finite number above 0, got -1.0."),
        (main, "gradient_weight=-1", "gradient_weight must be a finite number of at least 0"),
        (main, "pairs=5", "pairs must be at most num_samples=4, got 5."),
        (main, "num_samples=2", "num_samples must be at least 3, got 2: a standard error and"),
        (main, "mask=half", "there is no setting 'mask'; did you mean 'masks'?"),
        (main, "strategy=asynch_patch", "did you mean 'async_patch'?"),
        (main, "canvas.height=8", "async_patch: a canvas must be at least one window of 16 px"),
        (guidance, "strategy=replacement", "strategy must have a setting 'guidance', which"),
        (guidance, "strategy=all", "strategy must name a single one, got all."),
        (guidance, "weights=[1,0]", "weights must be numbers of at least 0 in ascending order"),
        (guidance, "weights=[]", "weights must be numbers of at least 0 in ascending order"),
        (guidance, "weak_branches=noise", "weak_branches must be among current_level, pure_noise"),
        (
            guidance,
            "canvas.width=14",
            "halves must be at least 8 px a side, so that they have 3 octaves",
        ),
        (guidance, "canvas.width=19", "width must be even, so that halves are alike, got 19."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(command, wrong, said, arguments, capsys):
    more = ["pairs=2"] if command is main and not wrong.startswith("pairs") else []
    assert command([*arguments, *more, wrong]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


# Tables and pictures


def row(name: str, **changes) -> CompletionRow:
    made = CompletionRow(
        mask="half",
        name=name,
        settings={},
        steps=32,
        evaluations=63.0,
        gradients=0.0,
        seconds=0.126,
        figures={"psnr": Figure(17.128, 0.304), "fid": Figure(1.23456, 0.0987)},
        pictures=[],
    )
    return dataclasses.replace(made, **changes)


def test_a_table_has_a_row_a_strategy():
    rows = [row("real", steps=0, figures={"fid": Figure(-0.0001, 0.1)}), row("my.own.Strategy")]
    columns = columns_of(rows, COLUMNS)
    assert [column.head for column in columns][:4] == [
        "strategy", "PSNR, dB ↑", "diversity (1)", "FID ↓",
    ]  # fmt: skip
    real, own = zip(*(column.cells for column in columns), strict=True)
    assert real == ("real", ABSENT, ABSENT, "0.000 ± 0.100", *[ABSENT] * 4)
    assert own == (
        "Strategy", "17.13 ± 0.30", ABSENT, "1.235 ± 0.099", "32", "63", "0", "0.13",
    )  # fmt: skip


def test_unknown_pixels_are_magenta_and_known_ones_as_they_are():
    images, known = pictures(count=1), masks_of("half")
    shown = masked(images, known)
    assert torch.equal(shown[..., :4], images[..., :4])
    assert (shown[0, :, :, 4:] == torch.tensor([255, 0, 255]).view(3, 1, 1)).all()


def test_a_grid_shows_every_column(tmp_path):
    colours = {"real": (200, 0, 0), "given": (0, 200, 0), "made": (0, 0, 200)}
    columns = {
        name: torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).repeat(2, 1, 16, 16)
        for name, colour in colours.items()
    }
    draw_grid(columns, tmp_path / "grid.png")
    with Picture.open(tmp_path / "grid.png") as picture:
        seen = [colour for _, colour in picture.convert("RGB").getcolors(10**6)]
    assert set(colours.values()) <= set(seen)
