"""Every shipped configuration for training must build, and its parts must fit each other."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from denoisers.unet import UNet
from lightning_modules.__main__ import main
from lightning_modules.averaging import EMA
from lightning_modules.checkpoints import Checkpoints
from lightning_modules.previews import PatchWriter, Previews

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.fixture
def photographs(tmp_path) -> Path:
    """A folder of 30 images of 80 x 80 px."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        pixels = rng.integers(0, 256, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder for what a configuration writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["__main__.py"])
    # What a configuration starts from is named from the project's folder.
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    return tmp_path


def data_flags(path: Path, photographs: Path) -> list[str]:
    """Points a configuration that asks for photographs to some."""
    asks = "root" in yaml.safe_load(path.read_text())["data"]["init_args"]
    return [f"--data.root={photographs}"] if asks else []


def test_there_are_configurations():
    assert {"landscapes", "photos"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_builds(path, here, photographs):
    cli = main([f"--config={path}", *data_flags(path, photographs)], run=False)
    denoiser, data = cli.model.denoiser, cli.datamodule
    assert denoiser.patch_size == data.patch_size
    assert data.patches_per_epoch % data.batch_size == 0
    levels, network = cli.model.noise_levels, denoiser.network
    # Levels that differ within a block that the embedding averages must come in as a channel.
    assert network.level_channel or levels.region_multiple % denoiser.multiple == 0
    kinds = {type(callback) for callback in cli.trainer.callbacks}
    assert kinds >= {EMA, Checkpoints, PatchWriter, Previews}
    assert data.crop("train", 0, data.patch_size, data.patch_size).shape[0] == denoiser.channels
    written = {entry.name for entry in here.iterdir()} - {photographs.name, "checkpoints"}
    assert written == set()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_trains(path, here, photographs, monkeypatch):
    # The first steps of the shipped networks, with small batches; files go to `here`.
    flags = [
        "--trainer.accelerator=cpu",
        "--trainer.max_steps=2",
        "--trainer.enable_progress_bar=false",
        "--data.batch_size=2",
        "--data.patches_per_epoch=8",
        "--data.num_workers=0",
        *data_flags(path, photographs),
    ]
    monkeypatch.setattr("sys.argv", ["__main__.py", "fit", f"--config={path}", *flags])
    trainer = main().trainer
    assert trainer.global_step == 2
    assert isinstance(trainer.lightning_module.denoiser.network, UNet)
    assert trainer.callback_metrics["train/loss"].isfinite()
    assert list(here.glob("runs/*/lightning_logs/version_0/events*"))
    assert list(here.glob("runs/*/lightning_logs/version_0/config.yaml"))
