"""What a pretrained model's own text encoders say of prompts.

The pipelines of diffusers do the work: their tokenizers, their ways to join several encoders, and
what they say where there is no prompt.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["PromptEncoder", "TextTokens"]


@dataclasses.dataclass(frozen=True)
class TextTokens:
    """Texts as a network is told them, one row a text.

    Args:
        tokens: What cross-attention or joint attention sees.
        pooled: What the whole text says, for networks that are told that apart.
    """

    tokens: Float[Tensor, "texts tokens features"]
    pooled: Float[Tensor, "texts pooled_features"] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: Any) -> "TextTokens":
        return TextTokens(self.tokens[rows], None if self.pooled is None else self.pooled[rows])

    def to(self, like: Tensor) -> "TextTokens":
        """Returns the same on the device of `like` and in its precision."""
        pooled = None if self.pooled is None else self.pooled.to(like)
        return TextTokens(self.tokens.to(like), pooled)


class PromptEncoder:
    """The text encoders of a pipeline.

    Args:
        pipeline: Has the method `encode_prompt` of Stable Diffusion 1, 2, XL or 3, or of Flux.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._family = family_of(pipeline)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> TextTokens:
        """Returns a row a prompt; prompts that are too long are cut, as the pipelines do."""
        return self._encoded(list(prompts), None)[0]

    @torch.no_grad()
    def unconditional(self, negative: str | None = None) -> TextTokens:
        """Returns the one row that guidance leads away from.

        Args:
            negative: A negative prompt; None for what the pipeline takes where there is none.
        """
        return self._encoded([""], None if negative is None else [negative])[1]

    @property
    def _device(self) -> torch.device:
        """Where the text encoders lie, which need not be where the denoiser does."""
        parts = self._pipeline.components.items()
        encoders = (part for name, part in parts if name.startswith("text_encoder"))
        return next(part.device for part in encoders if part is not None)

    def _encoded(
        self, prompts: list[str], negative: list[str] | None
    ) -> tuple[TextTokens, TextTokens]:
        """Returns what is said of the prompts, and of the negative ones."""
        encode = self._pipeline.encode_prompt
        arguments = {"device": self._device, "num_images_per_prompt": 1}
        if self._family == "flux":
            rows = [
                TextTokens(*encode(texts, prompt_2=None, **arguments)[:2])
                for texts in (prompts, negative or [""])
            ]
            return rows[0], rows[1]
        arguments |= {"negative_prompt": negative, "do_classifier_free_guidance": True}
        if self._family == "sd3":
            arguments |= {"prompt_2": None, "prompt_3": None}
        tokens, unconditional, *pooled = encode(prompts, **arguments)
        pooled = pooled or [None, None]
        return TextTokens(tokens, pooled[0]), TextTokens(unconditional, pooled[1])


def family_of(pipeline: Any) -> str:
    """Returns whose `encode_prompt` it is.

    Raises:
        ValueError: If it is none of those that are known.
    """
    bases = {base.__name__ for base in type(pipeline).__mro__}
    for name, family in (
        ("StableDiffusionXLPipeline", "sdxl"),
        ("StableDiffusionPipeline", "sd"),
        ("StableDiffusion3Pipeline", "sd3"),
        ("FluxPipeline", "flux"),
    ):
        if name in bases:
            return family
    raise ValueError(
        "a pipeline with text must be StableDiffusionPipeline, StableDiffusionXLPipeline, "
        f"StableDiffusion3Pipeline or FluxPipeline, got {type(pipeline).__name__}."
    )
