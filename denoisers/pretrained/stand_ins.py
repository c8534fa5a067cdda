"""Small random pipelines of diffusers' own classes, for machines without trained ones.

They make nothing that anybody would look at. They are good for running every line of code that the
trained ones go through, and for timing what does not depend on weights.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

from denoisers.pretrained.spelling import clip_tokenizer

__all__ = ["sd_pipeline"]

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


def sd_pipeline(
    seed: int = 0,
    *,
    side: int = 8,
    width: int = 16,
    attention: tuple[bool, ...] = (True, False),
    scale: int = 4,
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
        scheduler: Settings of its DDIMScheduler, where they are not those of Stable Diffusion.
    """
    return StableDiffusionPipeline(
        vae=autoencoder_of(seed, scale),
        text_encoder=text_encoder(CLIPTextModel, seed),
        tokenizer=clip_tokenizer(),
        unet=text_unet(seed, side, width, attention),
        scheduler=DDIMScheduler(**SD_BETAS | scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def text_unet(
    seed: int,
    side: int,
    width: int,
    attention: tuple[bool, ...] = (True, False),
    **settings: Any,
) -> UNet2DConditionModel:
    asked = {"cross_attention_dim": FEATURES} | settings
    kinds = ["CrossAttn" if attends else "" for attends in attention]
    return random_network(
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


def autoencoder_of(seed: int, scale: int = 4, **settings: Any) -> AutoencoderKL:
    stages = scale.bit_length()
    return random_network(
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


def text_encoder(kind: type[nn.Module], seed: int) -> nn.Module:
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
    with seeded(seed):
        return kind(config).eval()


def random_network(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with seeded(seed):
        return make().eval()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
