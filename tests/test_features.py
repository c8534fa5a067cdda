import copy
import math
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity import feature_extractor_inceptionv3

from benchmarks.metrics.features import Inception, RandomConv, build_features
from benchmarks.metrics.frechet import frechet_distance
from datamodules.photos import Photos
from studies.feature_check import SIDE, spoilt_crops

FLOOR = 2 / 127.5  # two grey levels, in units of [-1, 1]


def noise_images(count: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def textures(count: int, width: int, seed: int) -> torch.Tensor:
    """Smooth noise around a colour that differs from canvas to canvas."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, 32 + 8, width + 8, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 9, stride=1) * 9
    colour = 20 * torch.randn(count, 3, 1, 1, generator=generator)
    return (128 + colour + 15 * smooth).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_random_conv_does_not_depend_on_the_batch(chunk):
    network, images = RandomConv(), noise_images(10)
    expected = network(images)
    network.chunk = chunk
    # float64: a sum in another order moves the last of sixteen digits.
    torch.testing.assert_close(network(images), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(network(images[4:5]), expected[4:5], rtol=1e-12, atol=1e-12)


def test_random_conv_golden_fingerprint():
    # Another fingerprint means another suite: figures from before may no longer be compared.
    network = RandomConv()
    assert network.fingerprint == (
        "7f58520990c33242b82d0aa5a0ebffc2b935adfd2ef23b99e5b6c56356177094"
    )
    assert (network.name, network.dimensions) == ("random_conv", 146)
    assert RandomConv(seed=1).fingerprint != network.fingerprint


def test_random_conv_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    RandomConv()
    assert torch.equal(torch.get_rng_state(), before)


def test_random_conv_of_one_colour_is_that_colour_and_silence():
    image = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    (features,) = RandomConv()(image)
    red, green, blue = 1.0, -1.0, -0.6
    opponents = torch.tensor(
        [
            (red + green + blue) / 3**0.5,
            (red - green) / 2**0.5,
            (red + green - 2 * blue) / 6**0.5,
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(features[:3], 6 * opponents)
    is_silent = features[6:].isclose(torch.tensor(math.log(FLOOR), dtype=torch.float64))
    is_no_line = features[6:].abs() < 1e-9
    # 12 filters at 3 scales and 16 textures at 2; lines along 2 axes.
    assert (is_silent.sum(), is_no_line.sum()) == (12 * 3 + 16 * 2, 2 * 12 * 3)


def test_random_conv_sees_a_vertical_step_as_a_line_and_by_its_height():
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[..., 13:] = 255
    (features,) = RandomConv()(image)
    # Filter 0 is the horizontal difference of luminance: 2 levels in three channels, weighted by
    # 1 / sqrt(3) each and 1 / sqrt(2); it is zero but in one of 30 columns.
    step = 2 * 3 / 3**0.5 / 2**0.5
    energy = math.log(step / 30 + FLOOR)
    assert features[6].item() == pytest.approx(energy)
    assert features[6 + 12].item() == pytest.approx(math.log(step + FLOOR) - energy)
    assert features[6 + 24].item() == pytest.approx(0.0, abs=1e-9)


def test_random_conv_coarsens_by_averages():
    # Every pair of columns has the same mean, but not the same first column.
    stripes = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).repeat(8)
    (features,) = RandomConv()(stripes.expand(1, 3, 32, 32))
    assert features[6] > math.log(1.0)
    # After 6 colours, 36 lines and energies and 16 textures: half the size, where all is grey.
    assert features[58].item() == pytest.approx(math.log(FLOOR))


def test_random_conv_rectifies_textures_before_the_mean():
    textures_of_noise = RandomConv()(noise_images(4))[:, 42:58]
    # Uniform noise has u of deviation about 0.35 and `v` has unit norm and no mean: 0.28 rectified,
    # and close to 0 where signs may cancel.
    assert textures_of_noise.min() > math.log(0.15)


def test_random_conv_orders_ways_to_spoil_a_texture():
    network = RandomConv()
    reference = network(textures(300, 32, seed=0))
    sound, long = textures(300, 32, seed=1), textures(300, 160, seed=2)
    glued = torch.cat([long[..., :16], long[..., -16:]], dim=-1)
    blurred = torch.nn.functional.avg_pool2d(sound.float(), 3, stride=1, padding=1)
    spoilt = {
        "sound": sound,
        "glued": glued,
        "glued across": glued.transpose(-1, -2),
        "off centre": torch.cat([long[..., :6], long[..., -26:]], dim=-1),
        "blurred": blurred.round().to(torch.uint8),
        "tinted": (sound.float() + torch.tensor([16.0, 0, -16]).view(3, 1, 1)).byte(),
        "half mixed": torch.cat([sound[..., :16], sound.roll(1, 0)[..., 16:]], dim=-1),
    }
    distances = {name: frechet_distance(network(x), reference) for name, x in spoilt.items()}
    floor = distances.pop("sound")
    # 300 samples in 146 dimensions: the floor itself is high, and every flaw clearly above it.
    assert min(distances.values()) > 1.5 * floor
    assert distances["half mixed"] > distances["glued"] > 5 * floor
    assert distances["glued across"] > 5 * floor


@pytest.mark.parametrize("shape", [(11, 32), (32, 11)])
def test_too_small_images_are_refused(shape):
    with pytest.raises(ValueError, match=f"got {shape[0]} x {shape[1]}"):
        RandomConv()(torch.zeros(2, 3, *shape, dtype=torch.uint8))


def test_the_smallest_image_has_finite_features():
    assert RandomConv()(noise_images(2, side=12)).isfinite().all()


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        RandomConv()(noise_images(0))


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match="'dino'"):
        build_features("dino")


def test_random_conv_refuses_weights(tmp_path):
    with pytest.raises(ValueError, match="takes no weights"):
        build_features("random_conv", weights=tmp_path)


def test_inception_is_torch_fidelitys_network(inception_network, inception_weights):
    network = build_features("inception", weights=inception_weights)
    images = noise_images(3)
    features = network(images)
    (expected,) = inception_network(images)
    # float32 and the same arithmetic; only the batch may be split otherwise.
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-6)
    assert features.shape == (3, network.dimensions)
    assert features.std(0).max() > 0
    network.chunk = 1
    torch.testing.assert_close(network(images), features, rtol=1e-4, atol=1e-6)


def test_the_fingerprint_of_inception_is_that_of_its_weights(inception_network, tmp_path):
    weights = copy.deepcopy(inception_network.state_dict())
    prints = []
    for name in ("first", "second"):
        torch.save(weights, tmp_path / name)
        prints.append(Inception(tmp_path / name).fingerprint)
    weights["Conv2d_1a_3x3.bn.bias"][0] += 1
    torch.save(weights, tmp_path / "third")
    assert prints[0] == prints[1] != Inception(tmp_path / "third").fingerprint


def test_inception_without_connection_says_what_to_do(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", offline)
    with pytest.raises(RuntimeError, match=r"no route to host.*features_weights"):
        build_features("inception")


def test_missing_weights_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        build_features("inception", weights=tmp_path / "nowhere.pth")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", "state dict"])
def test_wrong_weights_are_refused(content, tmp_path):
    path = tmp_path / "wrong.pth"
    if content == "state dict":
        torch.save({"weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must hold torch-fidelity's weights"):
        build_features("inception", weights=path)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_weights_file_cannot_run_code(tmp_path):
    torch.save(Bomb(tmp_path / "exploded"), tmp_path / "bomb.pth")
    with pytest.raises(ValueError, match="must hold"):
        build_features("inception", weights=tmp_path / "bomb.pth")
    assert not (tmp_path / "exploded").exists()


def test_glued_crops_are_the_outer_columns_of_one_photograph(tmp_path):
    # Level = column, so that a crop tells where it was taken.
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None], (40, 200, 3))
    for index in range(6):  # images of levels that differ, or all would be copies of one
        Image.fromarray(columns + np.uint8(index)).save(tmp_path / f"{index}.png")
    crops = spoilt_crops(Photos(root=tmp_path, patch_size=SIDE, flip=False), 4)
    glued = crops["glued within a photograph"]
    steps = glued.to(torch.int16).diff(dim=-1)
    assert steps[..., 15].unique().tolist() == [160 - 32 + 1]
    assert steps[..., [*range(15), *range(16, 31)]].unique().tolist() == [1]
    faded = crops["glued within, cross-faded over 8 px"].to(torch.int16).diff(dim=-1)
    assert 8 < faded.max() < 30
