"""Small random pipelines of every kind that is read, as diffusers saves them."""

from pathlib import Path
from typing import Any

from diffusers import (
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
    UNet2DModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from denoisers.pretrained.spelling import clip_tokenizer, t5_tokenizer
from denoisers.pretrained.stand_ins import (
    FEATURES,
    SD_BETAS,
    autoencoder_of,
    random_network,
    sd_pipeline,
    seeded,
    text_encoder,
    text_unet,
)

__all__ = ["flux_pipeline", "pixel_pipeline", "sd3_pipeline", "sdxl_pipeline", "write_stand_ins"]


def pixel_pipeline(seed: int = 0, *, side: int = 16, **scheduler: Any) -> DDPMPipeline:
    """Returns a model of pixels: patches of `side` px, in steps of 2.

    Args:
        seed: Seeds the weights.
        side: Side of the patches, in pixels.
        scheduler: Settings of its DDPMScheduler.
    """
    model = random_network(
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


def sdxl_pipeline(seed: int = 0, *, side: int = 8) -> StableDiffusionXLPipeline:
    """Returns a Stable Diffusion XL: two text encoders, and a U-Net that is told sizes.

    Args:
        seed: Seeds the weights.
        side: Side of the patches, in latent pixels, in steps of 2.
    """
    unet = text_unet(
        seed,
        side,
        16,
        cross_attention_dim=2 * FEATURES,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + FEATURES,
    )
    return StableDiffusionXLPipeline(
        vae=autoencoder_of(seed),
        text_encoder=text_encoder(CLIPTextModel, seed),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, seed + 1),
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
    transformer = random_network(
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
        vae=autoencoder_of(seed, shift_factor=0.06),
        text_encoder=text_encoder(CLIPTextModelWithProjection, seed),
        tokenizer=clip_tokenizer(),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, seed + 1),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def flux_pipeline(seed: int = 0) -> FluxPipeline:
    """Returns a Flux that was distilled with guidance; its patches are those of the pipeline.

    Args:
        seed: Seeds the weights.
    """
    transformer = random_network(
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
    with seeded(seed):
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
        vae=autoencoder_of(seed, shift_factor=0.06),
        text_encoder=text_encoder(CLIPTextModel, seed),
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


def tiny_sd_pipeline(seed: int = 0) -> StableDiffusionPipeline:
    """Returns a Stable Diffusion whose images are decoded by an AutoencoderTiny."""
    pipeline = sd_pipeline(seed)
    pipeline.register_modules(vae=tiny_autoencoder(seed))
    return pipeline


def tiny_autoencoder(seed: int = 0, scale: int = 4) -> AutoencoderTiny:
    stages = scale.bit_length()
    return random_network(
        lambda: AutoencoderTiny(
            encoder_block_out_channels=(8,) * stages,
            decoder_block_out_channels=(8,) * stages,
            num_encoder_blocks=(1,) * stages,
            num_decoder_blocks=(1,) * stages,
        ),
        seed,
    )
