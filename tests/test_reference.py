import warnings

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file, save_file

from benchmarks.experiment.processes import Processes
from benchmarks.metrics.features import FeatureNetwork, RandomConv
from benchmarks.metrics.reference import reference_of
from datamodules.landscapes import Landscapes
from datamodules.patches import PatchData

SIDE = 16


class Counting(FeatureNetwork):
    """The mean colour, and how many images it was asked for."""

    name, fingerprint, dimensions = "mean", "f" * 64, 3
    resizer, dtype, chunk = "none", torch.float64, 32

    def __init__(self) -> None:
        self.images = 0

    def embed(self, images):
        self.images += len(images)
        return images.double().mean((2, 3))


class Tinted(PatchData):
    """Crops of one colour, all of them or all but one."""

    def __init__(self, odd: int | None = None) -> None:
        super().__init__()
        self.odd = odd

    def crop(self, split, index, height, width):
        tint = (index + (index == self.odd)) % 256
        return torch.full((3, height, width), tint, dtype=torch.uint8)


@pytest.fixture
def alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(accelerator="cpu", devices=1)
        fabric.launch()
    return Processes(fabric)


@pytest.fixture
def reference(alone, tmp_path):
    def make(data, features, count=10):
        return reference_of(data, features, alone, count=count, side=SIDE, cache=tmp_path / "cache")

    return make


def test_features_are_those_of_the_crops_in_order(reference, monkeypatch):
    monkeypatch.setattr("benchmarks.metrics.reference.CHUNK", 8)
    count = 2 * 8 + 5  # more than one chunk
    crops = Landscapes().crops("test", count, SIDE, SIDE)
    features = RandomConv()
    assert torch.equal(reference(Landscapes(), features, count).features, features(crops))


def test_the_network_sees_a_reference_once(reference):
    first, second = Counting(), Counting()
    made, kept = (reference(Tinted(), features) for features in (first, second))
    assert (first.images, second.images) == (10, 0)
    assert torch.equal(made.features, kept.features)
    assert made.sha256 == kept.sha256


def test_the_cache_is_keyed_by_content_not_by_name(reference):
    # The same class, the same settings, one pixel value of one crop apart.
    reference(Tinted(), Counting())
    features = Counting()
    other = reference(Tinted(odd=7), features)
    assert features.images == 10
    assert other.sha256 != reference(Tinted(), Counting()).sha256
    assert torch.equal(other.features[7], torch.full((3,), 8.0, dtype=torch.float64))


def test_another_count_is_another_reference(reference):
    assert reference(Tinted(), Counting(), 10).sha256 != reference(Tinted(), Counting(), 9).sha256


@pytest.mark.parametrize("damage", ["cut", "exchanged"])
def test_a_damaged_cache_is_said_and_made_again(reference, tmp_path, damage):
    whole = reference(Tinted(), Counting())
    (path,) = (tmp_path / "cache").glob("reference-*.safetensors")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    else:
        save_file({"features": torch.zeros(10, 3)}, path, {"reference_sha256": "0"})
    features = Counting()
    with pytest.warns(UserWarning, match="is damaged"):
        again = reference(Tinted(), features)
    assert features.images == 10
    assert torch.equal(again.features, whole.features)
    assert torch.equal(load_file(path)["features"], whole.features)


def test_another_network_has_a_cache_of_its_own(reference):
    reference(Tinted(), Counting())
    other = Counting()
    other.fingerprint = "e" * 64
    reference(Tinted(), other)
    assert other.images == 10
