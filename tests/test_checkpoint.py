import json
import os

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from denoisers.checkpoint import (
    CheckpointError,
    load_denoiser,
    save_denoiser,
    sha256_of,
    start_from,
)
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet

PROVENANCE = {"command": "fit", "steps": 12, "loss": 0.25}


def fresh(**settings) -> EDMPrecond:
    sizes = {"channels": (8, 16), "blocks": (1, 1), "head_channels": 8, "features": 8}
    denoiser = EDMPrecond(UNet(**(sizes | settings)), 24, sigma_data=0.3, sigma_floor=0.01)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.1)
    return denoiser


def save(path, denoiser=None, **kwargs) -> EDMPrecond:
    denoiser = denoiser or fresh()
    save_denoiser(denoiser, path, provenance=PROVENANCE, **kwargs)
    return denoiser


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "er" / "net.safetensors"


def rewrite(path, **changes) -> None:
    """Changes entries of the description beside `path`."""
    beside = path.with_suffix(".json")
    content = json.loads(beside.read_text())
    content["denoiser"] |= changes
    beside.write_text(json.dumps(content))


def test_round_trip_is_bit_exact(path):
    saved = save(path)
    loaded = load_denoiser(path)
    x_t, sigma = torch.randn(2, 3, 8, 12), torch.rand(2, 1, 8, 12)
    with torch.no_grad():
        assert torch.equal(loaded(x_t, sigma), saved(x_t, sigma))
    before, after = saved.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_loaded_denoiser_is_ready_to_sample_from(path):
    save(path, fresh(dropout=0.5))
    loaded = load_denoiser(str(path))
    assert (loaded.patch_size, loaded.sigma_data, loaded.sigma_floor) == (24, 0.3, 0.01)
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}


def test_float16_is_close_and_half_as_large(path):
    saved = save(path, dtype=torch.float16)
    loaded = load_denoiser(path)
    for name, value in saved.network.named_parameters():
        # float16 keeps 11 bits: half a unit of the last, and 2^-25 where it is subnormal.
        torch.testing.assert_close(
            loaded.network.get_parameter(name), value, rtol=2**-11, atol=2**-25
        )
        assert loaded.network.get_parameter(name).dtype == torch.float32
    stored = {value.dtype for value in load_file(path).values()}
    assert stored == {torch.float16, torch.float32}


def test_float16_keeps_the_frequencies(path):
    saved = save(path, dtype=torch.float16)
    for name, value in load_denoiser(path).network.named_buffers():
        assert torch.equal(value, saved.network.get_buffer(name))


def test_the_two_files_are_enough(path, tmp_path):
    saved = save(path)
    elsewhere = tmp_path / "renamed.safetensors"
    path.rename(elsewhere)
    path.with_suffix(".json").rename(elsewhere.with_suffix(".json"))
    x_t, sigma = torch.randn(1, 3, 8, 8), torch.ones(1, 1, 1, 1)
    with torch.no_grad():
        assert torch.equal(load_denoiser(elsewhere)(x_t, sigma), saved(x_t, sigma))


def test_saving_leaves_the_denoiser_alone(path):
    saved = fresh()
    before = {name: value.clone() for name, value in saved.state_dict().items()}
    save(path, saved, dtype=torch.float16)
    assert all(torch.equal(before[name], value) for name, value in saved.state_dict().items())
    assert saved.training
    assert all(parameter.requires_grad for parameter in saved.parameters())


def test_the_description_says_where_the_weights_come_from(path):
    saved = save(path)
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["format"] == 1
    assert content["provenance"] == PROVENANCE
    assert content["parameters"] == sum(p.numel() for p in saved.parameters())
    assert content["weights_sha256"] == sha256_of(path)
    assert content["denoiser"]["network"] == "denoisers.unet.UNet"
    assert content["denoiser"]["settings"] == saved.network.config


