from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from denoisers.precond import EDMPrecond
from denoisers.unet import Block, SelfAttention, UNet

NETWORKS = Path(__file__).parents[1] / "configs" / "networks"


def awake(network: UNet) -> UNet:
    """Fills what starts at zero: a fresh network is the zero function, whatever is wrong with it.

    In float64, where a different order of operations costs no digit that matters.
    """
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.double().eval()


def small(**settings) -> UNet:
    defaults = {"channels": (8, 16), "blocks": (1, 1), "head_channels": 8, "features": 8}
    return awake(UNet(**(defaults | settings)))


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def from_file(name: str, *, patch_size: int) -> EDMPrecond:
    """The network of a shipped file, built as LightningCLI builds it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(EDMPrecond, "model", sub_configs=True)
    path = NETWORKS / f"{name}.yaml"
    settings = parser.parse_args([f"--model.network={path}", f"--model.patch_size={patch_size}"])
    return parser.instantiate(settings).model


@pytest.mark.parametrize("attention_levels", [0, 2])
@pytest.mark.parametrize("patchify", [1, 2])
def test_a_constant_map_is_the_uniform_level(patchify, attention_levels):
    network = small(patchify=patchify, attention_levels=attention_levels)
    x, c_noise = image(2, 3, 16, 24), image(2, 1, 1, 1)
    uniform = network(x, c_noise)
    # float64: means of equal numbers, in another order.
    torch.testing.assert_close(
        network(x, c_noise.expand(2, 1, 16, 24)), uniform, rtol=1e-10, atol=1e-10
    )
    assert uniform.std() > 1e-3


def test_a_level_for_all_is_the_same_level_for_each():
    network, x, c_noise = small(), image(3, 3, 8, 8), image(1, 1, 1, 1)
    expected = network(x, c_noise.expand(3, 1, 1, 1))
    torch.testing.assert_close(network(x, c_noise), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (4, 8), (8, 4), (12, 20), (8, 96)])
@pytest.mark.parametrize("mapped", [False, True])
def test_any_multiple_is_a_size(height, width, mapped):
    network = small()
    assert network.multiple == 4
    c_noise = image(2, 1, height, width) if mapped else image(2, 1, 1, 1)
    output = network(image(2, 3, height, width), c_noise)
    assert output.shape == (2, 3, height, width)
    assert output.isfinite().all()


@pytest.mark.parametrize(
    ("patchify", "channels", "multiple"), [(1, (8,), 1), (2, (8,), 2), (1, (8, 8, 8), 4)]
)
def test_the_multiple_follows_the_resolutions(patchify, channels, multiple):
    network = small(patchify=patchify, channels=channels, blocks=(1,) * len(channels))
    assert network.multiple == multiple
    assert network(image(1, 3, 3 * multiple, multiple), image(1, 1, 1, 1)).isfinite().all()


def test_samples_of_a_batch_do_not_meet():
    network, x, c_noise = small(), image(3, 3, 8, 8), image(3, 1, 1, 1)
    together = network(x, c_noise)
    for index in range(3):
        alone = network(x[index : index + 1], c_noise[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-10, atol=1e-10)


def test_a_level_acts_where_it_holds():
    network = small(attention_levels=0)
    x, c_noise = image(1, 3, 8, 128), image(1, 1, 1, 1).repeat(1, 1, 8, 128)
    changed = c_noise.clone()
    changed[..., :16] += 0.3
    moved = (network(x, changed) - network(x, c_noise)).abs().amax((0, 1, 2))
    assert (moved[:16] > 1e-6).all()
    # Eight convolutions in blocks and three outside reach at most 4 px each, 44 in all: beyond that
    # nothing is touched, to the last bit.
    assert (moved[64:] == 0).all()


def test_every_pixel_of_a_map_counts():
    network = small()
    c_noise = image(1, 1, 8, 8).requires_grad_()
    network(image(1, 3, 8, 8), c_noise).square().sum().backward()
    assert (c_noise.grad != 0).all()


def test_without_attention_a_canvas_is_seen_through_a_window():
    network = small(attention_levels=0)
    x, c_noise = image(1, 3, 8, 160), image(1, 1, 1, 1)
    canvas, window = network(x, c_noise), network(x[..., 32:], c_noise)
    # 64 px from the window's edge, which the convolutions do not reach (44 px).
    torch.testing.assert_close(canvas[..., 96:], window[..., 64:], rtol=1e-10, atol=1e-10)


def test_attention_reaches_across_the_canvas():
    network = small(attention_levels=1)
    x, c_noise = image(1, 3, 8, 160), image(1, 1, 1, 1)
    moved = x.clone()
    moved[..., :4] += 1
    difference = (network(moved, c_noise) - network(x, c_noise)).abs().amax((0, 1, 2))
    assert (difference[-8:] > 0).all()


def test_every_parameter_learns():
    network = awake(UNet(channels=(8, 16, 16), blocks=(2, 1, 2), head_channels=8, features=8))
    network.train()
    network(image(2, 3, 16, 16), image(2, 1, 16, 16)).square().sum().backward()
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    # Twice 2 and 1 on the way down and up, twice 2 in the middle.
    assert len(blocks) == 2 * (2 + 1) + 2 * 2
    assert all((block.film.weight.grad != 0).any() for block in blocks)
    # Half of these weights read the way down, half the way up.
    assert all((merge.weight.grad != 0).all() for merge in network.merge)
    still = [name for name, p in network.named_parameters() if not (p.grad != 0).any()]
    assert still == []


def test_a_fresh_network_is_zero():
    network = UNet(channels=(8, 16), blocks=(1, 1), head_channels=8)
    output = network(torch.randn(1, 3, 8, 8), torch.zeros(1, 1, 1, 1))
    assert (output == 0).all()


def test_dropout_is_for_training():
    network, x, c_noise = small(dropout=0.5), image(1, 3, 8, 8), image(1, 1, 1, 1)
    assert torch.equal(network(x, c_noise), network(x, c_noise))
    network.train()
    assert not torch.equal(network(x, c_noise), network(x, c_noise))


def test_config_rebuilds_the_network():
    settings = {"in_channels": 2, "attention_levels": 2, "patchify": 1, "dropout": 0.25}
    network = small(**settings)
    assert network.config | settings == network.config
    copy = UNet(**network.config).double().eval()
    copy.load_state_dict(network.state_dict())
    x, c_noise = image(1, 2, 8, 8), image(1, 1, 1, 1)
    assert torch.equal(copy(x, c_noise), network(x, c_noise))
    assert copy.config == network.config


@pytest.mark.parametrize(
    ("name", "patch_size", "parameters"),
    [("tiny", 32, 3_150_668), ("medium", 64, 12_692_076), ("large", 64, 176_934_531)],
)
def test_shipped_sizes(name, patch_size, parameters):
    with torch.device("meta"):
        denoiser = from_file(name, patch_size=patch_size)
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == parameters


def test_there_are_no_other_shipped_sizes():
    assert {path.stem for path in NETWORKS.glob("*.yaml")} == {"tiny", "medium", "large"}


def test_large_attends_at_16_px_and_deeper():
    with torch.device("meta"):
        network = from_file("large", patch_size=64).network
    attends = [
        any(isinstance(module, SelfAttention) for module in level.modules())
        for level in [*network.down, network.middle[0]]
    ]
    # 64, 32, 16 and 8 pixels wide on a patch of 64.
    assert attends == [False, False, True, True]
    assert (network.config["channels"][0], network.patchify) == (96, 1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 32)])
def test_medium_denoises_patches_and_half_patches(height, width):
    denoiser = from_file("medium", patch_size=64)
    x_t = torch.randn(1, 3, height, width)
    with torch.no_grad():
        x0_hat = denoiser(x_t, torch.full((1, 1, 1, 1), 0.5))
    # A fresh network is zero: at sigma = sigma_data that halves the image.
    torch.testing.assert_close(x0_hat, x_t / 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (), "blocks": ()}, "must name the same resolutions"),
        ({"channels": (8, 16), "blocks": (1,)}, r"got \(8, 16\) and \(1,\)"),
        ({"attention_levels": 3}, r"attention_levels must be in \[0, 2\], got 3"),
        ({"attention_levels": -1}, r"attention_levels must be in \[0, 2\], got -1"),
        ({"channels": (8, 20)}, "multiples of head_channels=8, got 20"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_the_level_channel_tells_pixels_of_a_block_apart():
    # The mean of a 2 x 2 block is the same; which of its pixels is clean is not.
    c_noise = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    c_noise[..., ::2, ::2] = -1.0
    moved = c_noise.roll(1, dims=3)
    x = image(1, 3, 8, 8)
    blind, told = small(), small(level_channel=True)
    assert torch.equal(blind(x, c_noise), blind(x, moved))
    assert (told(x, c_noise) - told(x, moved)).abs().max() > 1e-3


def test_a_constant_map_is_the_uniform_level_with_a_level_channel_too():
    network = small(level_channel=True, variance_head=True)
    x, c_noise = image(2, 3, 8, 8), image(2, 1, 1, 1)
    uniform = network(x, c_noise)
    assert uniform.shape == (2, 4, 8, 8)
    # float64: means of equal numbers, in another order.
    torch.testing.assert_close(network(x, c_noise.expand(2, 1, 8, 8)), uniform)
