"""Denoisers and configurations by name, wherever the package lies."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest

from patchcanvas import bundled
from patchcanvas.bundled import checkpoint_file, configurations
from patchcanvas.model import load_own

ROOT = Path(__file__).parents[1]


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """A package without a checkout, as a wheel leaves it."""
    package = tmp_path / "site-packages" / "patchcanvas"
    shutil.copytree(ROOT / "configs", package / "configs")
    (package / "checkpoints").mkdir()
    for ending in ("json", "safetensors"):
        shutil.copy(ROOT / "checkpoints" / f"landscapes.{ending}", package / "checkpoints")
    monkeypatch.setattr(bundled, "PACKAGE", package)
    monkeypatch.setattr(bundled, "CHECKOUT", package.parent)
    return package


def test_names_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in bundled.NAMES:
        assert checkpoint_file(name) == ROOT / "checkpoints" / f"{name}.safetensors"
    assert (configurations("benchmarks") / "smoke.yaml").is_file()


def test_an_installed_package_has_its_own(installed):
    assert checkpoint_file("landscapes") == installed / "checkpoints" / "landscapes.safetensors"
    assert (configurations("generate") / "pretrained.yaml").is_relative_to(installed)
    assert load_own("landscapes").description["file"] == "landscapes.safetensors"


def test_what_is_not_installed_is_missed_in_one_sentence(installed):
    with pytest.raises(FileNotFoundError, match="landscapes_controlled") as missed:
        checkpoint_file("landscapes_controlled")
    assert str(missed.value).count(". ") == 0


def test_a_file_is_itself_and_a_typo_gets_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint_file("some/where.safetensors") == Path("some/where.safetensors")
    with pytest.raises(ValueError, match="did you mean 'landscapes_context'"):
        checkpoint_file("landscape_context")
    Path("mine").mkdir()
    assert checkpoint_file("mine") == Path("mine")  # refused as a folder by who loads it


@pytest.fixture
def hub(tmp_path, monkeypatch) -> dict[str, list]:
    """A hub that serves files of one commit, and a cache of what it has served."""
    asked: dict[str, list] = {"cache": [], "download": []}
    served = tmp_path / "snapshots" / "abc" / "nets"
    served.mkdir(parents=True)

    def download(repository, file, *, revision, local_files_only, etag_timeout):
        asked["cache" if local_files_only else "download"].append((repository, revision, file))
        path = served / Path(file).name
        if local_files_only and not path.is_file():
            raise OSError("not in the cache")
        path.touch()
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_the_hub_is_asked_for_both_files_once(hub):
    name = "hub:an-owner/a.model@v1/nets/tiny.safetensors"
    file = checkpoint_file(name)
    wanted = [("an-owner/a.model", "v1", f"nets/tiny.{end}") for end in ("json", "safetensors")]
    assert (file.name, hub["download"]) == ("tiny.safetensors", wanted)
    assert file.with_suffix(".json").is_file()
    assert checkpoint_file(name) == file
    assert hub["download"] == wanted  # the second time they came from the cache


def test_neither_cache_nor_hub_is_one_sentence(monkeypatch):
    def download(*asked, **how):
        raise OSError("no route to the hub.\nMany more lines")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(OSError, match="no route to the hub") as missed:
        checkpoint_file("hub:owner/model/tiny.safetensors")
    assert "\n" not in str(missed.value)


@pytest.mark.parametrize("name", ["hub:model/tiny.safetensors", "hub:owner/model/tiny.ckpt"])
def test_a_name_that_is_none_of_the_hub_is_refused(name):
    with pytest.raises(ValueError, match="OWNER/NAME"):
        checkpoint_file(name)