def test_sha256_of_known_content(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    # The example of FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(file) == expected


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_missing_file_is_named(path, suffix):
    save(path)
    path.with_suffix(suffix).unlink()
    with pytest.raises(CheckpointError, match=r"no denoiser at .*net\.safetensors") as error:
        load_denoiser(path)
    assert f"{path.with_suffix(suffix)} is missing" in str(error.value)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(path, kept):
    save(path)
    os.truncate(path, kept if kept >= 0 else path.stat().st_size + kept)
    with pytest.raises(CheckpointError, match="is truncated or not a safetensors file") as error:
        load_denoiser(path)
    assert str(path) in str(error.value)
    assert "fetch or export it again" in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"format": 1}', "[]", '{"denoiser": 3}', '{"denoiser": {"network": "x"}}', "\udcff"],
)
def test_a_damaged_description_is_refused(path, content):
    save(path)
    beside = path.with_suffix(".json")
    beside.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"net\.json is damaged or not ours"):
        load_denoiser(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": "denoisers.nowhere.UNet"}, "No module named 'denoisers.nowhere'"),
        ({"network": "denoisers.unet.VNet"}, "has no attribute 'VNet'"),
        ({"network": "UNet"}, "Empty module name"),
        ({"network": "pathlib.Path"}, "pathlib.Path is not a class of networks"),
        ({"network": "os.mkdir"}, "os.mkdir is not a class of networks"),
        ({"settings": {"colour": 3}}, "unexpected keyword argument 'colour'"),
        ({"patch_size": 25}, "patch_size must be a multiple of 8"),
        ({"sigma_data": -1.0}, "must be positive, got -1.0"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(path, changes, reason):
    save(path)
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match="does not describe a network") as error:
        load_denoiser(path)
    assert reason in str(error.value)
    assert str(path.with_suffix(".json")) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "first"),
    [({"blocks": [2, 1]}, "Missing key"), ({"channels": [8, 24]}, "size mismatch")],
)
def test_weights_of_another_architecture_are_refused(path, changes, first):
    saved = save(path)
    rewrite(path, settings=saved.network.config | changes)
    message = r"those of another architecture than its \.json describes \(denoisers\.unet\.UNet\)"
    with pytest.raises(CheckpointError, match=message) as error:
        load_denoiser(path)
    assert first in str(error.value)


@pytest.mark.parametrize("action", [load_denoiser, save])
def test_a_training_checkpoint_is_refused_with_the_way_to_export_it(action, tmp_path):
    path = tmp_path / "last.ckpt"
    message = f"python -m lightning_modules.export {path} last.safetensors"
    with pytest.raises(CheckpointError, match="is a training checkpoint") as error:
        action(path)
    assert message in str(error.value)


@pytest.mark.parametrize("action", [load_denoiser, save])
@pytest.mark.parametrize("name", ["net.pt", "net", "net.json"])
def test_another_suffix_is_refused(action, name, tmp_path):
    with pytest.raises(CheckpointError, match=rf"is a \.safetensors file, got .*{name};"):
        action(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_the_description_was_not_written_with_are_refused(path, tmp_path):
    save(path)
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    save(other)
    path.write_bytes(other.read_bytes())
    with pytest.raises(CheckpointError, match="SHA-256 differ"):
        load_denoiser(path)


def test_training_starts_from_the_estimate_of_a_file(path):
    given = save(path)
    settings = {"level_channel": True, "variance_head": True}
    denoiser = fresh(**settings)
    start_from(denoiser, path)
    x_t, sigma = torch.randn(2, 3, 8, 12), torch.rand(2, 1, 8, 12)
    with torch.no_grad():
        x0_hat, variance = denoiser.with_variance(x_t, sigma)
        # The same sums with zeros among them, in float32.
        torch.testing.assert_close(x0_hat, given(x_t, sigma), rtol=1e-5, atol=1e-6)
    # ln v begins at 0, hence the variance at c_out^2.
    expected = sigma.square() * 0.09 / (sigma.square() + 0.09)
    torch.testing.assert_close(variance, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"channels": (8, 24)}, "channels"),
        ({"head_channels": 4}, "head_channels"),  # weights of the same shapes
        ({"in_channels": 4}, "in_channels"),
    ],
)
def test_training_does_not_start_from_another_architecture(path, settings, differs):
    save(path)
    with pytest.raises(CheckpointError, match=f"another architecture: {differs} differs"):
        start_from(fresh(**settings), path)


def test_training_does_not_start_from_another_preconditioning(path):
    save(path)
    other = EDMPrecond(fresh().network, 24, sigma_data=0.5, sigma_floor=0.01)
    with pytest.raises(CheckpointError, match="sigma_data differs"):
        start_from(other, path)


def test_training_does_not_forget_what_a_file_knows(path):
    save(path, fresh(level_channel=True))
    with pytest.raises(CheckpointError, match="level_channel differs"):
        start_from(fresh(), path)
