"""The likelihood that `test` reports: its sums, its names, and a network whose bound is known."""

import csv
import math
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from datamodules.landscapes import Landscapes
from denoisers.precond import EDMPrecond
from lightning_modules import likelihood
from lightning_modules.likelihood import Likelihood, LikelihoodSums
from sampling.elbo import Prior, Terms, byte_decoder
from tests.tiny_training import configuration, run, run_apart
from tests.tiny_training import write_configuration as written

PATHS = ("joint", "sequential", "wavefront", "random")


class Zero(nn.Module):
    """A network that has learnt nothing: preconditioned, the denoiser of N(0, sigma_data^2)."""

    multiple, in_channels = 1, 1

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        return torch.zeros_like(x)


def zero(sigma_data: float = 0.5, *, takes_noise_maps: bool = True) -> EDMPrecond:
    return EDMPrecond(Zero(), 4, sigma_data, takes_noise_maps=takes_noise_maps)


def white_bound(x0: Tensor, settings: Likelihood) -> Tensor:
    """The bound of each image under N(0, 1/4) pixels: the integral is a difference of divergences.

    The prior cancels one of them.
    """
    prior = Prior(mean=0.0, std=0.5)
    return prior.kl(x0, settings.sigma_min) + byte_decoder(x0, settings.sigma_min)


def test_figures_are_those_of_all_images_whatever_the_batches_and_processes(monkeypatch):
    generator = Generator().manual_seed(0)
    nats = torch.randn(7, 3, generator=generator, dtype=torch.float64) + 2
    prior, decoder = torch.rand(2, 7, generator=generator, dtype=torch.float64)

    def terms_of(denoiser, x0, path, **options):
        assert options["prior"] == Prior(mean=0.0, std=0.7)
        assert options["draws"] == 3
        assert (path.sigma_min, path.sigma_max) == (0.01, 40.0)
        image = x0.flatten(1)[:, 0].long()
        column = ["Joint", "Sequential", "Random"].index(type(path).__name__)
        diffusion = nats[image, column] - prior[image] - decoder[image]
        return Terms(prior=prior[image], diffusion=diffusion, decoder=decoder[image])

    monkeypatch.setattr(likelihood, "image_terms", terms_of)
    settings = Likelihood(
        paths=("joint", "sequential", "random"), draws=3, sigma_min=0.01, sigma_max=40.0
    )
    first, second = (LikelihoodSums(settings, zero(0.7)) for _ in range(2))
    images = torch.arange(7.0).view(7, 1, 1, 1)
    first.update(images[:3], generator)
    first.update(images[3:5], generator)
    second.update(images[5:], generator)
    figures = first.summary(lambda sums: sums + second.sums)
    expected = {"nats_prior": prior.mean(), "nats_decoder": decoder.mean()}
    for column, name in enumerate(settings.paths):
        mean, error = nats[:, column].mean(), nats[:, column].std() / math.sqrt(7)
        expected |= {
            f"nats_per_dim_{name}": mean,
            f"nats_per_dim_{name}_se": error,
            f"nats_diffusion_{name}": mean - prior.mean() - decoder.mean(),
            f"bits_per_dim_{name}": mean / math.log(2),
            f"bits_per_dim_{name}_se": error / math.log(2),
        }
    for column, name in ((1, "sequential"), (2, "random")):
        difference = nats[:, column] - nats[:, 0]
        expected[f"nats_{name}_over_joint"] = difference.mean()
        expected[f"nats_{name}_over_joint_se"] = difference.std() / math.sqrt(7)
    assert figures == pytest.approx({name: value.item() for name, value in expected.items()})


def test_a_network_that_learnt_nothing_has_the_likelihood_of_white_noise(tmp_path):
    config = configuration(tmp_path)
    config["data"]["init_args"] |= {"val_patches": 10, "batch_size": 6}  # an uneven last batch
    cli = run("test", written(tmp_path, config), ["--model.likelihood.draws=8"])
    metrics = {name: value.item() for name, value in cli.trainer.callback_metrics.items()}
    data = Landscapes(patch_size=16).crops("test", 10, 16, 16).float() / 127.5 - 1
    expected = white_bound(data, Likelihood()).mean().item()
    for path in PATHS:
        error = metrics[f"test/nats_per_dim_{path}_se"]
        # The error is mostly that of ten different images, which both sides share.
        assert metrics[f"test/nats_per_dim_{path}"] == pytest.approx(expected, abs=2 * error)
        assert 0 < error < 0.4
    for path in PATHS[1:]:
        error = metrics[f"test/nats_{path}_over_joint_se"]
        assert abs(metrics[f"test/nats_{path}_over_joint"]) < 3 * error
    decoder = byte_decoder(data, 0.002).mean().item()
    assert metrics["test/nats_decoder"] == pytest.approx(decoder, rel=1e-5)  # float32
    assert not any("val" in name for name in metrics)


