"""Small random pipelines of diffusers' own classes, for machines without trained ones.

They make nothing that anybody would look at. They are good for running every line of code that the
trained ones go through, and for timing what does not depend on weights.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
)

from denoisers.pretrained.spelling import clip_tokenizer, t5_tokenizer

__all__ = [
    "flux_pipeline",
    "pixel_pipeline",
    "sd3_pipeline",
    "sd_pipeline",
    "sdxl_pipeline",
    "write_stand_ins",
]

FEATURES = 32  # of a text's tokens
# Of Stable Diffusion 1 and 2: what their schedulers were configured with.
SD_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def pixel_pipeline(seed: int = 0, *, side: int = 16, **scheduler: Any) -> DDPMPipeline:
    """Returns a model of pixels: patches of `side` px, in steps of 2.

    Args:
        seed: Seeds the weights.
        side: Side of the patches, in pixels.
        scheduler: Settings of its DDPMScheduler.
    """
    model = _random(
        lambda: UNet2DModel(
            sample_size=side,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8,
            norm_num_groups=8,
        ),
        seed,
    )
    return DDPMPipeline(model, DDPMScheduler(**scheduler))


def sd_pipeline(
    seed: int = 0,
    *,
    side: int = 8,
    width: int = 16,
    attention: tuple[bool, ...] = (True, False),
    scale: int = 4,
    tiny_autoencoder: bool = False,
    **scheduler: Any,
) -> StableDiffusionPipeline:
    """Returns a Stable Diffusion.

    Args:
        seed: Seeds the weights.
        side: Side of the patches, in latent pixels, in steps of 2, doubled by every stage of the
            U-Net after the second.
        width: Channels of the U-Net's first stage.
        attention: Whether each stage of the U-Net attends, to itself and to the text; each has half
            the side of the one before.
        scale: Pixels of an image along a side of a latent pixel, a power of 2.
        tiny_autoencoder: Whether images are decoded by an AutoencoderTiny.
        scheduler: Settings of its DDIMScheduler, where they are not those of Stable Diffusion.
    """
    return StableDiffusionPipeline(
        vae=_tiny_autoencoder(seed, scale) if tiny_autoencoder else _autoencoder(seed, scale),
        text_encoder=_text_encoder(CLIPTextModel, seed),
        tokenizer=clip_tokenizer(),
        unet=_text_unet(seed, side, width, attention),
        scheduler=DDIMScheduler(**SD_BETAS | scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl_pipeline(seed: int = 0, *, side: int = 8) -> StableDiffusionXLPipeline:
    """Returns a Stable Diffusion XL: two text encoders, and a U-Net that is told sizes.

    Args:
        seed: Seeds the weights.
        side: Side of the patches, in latent pixels, in steps of 2.
    """
    unet = _text_unet(
        seed,
        side,
        16,
        cross_attention_dim=2 * FEATURES,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + FEATURES,
    )
    return StableDiffusionXLPipeline(
        vae=_autoencoder(seed),
        text_encoder=_text_encoder(CLIPTextModel, seed),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection, seed + 1),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(**SD_BETAS),
        add_watermarker=False,
    )


def sd3_pipeline(seed: int = 0, *, side: int = 8, shift: float = 3.0) -> StableDiffusion3Pipeline:
    """Returns a Stable Diffusion 3 without its third text encoder, which may be left out.

    Args:
        seed: Seeds the weights.
        side: Side of the patches, in latent pixels, in steps of 2.
        shift: Of the times of its scheduler.
    """
    transformer = _random(
        lambda: SD3Transformer2DModel(
            sample_size=side,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * FEATURES,
            caption_projection_dim=32,
            pooled_projection_dim=2 * FEATURES,
            out_channels=4,
            pos_embed_max_size=96,
        ),
        seed,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=_autoencoder(seed, shift_factor=0.06),
        text_encoder=_text_encoder(CLIPTextModelWithProjection, seed),
        tokenizer=clip_tokenizer(),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection, seed + 1),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def flux_pipeline(seed: int = 0) -> FluxPipeline:
    """Returns a Flux that was distilled with guidance; its patches are those of the pipeline.

    Args:
        seed: Seeds the weights.
    """
    transformer = _random(
        lambda: FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=FEATURES,
            pooled_projection_dim=FEATURES,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
        seed,
    )
    with _seeded(seed):
        tokenizer = t5_tokenizer()
        t5 = T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=FEATURES,
                d_kv=8,
                d_ff=64,
                num_layers=1,
                num_heads=4,
            )
        )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_autoencoder(seed, shift_factor=0.06),
        text_encoder=_text_encoder(CLIPTextModel, seed),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5.eval(),
        tokenizer_2=tokenizer,
        transformer=transformer,
    )
    pipeline.default_sample_size = 8
    return pipeline


def write_stand_ins(folder: str | Path, seed: int = 0) -> dict[str, Path]:
    """Writes a model of pixels, a Stable Diffusion and a flow; returns their folders by name."""
    made: dict[str, DiffusionPipeline] = {
        "pixels": pixel_pipeline(seed),
        "latents": sd_pipeline(seed),
        "flow": sd3_pipeline(seed),
    }
    paths = {name: Path(folder) / name for name in made}
    for name, pipeline in made.items():
        pipeline.save_pretrained(paths[name])
    return paths


def _text_unet(
    seed: int,
    side: int,
    width: int,
    attention: tuple[bool, ...] = (True, False),
    **settings: Any,
) -> UNet2DConditionModel:
    asked = {"cross_attention_dim": FEATURES} | settings
    kinds = ["CrossAttn" if attends else "" for attends in attention]
    return _random(
        lambda: UNet2DConditionModel(
            sample_size=side,
            block_out_channels=(width, *(2 * width for _ in kinds[1:])),
            layers_per_block=1,
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            attention_head_dim=8,
            norm_num_groups=8,
            **asked,
        ),
        seed,
    )


def _autoencoder(seed: int, scale: int = 4, **settings: Any) -> AutoencoderKL:
    stages = scale.bit_length()
    return _random(
        lambda: AutoencoderKL(
            block_out_channels=(8,) * stages,
            down_block_types=("DownEncoderBlock2D",) * stages,
            up_block_types=("UpDecoderBlock2D",) * stages,
            layers_per_block=1,
            norm_num_groups=4,
            **settings,
        ),
        seed,
    )


def _tiny_autoencoder(seed: int, scale: int) -> AutoencoderTiny:
    stages = scale.bit_length()
    return _random(
        lambda: AutoencoderTiny(
            encoder_block_out_channels=(8,) * stages,
            decoder_block_out_channels=(8,) * stages,
            num_encoder_blocks=(1,) * stages,
            num_decoder_blocks=(1,) * stages,
        ),
        seed,
    )


def _text_encoder(kind: type[nn.Module], seed: int) -> nn.Module:
    tokenizer: CLIPTokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=FEATURES,
        projection_dim=FEATURES,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with _seeded(seed):
        return kind(config).eval()


def _random(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with _seeded(seed):
        return make().eval()


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
