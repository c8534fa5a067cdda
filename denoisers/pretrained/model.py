"""All of a pretrained model that this project uses: denoiser, autoencoder, text encoders."""

import dataclasses
import hashlib
import inspect
import json
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import nn

from denoisers.pretrained.adapter import PretrainedDenoiser, prediction_of
from denoisers.pretrained.autoencoder import Autoencoder
from denoisers.pretrained.hub import load_pipeline
from denoisers.pretrained.levels import described, levels_of
from denoisers.pretrained.networks import FluxNetwork, network_of
from denoisers.pretrained.text import PromptEncoder

__all__ = ["PretrainedModel", "load_pretrained"]


@dataclasses.dataclass(frozen=True, eq=False)
class PretrainedModel:
    """A pipeline of diffusers, taken apart.

    Args:
        name: What it was loaded as.
        pipeline: The pipeline; its own way of sampling is not used.
        denoiser: Its network.
        autoencoder: Between images and latents; None for a model of pixels.
        prompts: Its text encoders; None for a model without text.
    """

    name: str
    pipeline: DiffusionPipeline
    denoiser: PretrainedDenoiser
    autoencoder: Autoencoder | None
    prompts: PromptEncoder | None

    @classmethod
    def of(
        cls,
        pipeline: DiffusionPipeline,
        name: str = "",
        *,
        negative_prompt: str | None = None,
        label: int | None = None,
        embedded_guidance: float | None = None,
    ) -> "PretrainedModel":
        """Takes a pipeline apart.

        Args:
            pipeline: Has a `unet` or `transformer`, a `scheduler`, and for latents a `vae` (or
                `vqvae`).
            name: What it is called.
            negative_prompt: What guidance leads away from; None for what the pipeline takes.
            label: Number of the class, for a network of classes.
            embedded_guidance: What a network that was distilled with guidance is told of it; None
                for the pipeline's default.

        Raises:
            ValueError: If it is a pipeline that this project does not know.
        """
        parts = pipeline.components
        model = parts.get("unet") or parts.get("transformer")
        if model is None or "scheduler" not in parts:
            raise ValueError(
                "a pipeline must have a unet or transformer and a scheduler, got "
                f"{type(pipeline).__name__} with {', '.join(sorted(parts))}."
            )
        vae = parts.get("vae") or parts.get("vqvae")
        autoencoder = None if vae is None else Autoencoder(vae)
        network = network_of(
            model,
            scale=1 if autoencoder is None else autoencoder.scale,
            side=getattr(pipeline, "default_sample_size", None),
            label=label,
            guidance=embedded_guidance or own_guidance(pipeline) or 1.0,
        )
        prompts = PromptEncoder(pipeline) if network.takes_text else None
        if prompts is None and negative_prompt is not None:
            raise ValueError("this model takes no text: negative_prompt must be left out.")
        for module in modules(pipeline).values():
            module.eval().requires_grad_(False)
        scheduler = pipeline.scheduler
        prediction = prediction_of(scheduler)
        levels = levels_of(
            scheduler,
            tokens=network.tokens,
            from_one=isinstance(network, FluxNetwork),
            flow=prediction == "flow_prediction",
        )
        denoiser = PretrainedDenoiser(
            network,
            levels,
            prediction,
            clip=clip_of(scheduler) if autoencoder is None else None,
            unconditional=None if prompts is None else prompts.unconditional(negative_prompt),
        )
        return cls(name, pipeline, denoiser, autoencoder, prompts)

    @property
    def scale(self) -> int:
        """Pixels of the image along a side of one of the denoiser's pixels."""
        return 1 if self.autoencoder is None else self.autoencoder.scale

    @property
    def guidance(self) -> float:
        """The pipeline's own scale of guidance; 1 where guidance is part of the network."""
        network = self.denoiser.network
        if self.prompts is None or isinstance(network, FluxNetwork):
            return 1.0
        return own_guidance(self.pipeline) or 1.0

    def description(self) -> dict[str, Any]:
        """Returns what a result must quote; reads all weights for their hash."""
        parts = modules(self.pipeline)
        return {
            "file": self.name,
            "weights_sha256": weights_hash(parts),
            "parameters": sum(p.numel() for p in self.denoiser.parameters()),
            "denoiser": {
                "pipeline": type(self.pipeline).__name__,
                "networks": {name: type(module).__name__ for name, module in parts.items()},
                "scheduler": described(self.pipeline.scheduler),
                "prediction": self.denoiser.prediction,
                "patch_size": self.denoiser.patch_size,
                "scale": self.scale,
            },
            "provenance": None,
        }


def load_pretrained(
    name: str, *, dtype: torch.dtype = torch.float32, **settings: Any
) -> PretrainedModel:
    """Loads a pipeline and takes it apart.

    Args:
        name: A folder, or a name on the hub, after which `@` and a revision may stand.
        dtype: What the networks compute in.
        settings: See `PretrainedModel.of`.

    Raises:
        ValueError: If a folder does not hold a whole pipeline, or one that is not known.
        OSError: If the model cannot be found.
    """
    return PretrainedModel.of(load_pipeline(name, dtype=dtype), name, **settings)


def modules(pipeline: DiffusionPipeline) -> dict[str, nn.Module]:
    """Returns the networks of a pipeline by their names."""
    parts = pipeline.components.items()
    return {name: part for name, part in parts if isinstance(part, nn.Module)}


def weights_hash(parts: dict[str, nn.Module]) -> str:
    """Returns the SHA-256 of all weights and configurations, in hexadecimal."""
    digest = hashlib.sha256()
    for part, module in sorted(parts.items()):
        config: Any = module.config
        config = config.to_dict() if hasattr(config, "to_dict") else config
        settings = {name: value for name, value in config.items() if not name.startswith("_")}
        digest.update(json.dumps([part, settings], sort_keys=True, default=str).encode())
        for name, weight in sorted(module.state_dict().items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def own_guidance(pipeline: DiffusionPipeline) -> float | None:
    """Returns the scale of guidance that a pipeline takes where none is given."""
    known = inspect.signature(type(pipeline).__call__).parameters
    return known["guidance_scale"].default if "guidance_scale" in known else None


def clip_of(scheduler: Any) -> float | None:
    """Returns where a scheduler cuts clean estimates; None where it does not.

    Raises:
        ValueError: If it does so by a threshold that depends on the image.
    """
    config = scheduler.config
    if config.get("thresholding"):
        raise ValueError(
            "a clean estimate must be that of its own window, but the scheduler's thresholding "
            "depends on all of an image: set thresholding to false in its configuration."
        )
    return config.get("clip_sample_range", 1.0) if config.get("clip_sample") else None
