"""What the harness tells a denoiser, from the command line to the rows, on tiny networks."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from backbones.downsampled import Downsampled
from benchmarks.comparison.plan import parse
from benchmarks.comparison.preparation import prepared
from benchmarks.results.records import Results
from benchmarks.run import main
from datamodules.landscapes import Landscapes
from denoisers.checkpoint import save_denoiser
from denoisers.guide import blurred, coarse_guide, guide_from_plan
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import dry_run, steps_within
from patchcanvas.context.choice import conditioner_of
from patchcanvas.context.conditioner import NO_CONTEXT
from patchcanvas.context.settings import ContextSettings
from patchcanvas.model import Model
from patchcanvas.records import read_record
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.catalogue import names, strategy_class
from strategies.diffcollage import DiffCollage
from strategies.lshape_repaint import LShapeRepaint
from strategies.naive import Naive

SIDE, WIDTH = 16, 48
SCALE = (1, 3)  # a plan of the canvas is one patch
CANVAS = Canvas(height=SIDE, width=WIDTH)
FIRST, COUNT = 5, 3
STEPS = 2
EVALUATIONS = 2 * STEPS - 1  # Heun, whose last step is an Euler step
SOLVER = Heun(num_steps=STEPS)
QUICK = LShapeRepaint(solver=SOLVER, jump_n_sample=1)


class Spelling(Downsampled):
    """Means of cells, and a text tower that reads how long a prompt is."""

    has_text = True

    def encode_text(self, prompts):
        return torch.tensor([[[len(prompt) / 10, 0.0, -1.0]] for prompt in prompts])


CONDITIONING = {
    "view": [SIDE, WIDTH],
    "backbone": Spelling().description,
    "plans": True,
    "guide": "plan",
    "scale": list(SCALE),
}
BLURRED = CONDITIONING | {"guide": "blur", "plans": False, "scale": None}


def denoiser(conditioning=CONDITIONING, **changes) -> EDMPrecond:
    """A network that is told everything, and whose every weight counts."""
    parts = {"token_features": 3, "guide": True, "known_channel": True, "modes": True}
    parts |= {"position": "block"} | changes
    torch.manual_seed(0)
    network = UNet(channels=[32], blocks=[1], attention_levels=1, features=16, **parts)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return EDMPrecond(network, SIDE, conditioning=conditioning).eval().requires_grad_(False)


PLAIN = {"token_features": 0, "guide": False, "known_channel": False, "modes": False}
UNCONDITIONAL = {"conditioning": None, "position": "none", **PLAIN}


def conditioner(told=None, canvas=CANVAS, **settings):
    told = denoiser() if told is None else told
    settings = ContextSettings(**settings)
    return conditioner_of(settings, Model(told, {}), canvas, Landscapes(), first=FIRST, count=COUNT)


def crop(index: int) -> torch.Tensor:
    """What sample `index` is seeded with."""
    return Landscapes().crop("test", FIRST + index, SIDE, WIDTH)[None]


def as_image(pixels: torch.Tensor) -> torch.Tensor:
    return pixels / 127.5 - 1


@pytest.fixture
def photograph(tmp_path):
    """40 x 24 px as it is looked at, red at the left; stored on its side, as cameras do."""
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:, :20, 0], upright[:, 20:, 2] = 200, 90
    picture, exif = Picture.fromarray(np.rot90(upright)), Picture.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    picture.save(tmp_path / "photograph.png", exif=exif)
    return tmp_path / "photograph.png"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listening(Naive):
    """Keeps what it is given, and returns something of the right size."""

    heard: list

    def generate(self, denoiser, canvas, noise, *, known=None, context=None):
        self.heard.append((context, known))
        return torch.zeros(len(noise), 3, canvas.height, canvas.width)


def heard(said, indices=(0, 2)):
    """Returns the context and the known pixels that a strategy is given."""
    strategy = Listening(heard=[])
    said.generate(strategy, denoiser(), CANVAS, CanvasNoise(0, indices))
    return strategy.heard[0]


# What samples are told.


def test_sample_k_is_seeded_with_its_own_crop_behind_those_of_the_reference():
    context, known = heard(conditioner(mode="seed_image"))
    expected = Downsampled()(as_image(torch.cat([crop(0), crop(2)])))
    assert torch.equal(context.tokens, expected)
    assert context.plan is None
    assert known is None


def test_an_image_file_seeds_every_sample_upright_and_whole(photograph):
    said = conditioner(mode="seed_image", image=photograph)
    context, _ = heard(said)
    # At the canvas's height 40 x 24 px are 26.7 x 16.
    assert said.seeds.images.shape == (COUNT, 3, SIDE, 27)
    assert said.seeds.images[0, :, 8, 2].tolist() == [200, 0, 0]
    assert said.seeds.images[0, :, 8, -3].tolist() == [0, 0, 90]
    tokens = Downsampled()(as_image(said.seeds.images[:1]))
    assert torch.equal(context.tokens, tokens.expand(2, -1, -1))


def test_a_wide_image_file_is_cut_on_both_sides(tmp_path):
    wide = np.zeros((SIDE, 100, 3), np.uint8)
    wide[:, 49:51] = 255  # in the middle
    Picture.fromarray(wide).save(tmp_path / "wide.png")
    images = conditioner(mode="seed_image", image=tmp_path / "wide.png").seeds.images
    assert images.shape[-1] == WIDTH
    assert images[0, 0, 0].nonzero().flatten().tolist() == [WIDTH // 2 - 1, WIDTH // 2]


def test_a_mismatched_guide_is_the_next_samples_image(photograph):
    def guide(index):
        whole = torch.ones(1, 1, 1, 1, dtype=torch.bool).expand(1, 1, SIDE, WIDTH)
        return coarse_guide(as_image(crop(index)), whole, SCALE)[0]

    def told_guide(context):
        return guide_from_plan(context.plan, context.scale, (SIDE, WIDTH))

    # The interpolation of the same cells, weighted by shares of 1: equal but for rounding.
    near = {"atol": 1e-6, "rtol": 0}
    context, _ = heard(conditioner(mode="swapped_reference", guide="image"))
    assert torch.equal(context.tokens, Downsampled()(as_image(torch.cat([crop(0), crop(2)]))))
    torch.testing.assert_close(told_guide(context), torch.cat([guide(1), guide(3)]), **near)
    context, _ = heard(conditioner(mode="swapped_reference", guide="image", image=photograph))
    torch.testing.assert_close(told_guide(context), torch.cat([guide(0), guide(2)]), **near)
    context, _ = heard(conditioner(mode="unconditional", guide="image"))
    torch.testing.assert_close(told_guide(context), torch.cat([guide(0), guide(2)]), **near)
    assert context.tokens is None


def test_an_image_that_guides_is_blurred_for_a_denoiser_that_was_guided_so():
    said = conditioner(denoiser(BLURRED), mode="unconditional", guide="image", blur=2.0)
    context, _ = heard(said, [1])
    assert context.scale == (1, 1)
    assert torch.equal(context.plan, blurred(as_image(crop(1)), 2.0))


def test_a_prompt_is_told_to_all():
    context, _ = heard(conditioner(mode="text", prompt="red"))
    assert torch.equal(context.tokens, torch.tensor([[[0.3, 0.0, -1.0]]]))


def test_a_growing_canvas_is_encoded_with_the_mean_of_what_is_known():
    context, _ = heard(conditioner(mode="autoregressive"))
    image = torch.rand(2, 3, SIDE, WIDTH)
    mask = torch.zeros(1, 1, SIDE, WIDTH, dtype=torch.bool)
    mask[..., : WIDTH // 2] = True
    tokens = context.encode(image, mask)
    mean = image[..., : WIDTH // 2].mean((2, 3))
    torch.testing.assert_close(tokens[:, 0], mean, atol=1e-6, rtol=0)  # rounding of a mean
    torch.testing.assert_close(tokens[:, 4], mean, atol=1e-6, rtol=0)  # the top right cell


def test_both_real_images_stand_at_the_ends_bit_by_bit(photograph):
    said = conditioner(mode="seed_image", interpolate_to=photograph, fixed_ends=True)
    context, known = heard(said, [2])
    last = said.end.covering(SIDE, SIDE)[None]
    assert torch.equal(to_uint8(known.y)[..., :SIDE], crop(2)[..., :SIDE])
    assert torch.equal(to_uint8(known.y)[..., -SIDE:], last)
    assert known.mask.flatten().sum() == 2 * SIDE * SIDE
    assert torch.equal(
        context.ends, Downsampled()(as_image(said.end.of_height(16, widest=48))[None])
    )
    for strategy in (DiffCollage(solver=SOLVER), QUICK):
        made = said.generate(strategy, denoiser(), CANVAS, CanvasNoise(0, [2]))
        assert torch.equal(to_uint8(made)[..., :SIDE], crop(2)[..., :SIDE])
        assert torch.equal(to_uint8(made)[..., -SIDE:], last)


def test_a_file_at_both_ends(photograph):
    said = conditioner(
        mode="seed_image", image=photograph, interpolate_to=photograph, fixed_ends=True
    )
    _, known = heard(said)
    assert torch.equal(known.y[..., :SIDE], known.y[..., -SIDE:])
    assert to_uint8(known.y)[0, :, 8, 2].tolist() == [200, 0, 0]


SAYINGS = {
    "seed_image": {"mode": "seed_image", "guidance_scale": 2.0},
    "swapped_reference": {"mode": "swapped_reference", "guide": "image", "guidance_scale": 2.0},
    "autoregressive": {
        "mode": "autoregressive",
        "guidance_scale": 2.0,
        "guide": "canvas",
        "refinement_iterations": 2,
    },
    "plan": {"mode": "seed_image", "guidance_scale": 2.0, "guide": "plan"},
}


@pytest.mark.parametrize(
    "strategy", [DiffCollage(solver=SOLVER), QUICK], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("settings", SAYINGS.values(), ids=SAYINGS)
def test_sample_k_of_a_batch_is_what_sample_k_alone_is(settings, strategy):
    network, said = denoiser().double(), conditioner(**settings)

    def made(indices):
        noise = CanvasNoise(0, indices, dtype=torch.float64)
        return said.generate(strategy, network, CANVAS, noise)

    batch = made([0, 1, 2])
    # Float64 rounds kernels of other batch sizes to 1e-13; tokens of neighbours would move 1e-2.
    torch.testing.assert_close(made([1]), batch[1:2], atol=1e-9, rtol=0)
    torch.testing.assert_close(made([2]), batch[2:], atol=1e-9, rtol=0)
    elsewhere = dataclasses.replace(said, seeds=dataclasses.replace(said.seeds, first=FIRST + 1))
    if settings["mode"] != "autoregressive":
        noise = CanvasNoise(0, [1], dtype=torch.float64)
        other = elsewhere.generate(strategy, network, CANVAS, noise)
        assert (other - batch[1:2]).abs().mean() > 1e-3


TELLINGS = SAYINGS | {"text": {"mode": "text", "prompt": "hills"}, "unconditional": {}}


@pytest.mark.parametrize("name", names())
def test_every_strategy_follows_every_mode(name):
    """Each mode makes another canvas of the same noise."""
    strategy = QUICK if name == "lshape_repaint" else strategy_class(name)(solver=SOLVER)
    network, noise = denoiser(), CanvasNoise(0, [0])
    made = [
        conditioner(network, **settings).generate(strategy, network, CANVAS, noise)
        for settings in TELLINGS.values()
    ]
    assert all(image.shape == (1, 3, SIDE, WIDTH) for image in made)
    for one, other in itertools.combinations(made, 2):
        assert (one - other).abs().mean() > 1e-3


# What it costs.


def patches(strategy, said, canvas=CANVAS):
    """Returns how many windows are evaluated; a dry run must know."""
    network = NFECounter(denoiser())
    said.generate(strategy, network, canvas, CanvasNoise(0, [0]))
    counted = dry_run(strategy, denoiser(), canvas, said)
    for name in ("calls", "patches", "pixels", "backward_passes"):
        assert getattr(counted, name) == getattr(network, name)
    return network.patches


@pytest.mark.parametrize("name", names())
def test_guidance_evaluates_every_window_twice_with_every_strategy(name):
    strategy = QUICK if name == "lshape_repaint" else strategy_class(name)(solver=SOLVER)
    once = dry_run(strategy, denoiser(), CANVAS, conditioner(mode="seed_image")).patches
    assert patches(strategy, conditioner(mode="seed_image", guidance_scale=2.0)) == 2 * once


def test_guidance_of_scale_0_leaves_the_tokens_out_at_no_cost():
    assert patches(QUICK, conditioner(mode="seed_image", guidance_scale=0.0)) == 5 * EVALUATIONS


def test_guidance_doubles_windows_of_a_canvas_of_which_nothing_is_seen_too():
    said = conditioner(mode="autoregressive", guidance_scale=2.0)
    assert patches(DiffCollage(solver=SOLVER), said) == 2 * 9 * EVALUATIONS  # 5 windows, 4 overlaps


def test_a_plan_costs_what_the_strategy_costs_on_its_canvas():
    # 3 tiles, and the one window of the plan; twice all that under guidance.
    strategy = Naive(solver=SOLVER)
    assert patches(strategy, conditioner(mode="seed_image")) == 3 * EVALUATIONS
    assert patches(strategy, conditioner(mode="unconditional", guide="plan")) == 4 * EVALUATIONS
    said = conditioner(mode="seed_image", guide="plan", guidance_scale=3.0)
    assert patches(strategy, said) == 8 * EVALUATIONS


def test_a_second_pass_costs_as_much_as_the_first():
    strategy = Naive(solver=SOLVER)
    assert (
        patches(strategy, conditioner(mode="autoregressive", refinement_iterations=2))
        == 6 * EVALUATIONS
    )


def test_ends_that_are_given_are_not_made(photograph):
    free = patches(QUICK, conditioner(mode="seed_image"))
    ends = patches(
        QUICK, conditioner(mode="seed_image", interpolate_to=photograph, fixed_ends=True)
    )
    # Windows of half new pixels: 5 from nothing, 2 between the ends.
    assert (free, ends) == (5 * EVALUATIONS, 2 * EVALUATIONS)


def test_a_budget_pays_for_guidance():
    said = conditioner(mode="seed_image", guidance_scale=2.0)

    def make(steps):
        return Naive(solver=Heun(num_steps=steps))

    # Each pixel once an evaluation, 2 n - 1 of them, and twice that: 22 for 6 steps.
    assert steps_within(make, denoiser(), CANVAS, 22.0) == 11
    assert steps_within(make, denoiser(), CANVAS, 22.0, said) == 6


# What is refused.


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        (
            UNCONDITIONAL,
            {"mode": "unconditional"},
            "takes no contexts: .*none or auto, got unconditional",
        ),
        (UNCONDITIONAL, {"guide": "canvas"}, "needs a denoiser trained with guides"),
        ({}, {"mode": "none"}, "needs the places of its windows"),
        ({"token_features": 0}, {"mode": "seed_image"}, "tells tokens, which .* does not take"),
        ({"guide": False}, {"guide": "image"}, "needs a denoiser trained with guides"),
        ({"modes": False}, {"guide": "plan"}, "needs a denoiser trained to make plans"),
        (
            {"conditioning": CONDITIONING | {"plans": False}},
            {"guide": "plan"},
            "trained to make plans",
        ),
        ({"conditioning": None}, {"mode": "seed_image"}, "must name the backbone"),
        ({"conditioning": BLURRED}, {"guide": "image"}, "context.blur must be set"),
        ({"conditioning": BLURRED}, {"guide": "canvas"}, "context.guide must be image, got canvas"),
        ({}, {"guide": "image", "blur": 2.0}, "context.blur must be null, got 2"),
        (
            {"conditioning": CONDITIONING | {"backbone": Downsampled().description}},
            {"mode": "text", "prompt": "hills"},
            "Downsampled has no text tower",
        ),
        (
            {
                "conditioning": CONDITIONING
                | {"backbone": Spelling().description | {"fingerprint": "0"}}
            },
            {"mode": "seed_image"},
            "must have the fingerprint 0",
        ),
        (
            {"conditioning": CONDITIONING | {"backbone": {"class_path": "no.such.Backbone"}}},
            {"mode": "seed_image"},
            "no.such.Backbone",
        ),
    ],
)
def test_a_denoiser_is_not_told_what_it_does_not_take(changes, settings, message):
    with pytest.raises(ValueError, match=message) as refused:
        conditioner(denoiser(**changes), **settings)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_images_are_refused(tmp_path):
    (tmp_path / "words.png").write_text("no image")
    said = r"context.image must be an image file, but there is no .*gone"
    with pytest.raises(FileNotFoundError, match=said):
        conditioner(mode="seed_image", image=tmp_path / "gone.png")
    with pytest.raises(
        ValueError, match=r"context.interpolate_to must be an image file, but .*words.png"
    ):
        conditioner(mode="seed_image", interpolate_to=tmp_path / "words.png")


def test_weights_elsewhere_must_be_there_and_be_needed(tmp_path):
    with pytest.raises(ValueError, match=r"context.backbone says where .*Spelling has none"):
        conditioner(mode="seed_image", backbone=tmp_path)
    clip = {"class_path": "backbones.clip.Clip", "init_args": {"model": "x", "fit": "crop"}}
    with pytest.raises(FileNotFoundError, match=r"context.backbone must be a folder or file"):
        conditioner(
            denoiser(CONDITIONING | {"backbone": clip}),
            mode="seed_image",
            backbone=tmp_path / "gone",
        )


def test_a_canvas_without_two_ends_is_refused(photograph):
    loop = dataclasses.replace(CANVAS, wrap_width=True)
    with pytest.raises(ValueError, match=r"canvas.wrap_width must be false"):
        conditioner(canvas=loop, mode="seed_image", interpolate_to=photograph)
    short = dataclasses.replace(CANVAS, width=2 * SIDE)
    said = conditioner(canvas=short, mode="seed_image", interpolate_to=photograph, fixed_ends=True)
    with pytest.raises(ValueError, match="must be wider than 32 px, got 32 px"):
        said.validate_fit(Naive(), denoiser(), short)
    said.validate_fit(Naive(), denoiser(), dataclasses.replace(short, width=2 * SIDE + 1))


def test_a_loop_that_no_plan_can_close_is_refused():
    loop = dataclasses.replace(CANVAS, wrap_width=True, width=SIDE * SCALE[1] - 1)
    said = conditioner(canvas=loop, mode="unconditional", guide="plan")
    with pytest.raises(ValueError, match="must be a multiple of 3 px"):
        said.validate_fit(Naive(), denoiser(), loop)


# What is written down.


def test_nothing_is_told_to_an_unconditional_denoiser_and_facts_to_the_others():
    plain = denoiser(**UNCONDITIONAL)
    assert conditioner(plain) is conditioner(plain, mode="none") is NO_CONTEXT
    assert NO_CONTEXT.facts is NO_CONTEXT
    said = conditioner()
    assert said.description["mode"] == "unconditional"
    context, _ = heard(said)
    assert context.tokens is context.plan is context.encode is None
    facts = conditioner(mode="seed_image", guidance_scale=2.0, guide="plan").facts
    assert facts.description == said.description


def test_what_figures_rest_on_is_the_content_of_the_files_not_their_names(photograph):
    settings = {"mode": "seed_image", "image": photograph, "interpolate_to": photograph}
    before = conditioner(**settings).description
    assert conditioner(**settings).description == before
    Picture.new("RGB", (9, 9)).save(photograph)
    after = conditioner(**settings).description
    assert {name for name in before if before[name] != after[name]} == {"image_sha256", "to_sha256"}
    assert before["backbone"] == Spelling().fingerprint


def test_seed_images_that_are_not_shown_are_compared_with_and_not_pictured(photograph):
    assert conditioner(mode="unconditional").pictured(2) == {}
    assert torch.equal(conditioner(mode="unconditional").seeds.images[1:2], crop(1))
    rows = conditioner(mode="swapped_reference", guide="image").pictured(2)
    assert torch.equal(rows["seed images"], torch.cat([crop(0), crop(1)]))
    assert torch.equal(rows["guide images"], torch.cat([crop(1), crop(2)]))
    (sheet,) = conditioner(mode="seed_image", image=photograph).pictured(1).values()
    assert sheet.shape == (1, 3, SIDE, WIDTH)
    assert sheet[..., 27:].eq(255).all()


class Small(Landscapes):
    """Data without an image as large as the canvas."""

    def crop(self, split, index, height, width):
        if width > SIDE:
            raise ValueError("the largest image is too small")
        return super().crop(split, index, height, width)


def test_data_without_images_so_large_can_seed_nothing():
    arguments = {"first": FIRST, "count": COUNT}
    said = conditioner_of(ContextSettings(), Model(denoiser(), {}), CANVAS, Small(), **arguments)
    assert said.seeds is None
    with pytest.raises(ValueError, match="no seed images: the largest image is too small"):
        conditioner_of(
            ContextSettings(mode="seed_image"), Model(denoiser(), {}), CANVAS, Small(), **arguments
        )


# The whole way.


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "told.safetensors"
    save_denoiser(denoiser(), path, provenance={"command": "none: untrained"})
    return path


@pytest.fixture
def arguments(weights, tmp_path):
    return [
        f"denoiser={weights}",
        f"results={tmp_path / 'results'}",
        f"canvas.width={WIDTH}",
        f"num_samples={COUNT}",
        f"num_reference={FIRST}",
        f"solver.num_steps={STEPS}",
        "repeats=1",
        "pictures=2",
        "loggers=[]",
        "device=cpu",
    ]


def results(tmp_path) -> Results:
    (path,) = (tmp_path / "results").glob("*/results.json")
    return read_record(Results, path)


MODES = {
    "unconditional": [],
    "seed_image": ["context.guidance_scale=2", "context.guide=plan"],
    "autoregressive": ["context.refinement_iterations=2"],
    "text": ["context.prompt=hills", "context.guide=plan"],
    "swapped_reference": ["context.guide=image"],
}


# One by default: each takes as long as all that is above.
@pytest.mark.parametrize(
    "mode",
    [pytest.param(mode, marks=[pytest.mark.slow] * (mode != "seed_image")) for mode in MODES],
)
def test_every_mode_runs(mode, arguments, tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(
        "benchmarks.report.publishing.contact_sheet", lambda rows, *args, **_: sheets.append(rows)
    )
    told = [f"context={mode}", *MODES[mode], "strategy=diffcollage,lshape_repaint"]
    assert main([*arguments, *told]) == 0
    found = results(tmp_path)
    assert {row.strategy for row in found.rows} == {"diffcollage", "lshape_repaint"}
    assert found.settings["conditioning"]["mode"] == mode
    assert found.settings["context"]["mode"] == mode
    for row in found.rows:
        assert row.fingerprint["context"] == found.settings["conditioning"]
        assert {"palette_distance", "layout_correlation", "sky_at_top"} <= set(row.figures)
        assert len(row.fingerprint["seeds_sha256"]) == 64
    assert found.patches.fingerprint["context"]["mode"] == "unconditional"
    assert found.real.fingerprint["context"] is None
    shown = list(sheets[0])
    if mode in ("seed_image", "swapped_reference"):
        assert shown[0] == "seed images"
        # Behind the crops of FID+ and the real canvases.
        behind = torch.cat([crop(COUNT), crop(COUNT + 1)])
        assert torch.equal(sheets[0]["seed images"], behind)
    else:
        assert shown == ["diffcollage", "lshape_repaint", "real"]


EVERYTHING = [
    ["context=seed_image", "context.guidance_scale=2", "context.guide=plan"],
    ["context=autoregressive", "context.guide=canvas", "context.refinement_iterations=2"],
]


@pytest.mark.slow
@pytest.mark.parametrize("told", EVERYTHING, ids=["seed_image", "autoregressive"])
def test_every_strategy_can_be_told(told, arguments, tmp_path):
    assert main([*arguments, *told, "strategy=all", "plain_fid=false"]) == 0
    found = results(tmp_path)
    assert [row.strategy for row in found.rows] == names()
    told_names = ("mode", "guidance_scale", "guide", "refinement_iterations")
    said = conditioner(**{name: found.settings["conditioning"][name] for name in told_names})
    for row in found.rows:
        strategy = strategy_class(row.strategy)(solver=Heun(num_steps=STEPS, churn=18.0))
        counted = dry_run(strategy, denoiser(), CANVAS, said)
        assert row.cost.patch_evaluations == counted.patches


@pytest.mark.parametrize("settings", [{"mode": "autoregressive"}, {"guide": "canvas"}])
def test_a_parallel_strategy_that_would_see_nothing_is_refused(settings):
    said = conditioner(**({"mode": "unconditional"} | settings))
    with pytest.raises(
        ValueError, match=r"no canvas to be seen: set context\.refinement_iterations=2"
    ):
        said.validate_fit(DiffCollage(), denoiser(), CANVAS)
    said.validate_fit(LShapeRepaint(), denoiser(), CANVAS)
    twice = conditioner(**({"mode": "unconditional"} | settings), refinement_iterations=2)
    twice.validate_fit(DiffCollage(), denoiser(), CANVAS)


def test_gates_can_be_shut(arguments, photograph):
    command = [*arguments, "context=seed_image", f"context.image={photograph}", "context.gate=0"]
    run = prepared(parse(command), command)
    run.experiment.close()
    # The meter, the batch that fits, the network.
    network = run.denoiser.denoiser.denoiser.network
    assert network.gates
    assert not any(gate.item() for gate in network.gates.values())
    assert run.conditioner.description["gate"] == 0


def test_other_contexts_do_not_continue_a_run(arguments, tmp_path, photograph):
    command = [*arguments, "context=seed_image", f"context.image={photograph}", "strategy=naive"]

    def folder():
        """Prepares a run, and leaves it unfinished."""
        run = prepared(parse(command), command)
        run.experiment.close()
        return run.experiment.path

    assert folder() == folder()
    before = folder()
    command.append("context.guidance_scale=2")
    assert folder() != before
    before = folder()
    Picture.new("RGB", (9, 9)).save(photograph)
    assert folder() != before


def test_what_is_wrong_is_said_before_any_work(arguments, tmp_path, capsys):
    assert main([*arguments, "context=text"]) == 2
    assert "set context.prompt" in capsys.readouterr().err
    assert main([*arguments, "context=seed_image", "context.image=/no/such/image.png"]) == 2
    assert "context.image must be an image file" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
