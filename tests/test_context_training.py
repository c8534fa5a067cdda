"""What training shows of contexts: windows of views, what is painted of them, guides that fade."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Generator, Tensor
from torchvision.transforms.functional import gaussian_blur
from typing_extensions import override

from backbones.downsampled import Downsampled
from denoisers.checkpoint import load_denoiser
from denoisers.conditions import Conditions
from denoisers.guide import coarse_guide, filled
from lightning_modules.__main__ import main
from lightning_modules.context import (
    ContextTraining,
    Examples,
    _mirrored,
    known_quadrants,
    painted_before,
)
from lightning_modules.denoising import DenoiserTraining
from lightning_modules.errors import TrainingError
from lightning_modules.export import export
from lightning_modules.guides import FadingGuide, PlanGuide
from sampling.noise_levels.base import Levels
from strategies.order import Axis, fillings
from tests.test_resume import STATE, differences
from tests.tiny_training import (
    BATCH,
    STEPS,
    CrashError,
    Numbered,
    checkpoint,
    configuration,
    recorded,
    recording,
    run,
    stopping,
)
from tests.tiny_training import write_configuration as written

VIEW = (24, 40)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def views(batch: int, size: tuple[int, int] = VIEW) -> Tensor:
    """Pixels that say where they are and of which view, all of them in [-1, 1]."""
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij"
    )
    number = torch.linspace(-0.9, 0.9, batch).view(-1, 1, 1).expand(-1, *size)
    return torch.stack([rows.expand_as(number), columns.expand_as(number), number], dim=1)


def corners_of(told: Conditions, view: tuple[int, int], size: tuple[int, int]) -> list[tuple]:
    """Where the windows begin, from the places they are told."""
    ends = (told.place + 1) / 2 * torch.tensor([*view, *view])
    # Pixels are whole: what is told is right to a share of 1e-7 of some tens.
    torch.testing.assert_close(ends, ends.round(), rtol=0.0, atol=1e-4)
    tops, lefts, bottoms, rights = ends.round().long().unbind(1)
    assert (bottoms - tops == size[0]).all()
    assert (rights - lefts == size[1]).all()
    return list(zip(tops.tolist(), lefts.tolist(), strict=True))


@pytest.mark.parametrize("size", [(16, 16), (8, 16), (16, 8)])
def test_windows_are_cut_where_they_are_told_to_lie(size):
    training = ContextTraining(view=VIEW, guide=PlanGuide(scale=(4, 4), noise=0.0, share=1.0))
    view, found = views(64), set()
    example = training.examples(view, size, 0.0, seeded())
    guide, _ = coarse_guide(view, torch.ones(1, 1, *VIEW, dtype=torch.bool), (4, 4))
    for k, (top, left) in enumerate(corners_of(example.conditions, VIEW, size)):
        part = (slice(top, top + size[0]), slice(left, left + size[1]))
        assert torch.equal(example.x0[k], view[k][:, *part])
        torch.testing.assert_close(example.conditions.guide[k], guide[k][:, *part])
        found.add((top, left))
    # Of 9 * 25 places or more most are others.
    assert len(found) > 45
    assert (example.conditions.guided == 1).all()
    assert not example.conditions.plan.any()
    assert not example.conditions.known.any()
    assert example.known is None


def test_windows_lie_evenly_wherever_they_fit():
    training = ContextTraining(view=(18, 17))
    example = training.examples(views(3000, (18, 17)), (16, 16), 0.0, seeded())
    corners = corners_of(example.conditions, (18, 17), (16, 16))
    for top in range(3):
        for left in range(2):
            # A sixth of 3,000: a standard error of 20.4; five of them.
            assert corners.count((top, left)) == pytest.approx(500, abs=102)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("view", [(32, 40), (16, 32), (32, 16)])
def test_what_is_painted_is_what_windows_laid_in_order_have_painted(view, down, across):
    size = (16, 16)
    axes = [Axis(length=length, window=16, overlap=8 if length > 16 else 0) for length in view]
    first = tuple(
        len(axis.begins) - 1 if back else 0 for axis, back in zip(axes, (down, across), strict=True)
    )
    nothing = torch.zeros(view, dtype=torch.bool)
    plan = fillings(*axes, first, both_ways=True, given=nothing, size=view)
    assert len(plan) == len(axes[0].begins) * len(axes[1].begins)
    painted = torch.zeros(view, dtype=torch.bool)
    for filling in plan:
        top, left = int(filling.rows[0]), int(filling.columns[0])
        corner = (view[0] - 16 - top if down else top, view[1] - 16 - left if across else left)
        mirrored = torch.tensor([[down], [across]])
        before = _mirrored(painted_before([corner], view, size), mirrored)
        known = _mirrored(known_quadrants([corner], size), mirrored)
        assert torch.equal(before[0, 0], painted)
        assert torch.equal(known[0, 0], filling.known)
        painted[filling.rows[:, None], filling.columns] = True


def test_windows_off_the_lattice_know_as_much_as_those_on_it():
    # A lattice that begins above and to the left of the view: only windows at an edge are first.
    for top, left in ((3, 5), (8, 1), (0, 7), (5, 0), (0, 0)):
        painted = painted_before([(top, left)], (32, 40), (16, 16))[0, 0]
        known = known_quadrants([(top, left)], (16, 16))[0, 0]
        assert torch.equal(painted[top : top + 16, left : left + 16], known)
        assert painted[:top].all()
        assert painted[top : top + 16, :left].all()
        assert not painted[top + 16 :].any()


class Spy(Downsampled):
    """Remembers what it was shown."""

    @override
    def __call__(self, images: Tensor) -> Tensor:
        self.shown = images.clone()
        return super().__call__(images)


@pytest.mark.parametrize("both_ways", [False, True])
def test_the_backbone_and_the_guide_see_what_stands_before_the_window(both_ways):
    spy = Spy((2, 2))
    training = ContextTraining(
        view=VIEW,
        backbone=spy,
        partial_share=0.5,
        quadrant_share=1.0,
        both_ways=both_ways,
        guide=PlanGuide(scale=(4, 4), noise=0.0, share=1.0),
    )
    view, kinds = views(40), set()
    example = training.examples(view, (16, 16), 0.0, seeded(1))
    assert torch.equal(example.conditions.known, example.known.float())
    for k, corner in enumerate(corners_of(example.conditions, VIEW, (16, 16))):
        own = slice(k, k + 1)
        found = []
        for down in (False, True)[: 1 + both_ways]:
            for across in (False, True)[: 1 + both_ways]:
                mirrored = torch.tensor([[down], [across]])
                seen = (
                    VIEW[0] - 16 - corner[0] if down else corner[0],
                    VIEW[1] - 16 - corner[1] if across else corner[1],
                )
                known = _mirrored(known_quadrants([seen], (16, 16)), mirrored)
                if not torch.equal(known, example.known[own]):
                    continue
                mask = _mirrored(painted_before([seen], VIEW, (16, 16)), mirrored)
                for kind, visible in (("partial", mask), ("whole", torch.ones_like(mask))):
                    if torch.equal(filled(view[own], visible), spy.shown[own]):
                        guide, guided = coarse_guide(view[own], visible, (4, 4))
                        rows, columns = (slice(start, start + 16) for start in corner)
                        part = (..., rows, columns)
                        torch.testing.assert_close(example.conditions.guide[own], guide[part])
                        torch.testing.assert_close(example.conditions.guided[own], guided[part])
                        found.append((kind, down, across))
        assert found, f"window {k} at {corner} sees what was never painted"
        kinds.update(found)
    assert {kind for kind, *_ in kinds} == {"partial", "whole"}
    assert len({(down, across) for _, down, across in kinds}) == (4 if both_ways else 1)


def test_a_backbone_that_sees_nothing_gives_no_tokens():
    training = ContextTraining(
        view=(16, 16), backbone=Downsampled((2, 2)), partial_share=1.0, token_dropout=0.0
    )
    example = training.examples(views(4, (16, 16)), (16, 16), 0.0, seeded())
    assert not example.conditions.given.any()
    whole = dataclasses.replace(training, partial_share=0.0)
    example = whole.examples(views(4, (16, 16)), (16, 16), 0.0, seeded())
    assert example.conditions.given.all()
    expected = views(4, (16, 16)).mean((2, 3))
    torch.testing.assert_close(example.conditions.tokens[:, 0], expected)


def test_tokens_and_guides_are_left_out_of_their_shares():
    training = ContextTraining(
        view=(8, 8),
        backbone=Downsampled((1, 1)),
        token_dropout=0.2,
        guide=PlanGuide(scale=(4, 4), share=0.7),
    )
    example = training.examples(views(4000, (8, 8)), (8, 8), 0.0, seeded())
    shown = example.conditions.guided.flatten(1).amax(1) > 0
    # 4,000 draws: standard errors of 0.0063 and 0.0072, and 0.5 / 63 of a correlation; five each.
    assert example.conditions.given.float().mean().item() == pytest.approx(0.8, abs=0.032)
    assert shown.float().mean().item() == pytest.approx(0.7, abs=0.036)
    both = torch.stack([example.conditions.given.float(), shown.float()])
    assert torch.corrcoef(both)[0, 1].abs() < 5 / 63


def test_plans_are_whole_views_cell_by_cell():
    training = ContextTraining(
        view=(64, 48),
        backbone=Downsampled((1, 1)),
        guide=PlanGuide(scale=(4, 3)),
        plan_share=1.0,
        token_dropout=0.0,
    )
    view = torch.rand(5, 3, 64, 48) * 2 - 1
    example = training.examples(view, (16, 16), 0.0, seeded())
    torch.testing.assert_close(example.x0, F.avg_pool2d(view, (4, 3)))
    assert example.conditions.plan.all()
    assert example.conditions.place.tolist() == [[-1, -1, 1, 1]] * 5
    assert not example.conditions.guided.any()
    assert not example.conditions.known.any()
    assert example.known is None
    torch.testing.assert_close(example.conditions.tokens[:, 0], view.mean((2, 3)))
    half = training.examples(view, (16, 8), 0.0, seeded())
    for k, (top, left) in enumerate(corners_of(half.conditions, (16, 16), (16, 8))):
        assert top == 0
        torch.testing.assert_close(half.x0[k], example.x0[k, :, :, left : left + 8])
    some = dataclasses.replace(training, plan_share=0.3)
    drawn = [some.examples(view, (16, 16), 0.0, seeded(k)).conditions.plan for k in range(400)]
    assert all(plan.all() or not plan.any() for plan in drawn)
    # 400 batches: a standard error of 0.023; five.
    assert sum(bool(plan[0]) for plan in drawn) / 400 == pytest.approx(0.3, abs=0.115)


def test_noise_is_added_to_what_is_known_and_to_nothing_else():
    training = ContextTraining(view=(16, 16), known_noise=0.5)
    known = torch.rand(2000, 1, 4, 4) < 0.5
    known[:, :, 0, 0] = True
    x0 = torch.rand(2000, 3, 4, 4)
    example = Examples(x0, Conditions(known=known.float()), known)
    error = training.noised(example, seeded()) - x0
    assert not error.where(~known, 0.0).any()
    # A deviation uniform in [0, 0.5] has a mean square of 0.25 / 3; 48,000 numbers, 2,000 levels
    # whose squares vary by 0.9 of their mean: 2 % of it, and the noise's own; five of them.
    square = error[known.expand_as(error)].square().mean().item()
    assert square == pytest.approx(0.25 / 3, rel=0.12)
    # The deviation is one for a sample: the squares of two of its channels go together.
    pixel = error[:, :, 0, 0].square()
    assert torch.corrcoef(pixel[:, :2].mT)[0, 1] > 5 / 2000**0.5
    assert training.noised(dataclasses.replace(example, known=None), seeded()) is x0
    still = dataclasses.replace(training, known_noise=0.0)
    assert still.noised(example, seeded()) is x0


def test_a_guide_fades_in_equal_ratios_and_is_gone():
    guide = FadingGuide(first=2.0, last=32.0, until=0.8)
    # Four doublings over four fifths of training.
    expected = [2.0, 4.0, 8.0, 16.0]
    assert [guide.blur(0.2 * k) for k in range(4)] == pytest.approx(expected, rel=1e-12)
    assert guide.blur(0.8 - 1e-12) == pytest.approx(32.0, rel=1e-9)
    assert guide.blur(0.8) is None
    assert guide.blur(1.0) is None
    view, mask = torch.rand(2, 3, 48, 40), torch.zeros(2, 1, 48, 40, dtype=torch.bool)
    shown, said = guide.shown(view, mask, 0.2, seeded())
    # A Gaussian of 4 px, cut off at three deviations, mirrored at the edge.
    torch.testing.assert_close(shown, gaussian_blur(view, [25, 25], [4.0, 4.0]))
    assert (said == 1).all()
    none, nothing = guide.shown(view, mask, 0.8, seeded())
    assert not none.any()
    assert not nothing.any()
    # A blur wider than the view still has a mirror.
    assert guide.shown(view[..., :8], mask[..., :8], 0.79, seeded())[0].isfinite().all()


def test_the_error_of_a_plan_is_that_of_its_cells():
    guide = PlanGuide(scale=(4, 4), noise=0.6)
    view, mask = torch.rand(500, 3, 12, 12), torch.ones(1, 1, 12, 12, dtype=torch.bool)
    shown, said = guide.shown(view, mask.expand(500, -1, -1, -1), 0.0, seeded())
    exact, _ = coarse_guide(view, mask, (4, 4))
    error = shown - exact
    assert (said == 1).all()
    # Between the middles of cells it goes in straight lines: no second difference but there.
    bends = error.diff(n=2, dim=-1).abs().amax((0, 1, 2))
    assert (bends[[2, 3, 6]] < 1e-5).all()
    # Corners lie beyond the middles of all cells and show one alone: 0.36 / 3 on average; 500
    # levels, three colours, four corners: 4 % and 2 %; five of both.
    square = error[..., [0, 0, -1, -1], [0, -1, 0, -1]].square().mean().item()
    assert square == pytest.approx(0.36 / 3, rel=0.25)
    assert guide.description == {"guide": "plan", "scale": [4, 4]}


TRAINING = ContextTraining(
    view=(64, 64),
    backbone=Downsampled((2, 2)),
    token_dropout=0.5,
    partial_share=0.5,
    guide=PlanGuide(scale=(4, 4), noise=0.0, share=0.5),
    plan_share=0.5,
    quadrant_share=0.5,
)


def test_validation_tells_everything_and_always_the_same():
    view = views(16, (64, 64))
    for seed in range(8):
        one, two = (TRAINING.held_out.examples(view, (16, 16), 0.0, seeded(seed)) for _ in range(2))
        assert torch.equal(one.x0, two.x0)
        assert torch.equal(one.conditions.guide, two.conditions.guide)
        assert one.conditions.given.all()
        assert (one.conditions.guided == 1).all()
        assert not one.conditions.plan.any()
        assert one.known is None
    assert TRAINING.held_out.guide.scale == (4, 4)


def test_the_description_is_what_sampling_must_know():
    assert TRAINING.description == {
        "view": [64, 64],
        "backbone": Downsampled((2, 2)).description,
        "plans": True,
        "guide": "plan",
        "scale": [4, 4],
    }
    json.dumps(TRAINING.description)


ALL = frozenset({"tokens", "guide", "known", "place", "plan"})


def test_a_network_that_takes_what_it_is_told_is_welcome():
    TRAINING.validate_fit(ALL, 3, 16)
    TRAINING.validate_fit(ALL - {"place"}, 3, 16)


@pytest.mark.parametrize(
    ("change", "takes", "features", "message"),
    [
        ({}, ALL - {"tokens"}, 3, "token_features says that it does not take tokens, but .* tells"),
        ({"backbone": None}, ALL, 3, "says that it takes tokens, but the context does not tell"),
        ({}, ALL - {"guide"}, 3, "network.guide says that it does not take guide"),
        ({"plan_share": 0.0}, ALL, 3, "network.modes says that it takes plan"),
        ({}, ALL - {"known"}, 3, "network.known_channel says that it does not take known"),
        ({}, ALL, 4, "token_features must be 3, the width of the backbone's tokens, got 4"),
        ({"view": (64, 8)}, ALL, 3, r"view must hold a patch of 16 px, got \(64, 8\)"),
        ({"view": (64, 60)}, ALL, 3, r"view must be \(64, 64\), got \(64, 60\)"),
    ],
)
def test_a_network_that_does_not_is_refused(change, takes, features, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TRAINING, **change).validate_fit(takes, features, 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContextTraining(view=(8, 8), token_dropout=1.5), "token_dropout must be in"),
        (lambda: ContextTraining(view=(8, 8), quadrant_share=-0.5), "quadrant_share must be in"),
        (lambda: ContextTraining(view=(8, 8), known_noise=-0.5), "known_noise must be at least 0"),
        (lambda: ContextTraining(view=(8, 8), views=0), "views must be at least 1, got 0"),
        (
            lambda: ContextTraining(view=(8, 8), plan_share=0.5, guide=FadingGuide()),
            "plan_share needs a guide that plans can be",
        ),
        (lambda: PlanGuide(share=1.5), r"samples that are guided is in \[0, 1\], got 1.5"),
        (lambda: PlanGuide(scale=(0, 4)), "scale must be at least 1 px"),
        (lambda: PlanGuide(noise=-1.0), "its noise at least 0"),
        (lambda: FadingGuide(first=0.0), "fades from first > 0"),
        (lambda: FadingGuide(first=4.0, last=2.0), "fades from first > 0"),
        (lambda: FadingGuide(until=0.0), r"over a share until of training in \(0, 1\]"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        make()


def test_a_data_set_serves_views_and_as_many_as_are_asked_for():
    data = Numbered(patch_size=16, batch_size=2, patches_per_epoch=8, val_patches=8)
    data.serve(24, 40, distinct=3)
    for loader, numbers in (
        (data._loader("train", range(8), drop_last=True), 3),
        (data._loader("val", range(8), drop_last=True), 8),
    ):
        loader = torch.utils.data.DataLoader(loader.dataset, batch_size=8)
        batch = next(iter(loader))
        assert batch.shape == (8, 3, 24, 40)
        first = ((batch[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()
        assert first == [number % numbers for number in range(8)]


def config_of(folder: Path, **context: Any) -> dict[str, Any]:
    """A tiny training with every context there is."""
    config = configuration(folder)
    config["model"]["network"]["init_args"] |= {
        "attention_levels": 1,
        "token_features": 3,
        "token_grid": [2, 2],
        "position": "coordinates",
        "guide": True,
        "known_channel": True,
        "modes": True,
        "dropout": 0.3,
    }
    guide = {"class_path": "lightning_modules.guides.PlanGuide", "init_args": {"scale": [2, 2]}}
    backbone = {"class_path": "backbones.downsampled.Downsampled", "init_args": {"grid": [2, 2]}}
    config["model"]["context"] = {
        "view": [32, 32],
        "backbone": backbone,
        "guide": guide,
        "plan_share": 0.3,
        "quadrant_share": 0.5,
        "partial_share": 0.5,
        "known_noise": 0.1,
    } | context
    return config


@pytest.fixture
def module(tmp_path, monkeypatch) -> DenoiserTraining:
    """A module as the command line builds it, untrained, that logs nowhere."""
    config = config_of(tmp_path, plan_share=0.1, quadrant_share=1.0)
    made = main([f"--config={written(tmp_path, config)}"], run=False).model
    made.log = lambda *args, **kwargs: None
    monkeypatch.setattr(DenoiserTraining, "_progress", 0.5)
    made.half_share = 0.0
    return made


@pytest.mark.parametrize("clean_share", [0.0, 1.0])
def test_what_is_known_teaches_nothing(module, clean_share):
    module.context = dataclasses.replace(
        module.context, plan_share=0.0, guide=None, clean_share=clean_share
    )
    asked = {}

    def losses(x0: Tensor, sigma: Tensor, eps: Tensor, told: Conditions) -> tuple[Tensor, None]:
        squared = torch.rand_like(x0).requires_grad_()
        asked.update(squared=squared, sigma=sigma, known=told.known > 0, told=told)
        return squared, None

    module.denoiser.losses = losses
    levels = []
    shared = type(module.noise_levels).shared

    def fixed(own: Any, batch: int, generator: Generator) -> Levels:
        drawn = shared(own, batch, generator)
        weight = torch.rand(batch, 1, 1, 1) + 0.5
        levels.append(Levels(drawn.sigma, weight))
        return levels[-1]

    own = module.noise_levels
    object.__setattr__(own, "shared", lambda *args: fixed(own, *args))
    for batch_idx in range(6):
        loss = module.training_step(torch.rand(BATCH, 3, 32, 32) * 2 - 1, batch_idx)
        loss.backward()
        known = asked["known"]
        gradient = asked["squared"].grad
        assert not gradient.where(known, 0.0).any()
        unknown = (~known).expand_as(gradient)
        # The same weight for every pixel that is to be made, of a sample.
        share = levels[-1].weight.expand_as(gradient) / unknown.sum()
        torch.testing.assert_close(gradient[unknown], share[unknown])
        expected = (share * asked["squared"])[unknown].sum()
        torch.testing.assert_close(loss, expected)
        sigma = asked["sigma"].expand(BATCH, 1, 16, 16)
        assert ((sigma == 0) == (known & (clean_share == 1.0))).all()
        one_level = levels[-1].sigma.expand_as(sigma)
        assert torch.equal(sigma[sigma > 0], one_level[sigma > 0])


def test_known_quadrants_are_told_with_their_noise_and_levels(module):
    # Without noise maps in training all known quadrants carry the level of the rest.
    module.noise_levels.__class__.makes_maps, before = False, module.noise_levels.makes_maps
    try:
        known = torch.ones(2, 1, 16, 16, dtype=torch.bool)
        for seed in range(20):
            levels = module._levels(torch.zeros(2, 3, 16, 16), known, seeded(seed))
            assert levels.sigma.shape == (2, 1, 1, 1)
    finally:
        module.noise_levels.__class__.makes_maps = before


def test_a_network_without_its_context_is_refused(tmp_path, capsys):
    config = config_of(tmp_path)
    del config["model"]["context"]
    with pytest.raises(SystemExit, match="2"):
        run("fit", written(tmp_path, config))
    assert "model.context must say which it is shown" in capsys.readouterr().err
    config = config_of(tmp_path)
    config["model"]["network"]["init_args"]["token_features"] = 5
    with pytest.raises(SystemExit):
        run("fit", written(tmp_path, config))
    assert "token_features must be 3" in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run("fit", written(folder, config_of(folder)), recording(folder))
    return folder


def scalars(folder: Path) -> dict[str, list[float]]:
    (path,) = (folder / "logs" / "version_0").glob("events*")
    accumulator = EventAccumulator(str(path))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [event.value for event in accumulator.Scalars(tag)] for tag in tags}


def test_a_fit_logs_its_gates_and_what_contexts_are_worth(trained):
    logged = scalars(trained)
    gates = ["middle.0.0", "middle.1.0"]
    assert {tag for tag in logged if tag.startswith("gate/")} == {
        "gate/mean",
        *(f"gate/{name}" for name in gates),
    }
    final = checkpoint(trained / "last.ckpt")["current_model_state"]
    for name in gates:
        values = logged[f"gate/{name}"]
        assert len(values) == STEPS
        assert len(set(values)) > 2  # they move
        level, block = name.rsplit(".", 1)
        stored = final[f"denoiser.network.{level}.contexts.{block}.gate"]
        assert values[-1] == pytest.approx(stored.item(), rel=1e-6)
    pairs = zip(*(logged[f"gate/{name}"] for name in gates), strict=True)
    means = [sum(pair) / 2 for pair in pairs]
    assert logged["gate/mean"] == pytest.approx(means, rel=1e-6)
    assert len(logged["val/loss_unconditional"]) == len(logged["val/loss"])
    assert logged["val/loss_unconditional"] != logged["val/loss"]


def test_an_export_says_what_it_was_told_by(trained, tmp_path):
    export(trained / "last.ckpt", tmp_path / "tiny.safetensors", dtype="float32")
    denoiser = load_denoiser(tmp_path / "tiny.safetensors")
    assert denoiser.conditioning == {
        "view": [32, 32],
        "backbone": Downsampled((2, 2)).description,
        "plans": True,
        "guide": "plan",
        "scale": [2, 2],
    }
    assert denoiser.takes == ALL
    averaged = checkpoint(trained / "last.ckpt")["state_dict"]
    own = denoiser.network.state_dict()
    assert all(torch.equal(own[name], averaged[f"denoiser.network.{name}"]) for name in own)


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 4])
def test_a_training_with_contexts_resumes_to_the_same_bits(trained, tmp_path, step):
    path = written(tmp_path, config_of(tmp_path))
    with pytest.raises(CrashError):
        run("fit", path, stopping(step))
    run("fit", path, ["--ckpt_path=last"])
    whole, parts = (checkpoint(folder / "last.ckpt") for folder in (trained, tmp_path))
    for key in (*STATE, "lr_schedulers", "conditioning", "progress"):
        assert differences(parts[key], whole[key]) == []


@pytest.mark.slow
def test_an_evaluation_is_that_of_the_fit_however_far_the_guide_has_faded(tmp_path):
    fading = {
        "class_path": "lightning_modules.guides.FadingGuide",
        "init_args": {"first": 1.0, "last": 4.0, "until": 0.5},
    }
    config = config_of(tmp_path, guide=fading, plan_share=0.0)
    config["model"]["network"]["init_args"]["modes"] = False
    path = written(tmp_path, config)
    run("fit", path)
    logged = scalars(tmp_path)
    for step, place in ((4, 0), (8, 1)):
        flags = [f"--ckpt_path={tmp_path / f'step={step}.ckpt'}"]
        metrics = run("validate", path, flags).trainer.callback_metrics
        for name in ("val/loss", "val/loss_unconditional"):
            # Float32.
            assert logged[name][place] == pytest.approx(metrics[name].item(), rel=1e-6)


def test_the_likelihood_is_that_of_windows_from_all_over_their_views(module):
    asked = []
    module.likelihood_sums = SimpleNamespace(update=lambda batch, generator: asked.append(batch))
    module._log_bands = lambda *args: None
    row = torch.arange(32.0).view(1, 1, 32, 1).expand(BATCH, 3, 32, 32)
    views = torch.stack([row[:, 0], row[:, 0].mT, row[:, 0]], dim=1)
    for batch_idx in range(20):
        module.test_step(views, batch_idx)
    windows = torch.cat(asked)
    # A window is known by its corner; all rows and columns of it follow.
    corners = windows[:, :2, :1, :1]
    assert torch.equal(
        windows[:, :2] - corners, views[:1, :2, :16, :16].expand(len(windows), -1, -1, -1)
    )
    for axis in (0, 1):
        found = set(corners[:, axis].flatten().tolist())
        # 80 draws of 17 places: one is missed with chance 17 (16 / 17)^80 = 0.13, four hardly.
        assert found <= set(range(17))
        assert len(found) >= 14


def test_a_network_of_places_without_its_training_predicts_nothing(module):
    module.denoiser.conditioning = None
    with pytest.raises(TrainingError, match="ckpt_path"):
        module.predict_step(torch.arange(1), 0)


@pytest.mark.slow
def test_patches_are_predicted_whatever_is_told(trained):
    flags = [f"--ckpt_path={trained / 'last.ckpt'}"]
    run("predict", trained / "tiny.yaml", flags)


@pytest.mark.slow
def test_views_are_as_many_as_are_asked_for(tmp_path):
    config = config_of(tmp_path, views=5)
    config["data"]["class_path"] = "tests.tiny_training.Numbered"
    run("fit", written(tmp_path, config), recording(tmp_path))
    assert recorded(tmp_path) == [number % 5 for number in range(BATCH * STEPS)]
