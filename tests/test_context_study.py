"""The ablation must train what it says, complete blocks where they lie, and measure responses."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import yaml

from backbones.downsampled import Downsampled
from backbones.stand_ins import save_clip, save_dino
from benchmarks.metrics.estimates import Estimate
from benchmarks.tables.columns import ABSENT
from datamodules.landscapes import Landscapes
from denoisers.checkpoint import save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from lightning_modules.__main__ import main
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.direct import Direct
from studies.context import measuring
from studies.context.__main__ import study
from studies.context.completion import Completion, block_corners, completion_error, error_of
from studies.context.configurations import CONFIGS, CONFIGURATIONS, Training
from studies.context.responses import mean_difference, response
from studies.context.table import STRATEGIES, Line, tables
from studies.harness import Run
from tests.test_guides_study import FIGURE, results, row


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("stand_ins")
    save_clip(folder / "clip")
    save_dino(folder / "dino")
    return {name: str(folder / name) for name in ("clip", "dino")}


def training(name: str, folder: Path, weights: dict[str, str], **changes) -> Training:
    settings = {"steps": 7, "seed": 3, "scale": "small", "views": (30, 100), "data": ()}
    return Training(name=name, folder=folder, weights=weights, **(settings | changes))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_can_be_built(name, tmp_path, monkeypatch, weights):
    command = training(name, tmp_path, weights).command
    monkeypatch.chdir(tmp_path)
    model = main(command[1:], run=False).model
    configuration, network = CONFIGURATIONS[name], model.denoiser.network
    assert ("tokens" in model.denoiser.takes) == (configuration.backbone is not None)
    assert ("place" in model.denoiser.takes) == configuration.position
    assert (model.context.guide is not None) == configuration.fading_guide
    assert model.context.views == (100 if configuration.more_data else 30)
    if configuration.backbone is None:
        assert model.context.backbone is None
        assert not network.gates
    else:
        kind = type(model.context.backbone).__name__.lower()
        assert kind == configuration.backbone
        assert {gate.item() for gate in network.gates.values()} == {configuration.gate}
        assert (network.tokens.codes is None) != configuration.position


def test_the_full_scale_is_as_large_as_the_papers(tmp_path, monkeypatch, weights):
    """177 M parameters, 64 px, 1,000 linear-beta steps ([T], Training)."""
    monkeypatch.chdir(tmp_path)
    network = yaml.safe_load(CONFIGS["full"].read_text())["model"]["network"]["init_args"]
    with torch.device("meta"):
        model = UNet(**network, position="coordinates", token_features=768, token_grid=(16, 16))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(177, rel=0.05)
    levels = yaml.safe_load(CONFIGS["full"].read_text())["model"]["noise_levels"]
    assert levels["class_path"] == "sampling.noise_levels.linear_beta.LinearBeta"
    assert levels["init_args"]["steps"] == 1000


class Constant(EDMPrecond):
    """Says everywhere where its window begins and ends, and notes what it was told."""

    def forward(self, x_t, sigma, context=None):
        self.told = context
        top, left, bottom, right = context.place.T
        said = torch.stack([left + right, top + bottom, right - left + bottom - top], dim=1) / 2
        return said[..., None, None].expand_as(x_t)


def located() -> Constant:
    network = UNet(
        channels=[32], blocks=[1], attention_levels=0, position="block", known_channel=True
    )
    return Constant(network, patch_size=16)


def test_a_block_is_completed_where_it_lies_in_its_view():
    denoiser, data, view = located(), Landscapes(patch_size=16), (32, 48)
    found = completion_error(
        denoiser, None, data, "test", view=view, count=5, solver=Heun(num_steps=2), seed=1
    )
    views = data.crops("test", 5, *view).float() / 127.5 - 1
    corners = block_corners(5, view, 16, 1)
    assert all(top >= 1 and left >= 1 for top, left in corners)
    made, true = [], []
    for image, (top, left) in zip(views, corners, strict=True):
        true.append(image[:, top + 8 : top + 16, left + 8 : left + 16])
        # Middles across and down, and the sum of both sides' shares.
        said = [2 * (left + 8) / 48 - 1, 2 * (top + 8) / 32 - 1, 16 / 48 + 16 / 32]
        made.append(torch.tensor(said).view(3, 1, 1).expand(3, 8, 8))
    expected = error_of(torch.stack(made), torch.stack(true))
    # Pasting and a last step to 0 leave the estimate as it is, up to float32.
    assert found.pixels == pytest.approx(expected.pixels, rel=1e-5)
    assert found.colour == pytest.approx(expected.colour, rel=1e-5)
    quadrant = torch.ones(16, 16)
    quadrant[8:, 8:] = 0
    assert torch.equal(denoiser.told.known, quadrant.expand(5, 1, 16, 16))


def test_the_backbone_sees_the_view_that_a_block_was_cut_from():
    network = UNet(
        channels=[32],
        blocks=[1],
        attention_levels=1,
        features=16,
        position="block",
        token_features=3,
        known_channel=True,
    )
    denoiser, data, view = Constant(network, patch_size=16), Landscapes(patch_size=16), (32, 48)
    settings = {"view": view, "count": 3, "solver": Heun(num_steps=2), "seed": 1}
    completion_error(denoiser, Downsampled(), data, "train", **settings)
    views = data.crops("train", 3, *view).float() / 127.5 - 1
    assert torch.equal(denoiser.told.tokens, Downsampled()(views))


def test_a_line_is_made_of_the_harness_and_of_the_network(tmp_path, monkeypatch, weights):
    one = training("clip", tmp_path, weights)
    network = UNet(
        channels=[32],
        blocks=[1],
        attention_levels=1,
        features=16,
        token_features=32,
        position="coordinates",
        known_channel=True,
    )
    conditioning = {"view": [16, 48], "backbone": one.backbone.description}
    provenance = {
        "steps": 7,
        "losses_step": 7,
        "losses": {"val/loss": 0.1, "val/loss_unconditional": 0.2},
    }
    made = EDMPrecond(network, patch_size=16, conditioning=conditioning)
    save_denoiser(made, one.denoiser, provenance=provenance)
    asked = []

    def measured(folder, name, strategies, *words):
        asked.append((folder, strategies, words))
        rows = (row(strategy, palette_distance=FIGURE) for strategy in strategies)
        return Run(folder, results(*rows))

    monkeypatch.setattr(measuring, "measured", measured)
    settings = {"num_samples": 3, "num_reference": 5, "num_steps": 2, "completions": 2}
    more = {"guidance": 1.5, "canvas_width": None, "prompts": ("blue", "red"), "device": "cpu"}
    how = measuring.Measuring(root=None, **settings, **more)
    line = how.line(one, how.canvases(one))
    ((folder, strategies, words),) = asked
    assert (folder, strategies) == (tmp_path, STRATEGIES)
    assert {
        f"denoiser={one.denoiser}", "canvas.height=16", "canvas.width=48", "num_samples=3",
        "num_reference=5", "solver.num_steps=2", "seed=3", "context=seed_image",
        "context.guidance_scale=1.5", "device=cpu",
    } <= set(words)  # fmt: skip
    assert (line.loss, line.loss_unconditional) == (0.1, 0.2)
    assert line.figures["diffcollage"]["palette_distance"] == FIGURE
    assert set(line.gates.values()) == {0.5}
    assert set(line.completion) == {"train", "test"}
    # At first no network follows its tokens: its last layers are 0.
    assert line.responses == {"images": 0.0, "words": 0.0}


def test_an_export_that_was_stopped_halfway_is_made_again(tmp_path, weights, monkeypatch):
    one = training("no_backbone", tmp_path, weights)
    one.denoiser.touch()
    ran = []
    monkeypatch.setattr("studies.training.run", lambda *words: ran.append(words[0]))
    one.carry_out()
    assert ran == ["lightning_modules", "lightning_modules.export"]
    one.denoiser.with_suffix(".json").touch()
    one.carry_out()
    assert len(ran) == 2


def test_errors_of_pixels_and_of_mean_colours():
    true = torch.zeros(1, 3, 2, 2)
    # Two of four pixels are off by 1 to either side: means agree, pixels do not.
    made = torch.tensor([[1.0, -1.0], [0.0, 0.0]]).expand(1, 3, 2, 2)
    found = error_of(made, true)
    assert (found.pixels, found.colour) == (pytest.approx(math.sqrt(0.5)), 0.0)
    assert error_of(true + 0.25, true) == Completion(pixels=0.25, colour=0.25)


def test_the_mean_difference_is_over_pairs():
    images = torch.tensor([0.0, 1.0, 3.0]).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    # Squares of 1, 3 and 2.
    assert mean_difference(images) == pytest.approx(math.sqrt(14 / 3))


def test_a_response_is_to_tokens_alone():
    torch.manual_seed(0)
    network = UNet(channels=[32], blocks=[1], attention_levels=1, features=16, token_features=3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    denoiser = EDMPrecond(network, patch_size=16)
    strategy, canvas = Direct(solver=Heun(num_steps=2)), Canvas(height=16, width=16)
    tokens = torch.randn(3, 1, 3)
    assert response(strategy, denoiser, canvas, tokens[:1].repeat(2, 1, 1), seed=0) == 0
    assert response(strategy, denoiser, canvas, tokens, seed=0) > 0
    with pytest.raises(ValueError, match="at least two rows of tokens, got 1"):
        response(strategy, denoiser, canvas, tokens[:1], seed=0)


def test_the_table_has_a_line_for_every_configuration():
    figure = Estimate(2.5, 2.0, 3.0)
    completion = {split: Completion(0.1, 0.05) for split in ("train", "test")}
    line = Line(
        name="clip",
        loss=0.1,
        loss_unconditional=0.2,
        gates={"middle.0.0": 0.5, "middle.1.0": 0.25},
        figures={name: {"fid_plus": figure} for name in ("lshape_repaint", "diffcollage")},
        completion=completion,
        responses={"images": 0.3},
    )
    without = dataclasses.replace(line, name="no_backbone", gates={}, responses={})
    page = tables([line, without], "N = 1").splitlines()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page if "| `" in row]
    assert [row[0] for row in rows] == ["`clip`", "`no_backbone`"] * 3
    assert rows[0][1:] == ["2.5 (2 to 3)", *[ABSENT] * 5]
    assert rows[4][1:] == ["0.1000", "0.2000", "0.375", "0.1000", "0.1000", "0.3000", ABSENT]
    assert rows[5][1:] == ["0.1000", "0.2000", ABSENT, "0.1000", "0.1000", ABSENT, ABSENT]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"configurations": ("clipp",)}, "configurations must be among clip, dino"),
        ({"root": Path("nowhere")}, "root must be a folder of photographs, got nowhere"),
        ({"scale": "full"}, "--scale full needs photographs"),
        ({"prompts": ("blue",)}, "prompts must be at least two"),
        ({"completions": 301}, "completions must be at most the views of training"),
    ],
)
def test_what_cannot_be_studied_is_refused(settings, said, tmp_path, capsys):
    assert study(**settings, folder=tmp_path / "none") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