def test_the_flags_of_the_command_line_outweigh_the_checkpoint(tmp_path):
    path = written(tmp_path)
    run("fit", path, ["--trainer.max_steps=1"])
    flags = ["--model.likelihood.paths=[random,joint]", "--model.likelihood.draws=1"]
    cli = run("test", path, [f"--ckpt_path={tmp_path / 'last.ckpt'}", *flags])
    assert cli.model.likelihood == Likelihood(paths=["random", "joint"], draws=1)
    nats = {name for name in cli.trainer.callback_metrics if "test/nats_per_dim" in name}
    figures = {f"test/nats_per_dim_{path}" for path in ("joint", "random")}
    assert nats == figures | {f"{name}_se" for name in figures}


def csv_metrics(folder: Path) -> dict[str, float]:
    (path,) = folder.rglob("metrics.csv")
    with path.open() as file:
        (row,) = csv.DictReader(file)
    return {name: float(value) for name, value in row.items()}


@pytest.mark.slow
def test_two_processes_report_all_images(tmp_path):
    config = configuration(tmp_path)
    config["data"]["init_args"] |= {"val_patches": 7, "batch_size": 2}  # shares of 4 and 3
    flags = ["--trainer.devices=2", "--trainer.strategy=ddp", "--model.likelihood.draws=8"]
    config["trainer"]["logger"] = {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": str(tmp_path)},
    }
    done = run_apart("test", written(tmp_path, config), flags)
    assert done.returncode == 0, done.stderr
    metrics = csv_metrics(tmp_path)
    data = Landscapes(patch_size=16).crops("test", 7, 16, 16).float() / 127.5 - 1
    # Nothing is drawn for these two, so they are exact but for float32.
    ends = {
        "prior": Prior().kl(data, 80.0).mean().item(),
        "decoder": byte_decoder(data, 0.002).mean().item(),
    }
    for name, value in ends.items():
        assert metrics[f"test/nats_{name}"] == pytest.approx(value, rel=1e-5)
    expected = white_bound(data, Likelihood()).mean().item()
    for path in PATHS:
        error = metrics[f"test/nats_per_dim_{path}_se"]
        assert metrics[f"test/nats_per_dim_{path}"] == pytest.approx(expected, abs=2 * error)


def test_a_denoiser_of_one_level_an_image_is_asked_for_the_joint_path_alone():
    sums = LikelihoodSums(Likelihood(), zero(takes_noise_maps=False))
    sums.update(torch.zeros(3, 1, 4, 4) - 1, Generator().manual_seed(0))
    names = {name for name in sums.summary() if name.startswith("nats_per_dim")}
    assert names == {"nats_per_dim_joint", "nats_per_dim_joint_se"}


def test_one_image_has_no_standard_error():
    sums = LikelihoodSums(Likelihood(paths=("joint", "random")), zero())
    sums.update(torch.zeros(1, 1, 4, 4) - 1, Generator().manual_seed(0))
    figures = sums.summary()
    assert {name for name, value in figures.items() if math.isnan(value)} == {
        name for name in figures if name.endswith("_se")
    }


def test_no_paths_are_no_figures():
    sums = LikelihoodSums(Likelihood(paths=()), zero())
    sums.update(torch.zeros(2, 1, 4, 4), Generator())
    assert sums.summary() == {}


def test_continuous_data_have_their_own_decoder():
    sums = LikelihoodSums(Likelihood(paths=("joint",), decoder="density", draws=64), zero())
    x0 = 0.5 * torch.randn(64, 1, 8, 8, generator=Generator().manual_seed(0))
    sums.update(x0, Generator().manual_seed(1))
    figures = sums.summary()
    density = -torch.distributions.Normal(0.0, 0.5).log_prob(x0).mean().item()
    # The error is mostly that of the images, which both sides share.
    assert figures["nats_per_dim_joint"] == pytest.approx(
        density, abs=2 * figures["nats_per_dim_joint_se"]
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"paths": ("joint", "joint")}, "paths must differ, got joint, joint"),
        ({"sigma_min": 3.0, "sigma_max": 2.0}, "0 < sigma_min < sigma_max"),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Likelihood(**wrong)
