"""Latents and images against what the pipelines make of them, and against themselves."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DModel, VQModel
from torch import Tensor, nn

from denoisers.pretrained.autoencoder import Autoencoder
from denoisers.pretrained.stand_ins import sd_pipeline
from strategies.latent import ImageCodec
from tests.pretrained_stand_ins import (
    sd3_pipeline,
    sdxl_pipeline,
    tiny_autoencoder,
    tiny_sd_pipeline,
)


def moved(pipeline):
    """The same with latents that have a mean and a deviation of their own in each channel."""
    mean, deviation = [0.1, -0.2, 0.3, 0.0], [0.9, 1.1, 2.0, 0.5]
    pipeline.vae.register_to_config(latents_mean=mean, latents_std=deviation)
    return pipeline


def vq_model() -> VQModel:
    torch.manual_seed(0)
    return VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        num_vq_embeddings=16,
        scaling_factor=0.5,
    ).eval()


KINDS = {
    "kl": lambda: sd_pipeline().vae,
    "kl_with_a_shift": lambda: sd3_pipeline().vae,
    "kl_with_moments": lambda: moved(sdxl_pipeline()).vae,
    "tiny": tiny_autoencoder,
    "vq": vq_model,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (sd_pipeline, {}),
        (tiny_sd_pipeline, {}),
        (sdxl_pipeline, {"height": 32, "width": 32}),
        (lambda: moved(sdxl_pipeline()), {"height": 32, "width": 32}),
        (sd3_pipeline, {"height": 32, "width": 32}),
    ],
    ids=["sd", "tiny", "sdxl", "sdxl_with_moments", "sd3"],
)
def test_images_are_those_of_the_pipeline(make, size):
    pipeline = make()
    pipeline.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 2, "latents": torch.randn(2, 4, 8, 8), **size}
    latents, images = (
        pipeline(["a lake"] * 2, output_type=kind, **settings).images for kind in ("latent", "pt")
    )
    decoded = Autoencoder(pipeline.vae).decode(latents)
    # The pipeline cuts to [0, 1]; ours may overshoot.
    torch.testing.assert_close((decoded / 2 + 0.5).clamp(0, 1), images, atol=1e-5, rtol=0)
    assert float(images.std()) > 0.01


def through(model: nn.Module, images: Tensor) -> Tensor:
    """What the model itself makes of images, by way of its own latents."""
    encoded = model.encode(images)
    latents = encoded.latent_dist.mode() if isinstance(model, AutoencoderKL) else encoded.latents
    return model.decode(latents).sample


@every_kind
@torch.no_grad()
def test_what_is_encoded_is_decoded_as_the_model_itself_does_it(kind):
    # With the test above, encode can be nothing else: decode's scaling undone.
    model = KINDS[kind]().double()
    images = torch.rand(2, 3, 24, 40, dtype=torch.float64) * 2 - 1
    autoencoder = Autoencoder(model)
    decoded = autoencoder.decode(autoencoder.encode(images))
    # (x - shift) / spread * spread + shift, in float64, through a network that magnifies little.
    torch.testing.assert_close(decoded, through(model, images), atol=1e-10, rtol=0)


@every_kind
def test_sizes_are_as_many_times_smaller_as_is_said(kind):
    autoencoder = Autoencoder(KINDS[kind]())
    assert isinstance(autoencoder, ImageCodec)
    assert autoencoder.scale == (2 if kind == "vq" else 4)
    channels = autoencoder.latent_channels
    assert (autoencoder.channels, channels) == (3, 3 if kind == "vq" else 4)
    latents = autoencoder.encode(torch.zeros(2, 3, 24, 40))
    assert latents.shape == (2, channels, 24 // autoencoder.scale, 40 // autoencoder.scale)
    assert autoencoder.decode(latents).shape == (2, 3, 24, 40)


@every_kind
def test_encoding_is_not_drawn_and_keeps_no_graph(kind):
    autoencoder, images = Autoencoder(KINDS[kind]()), torch.rand(1, 3, 16, 16)
    assert any(parameter.requires_grad for parameter in autoencoder.model.parameters())
    first, second = autoencoder.encode(images), autoencoder.encode(images)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not autoencoder.decode(first).requires_grad


@pytest.mark.parametrize("must_upcast", [True, False])
def test_half_precision_is_raised_where_the_model_must_be(must_upcast):
    model, latents = sd_pipeline().vae.half(), torch.randn(1, 4, 8, 8).half()
    model.register_to_config(force_upcast=must_upcast)
    decoded = Autoencoder(model).decode(latents)
    assert model.dtype == (torch.float32 if must_upcast else torch.float16)
    assert decoded.dtype == torch.float16
    exact = Autoencoder(sd_pipeline().vae.half().float()).decode(latents.float())
    error = (decoded.float() - exact).abs().max()
    # The last rounding of numbers up to 2, or that of every layer.
    assert bool(error < 1e-3) if must_upcast else bool(1e-3 < error < 0.1)


def test_bfloat16_is_never_raised():
    model = sd_pipeline().vae.bfloat16()
    assert model.config.force_upcast
    assert Autoencoder(model).decode(torch.randn(1, 4, 8, 8)).dtype == torch.float32
    assert model.dtype == torch.bfloat16


def test_other_models_are_refused():
    model = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
    )
    rule = "must be an AutoencoderKL, AutoencoderTiny or VQModel, got UNet2DModel"
    with pytest.raises(ValueError, match=rule):
        Autoencoder(model)
