"""The study must train every sampler alike, go on where it stopped, and put down what it found."""

import json

import pytest

from benchmarks.metrics.estimates import Estimate
from benchmarks.tables.columns import ABSENT
from lightning_modules.__main__ import main
from studies.noise_levels.__main__ import study
from studies.noise_levels.table import Line, table
from studies.noise_levels.training import SAMPLERS, Training


def training(folder, sampler: str = "controlled", **changes) -> Training:
    settings = {"data": (), "steps": 7, "seed": 3}
    return Training(name=sampler, folder=folder, **(settings | changes))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_training_can_be_built(sampler, tmp_path, monkeypatch):
    subcommand, *flags = training(tmp_path, sampler).command
    assert subcommand == "fit"
    monkeypatch.chdir(tmp_path)
    cli = main(flags, run=False)
    levels = type(cli.model.noise_levels)
    assert f"{levels.__module__}.{levels.__name__}".endswith(SAMPLERS[sampler][0])
    assert (cli.model.noise_levels.p_mean, cli.model.noise_levels.p_std) == (-0.8, 1.4)
    assert cli.model.denoiser.takes_noise_maps == (sampler != "shared")
    assert (cli.trainer.max_steps, cli.model.seed) == (7, 3)
    # The last step ends an epoch, and that one is validated.
    epochs = 7 * cli.datamodule.batch_size / cli.datamodule.patches_per_epoch
    assert epochs == cli.trainer.check_val_every_n_epoch == 1


def test_trainings_differ_in_their_levels_alone(tmp_path):
    commands = [training(tmp_path, sampler).command for sampler in ("independent", "controlled")]
    differ = [pair for pair in zip(*commands, strict=True) if pair[0] != pair[1]]
    assert all(
        first.replace("independent.Independent", "").replace("independent", "")
        == second.replace("controlled.Controlled", "").replace("controlled", "")
        for first, second in differ
    )


def test_a_training_that_was_begun_goes_on(tmp_path):
    assert not any("ckpt_path" in word for word in training(tmp_path).command)
    last = tmp_path / "controlled" / "last.ckpt"
    last.parent.mkdir()
    last.touch()
    assert training(tmp_path).command[-1] == f"--ckpt_path={last}"


@pytest.mark.parametrize("steps", [6, 8])
def test_a_denoiser_of_another_budget_is_refused(tmp_path, steps):
    done = training(tmp_path)
    provenance = {"steps": steps, "losses_step": steps, "losses": {"val/loss": 0.1}}
    done.denoiser.with_suffix(".json").write_text(json.dumps({"provenance": provenance}))
    with pytest.raises(ValueError, match=f"must be of 7 steps .* got {steps}"):
        done.losses()


def test_the_table_has_a_line_for_every_sampler():
    losses = {
        "loss": 0.1,
        "loss_maps_outpainting": 0.2,
        "loss_maps_wavefront": 0.3,
        "loss_maps_independent": 0.4,
    }
    figure = Estimate(2.5, 2.0, 3.0)
    lines = [
        Line("shared", {"loss": 0.05}, figure, figure, None),
        Line("controlled", losses, figure, figure, Estimate(1.25, 1.0, 1.5)),
    ]
    caption, _, _, _, *rows = table(lines, "N = 1").splitlines()
    assert caption == "N = 1"
    shared, controlled = ([cell.strip() for cell in row.split("|")[1:-1]] for row in rows)
    interval = "2.50 (2.00-3.00)"
    assert shared == ["`shared`", "0.0500", *[ABSENT] * 3, interval, interval, ABSENT]
    losses = ["0.1000", "0.2000", "0.3000", "0.4000"]
    assert controlled == ["`controlled`", *losses, interval, interval, "1.25 (1.00-1.50)"]


@pytest.mark.parametrize(
    ("wrong", "must"),
    [
        ({"samplers": ("mixed",)}, "samplers must be among shared"),
        ({"samplers": ()}, "samplers must be among shared"),
        ({"data": "photos"}, "root must be a folder of photographs"),
    ],
)
def test_bad_input_is_said_before_any_training(wrong, must, tmp_path, capsys):
    assert study(folder=tmp_path / "study", **wrong) == 2
    assert must in capsys.readouterr().out
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_study_from_training_to_table(tmp_path, capfd):
    settings = {"samplers": ("shared", "controlled"), "steps": 4, "num_samples": 3, "num_steps": 2}
    assert study(folder=tmp_path, **settings) == 0
    (folder,) = tmp_path.iterdir()
    lines = (folder / "table.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["`shared`", "`controlled`"]
    # Again: nothing is trained or sampled anew.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    capfd.readouterr()
    assert study(folder=tmp_path, **settings) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(folder.glob("*-controlled-3-2"))) == 1
