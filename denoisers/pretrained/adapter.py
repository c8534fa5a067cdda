"""A pretrained network as a `Denoiser`: no strategy knows that it is one.

What the network predicts, F, becomes the clean estimate ([DDPM] Eq. 15, [PD] Sec. 4, [SD3] Sec. 3):

    epsilon   x0_hat = x_t - sigma F
    v         x0_hat = x_t / (1 + sigma^2) - sigma / sqrt(1 + sigma^2) F
    sample    x0_hat = F
    flow      x0_hat = (x_t - sigma F) / (1 + sigma)

References:
    [DDPM] Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models, 2020. arXiv:2006.11239
    [PD] Salimans, Ho: Progressive Distillation for Fast Sampling of Diffusion Models, 2022.
    arXiv:2202.00512
    [SD3] Esser et al.: Scaling Rectified Flow Transformers for High-Resolution Image Synthesis,
    2024. arXiv:2403.03206
"""

from typing import Any, Literal, get_args

import torch
from torch import nn
from typing_extensions import override

from denoisers.conditions import Conditions, Taken, conditions_of
from denoisers.contract import PURE_NOISE, Image, Sigma
from denoisers.pretrained.levels import DiscreteLevels, NetworkLevels
from denoisers.pretrained.networks import Network
from denoisers.pretrained.text import TextTokens

__all__ = ["Prediction", "PretrainedDenoiser", "prediction_of"]

Prediction = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]


class PretrainedDenoiser(nn.Module):
    """The clean estimate of a network of diffusers, at any single noise level an image.

    Args:
        network: What is asked.
        levels: The noise levels it was trained on.
        prediction: What it predicts.
        clip: Clean estimates are cut to [-clip, clip], as the model's own samplers do; None for
            not at all.
        unconditional: What the network is told of a text where no text is given, one row.

    Attributes:
        patch_size: Side of the square patch it was trained on, in its own pixels.
        levels: The noise levels it was trained on.

    Raises:
        ValueError: If these do not go together.
    """

    takes_noise_maps = False
    estimates_variance = False

    def __init__(
        self,
        network: Network,
        levels: NetworkLevels,
        prediction: Prediction,
        *,
        clip: float | None = None,
        unconditional: TextTokens | None = None,
    ) -> None:
        super().__init__()
        if prediction not in get_args(Prediction):
            raise ValueError(
                f"prediction must be one of {', '.join(get_args(Prediction))}, got {prediction!r}."
            )
        if (prediction == "flow_prediction") == isinstance(levels, DiscreteLevels):
            raise ValueError(
                "a flow has levels of a flow, and other networks those of discrete timesteps, got "
                f"prediction={prediction!r} with {type(levels).__name__}."
            )
        if (
            prediction == "epsilon"
            and isinstance(levels, DiscreteLevels)
            and levels.sigmas[-1] >= PURE_NOISE
        ):
            raise ValueError(
                "a network that predicts epsilon says nothing at a last timestep of signal 0: the "
                "scheduler's prediction_type must be v_prediction or sample, or its "
                "rescale_betas_zero_snr false."
            )
        if network.takes_text == (unconditional is None):
            raise ValueError(
                "a network that takes text needs unconditional, its tokens where none are given; "
                f"others take none, got {type(network).__name__}."
            )
        self.network = network
        self.levels = levels
        self.prediction = prediction
        self.clip = clip
        self.unconditional = unconditional
        self.patch_size = network.side
        self.multiple = network.multiple
        self.channels = network.channels
        self.longest = network.longest
        self.takes: frozenset[Taken] = frozenset({"tokens"} if network.takes_text else ())

    @override
    def forward(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        """Returns `x0_hat`; where `sigma` is 0, `x_t` itself.

        `context` is `Conditions` with tokens and what goes with them, or None for no text. Facts
        about windows are not taken.

        Raises:
            ValueError: If the size is no multiple of `multiple`, the levels are a map, or what is
                told is not what the network takes.
        """
        self._validate_fit(x_t, sigma)
        text = self._text(x_t, context)
        level = sigma.expand(len(x_t), 1, 1, 1)
        noisy = level.clamp(min=torch.finfo(level.dtype).tiny)
        timestep = self.levels.timestep(noisy[:, 0, 0, 0])
        x = (self.levels.c_in(noisy) * x_t).to(self.network.dtype)
        predicted = self.network(x, timestep, text).to(x_t.dtype)
        x0_hat = self._clean(x_t, noisy, predicted)
        if self.clip is not None:
            x0_hat = x0_hat.clamp(-self.clip, self.clip)
        return torch.where(level > 0, x0_hat, x_t)

    def _clean(self, x_t: Image, sigma: Sigma, predicted: Image) -> Image:
        match self.prediction:
            case "epsilon":
                return x_t - sigma * predicted
            case "v_prediction":
                total = 1 + sigma.square()
                return x_t / total - sigma * total.rsqrt() * predicted
            case "sample":
                return predicted
            case "flow_prediction":
                # At pure noise sigma / (1 + sigma) is 1 to the rounding of float32.
                return x_t / (1 + sigma) - sigma / (1 + sigma) * predicted
        raise AssertionError(self.prediction)

    def _validate_fit(self, x_t: Image, sigma: Sigma) -> None:
        height, width = x_t.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"height and width must be multiples of {self.multiple}, got {height} x {width}."
            )
        if self.longest is not None and max(height, width) > self.longest:
            raise ValueError(
                f"this network knows places up to {self.longest} px along an axis, got "
                f"{height} x {width} px."
            )
        if sigma.shape[-2:] != (1, 1):
            raise ValueError(
                "this denoiser was trained on one noise level an image, got a map of levels."
            )

    def _text(self, x_t: Image, context: Any) -> TextTokens | None:
        """Returns what the network is told of texts, one row an image."""
        conditions = conditions_of(context) or Conditions()
        for name in (
            ("guide", "areas") if self.unconditional is not None else ("tokens", "guide", "areas")
        ):
            if getattr(conditions, name) is not None:
                raise ValueError(f"this denoiser takes no {name}: it must be left out.")
        if len(conditions) not in (0, len(x_t)):
            raise ValueError(
                f"conditions must have one row for each of {len(x_t)} images, got "
                f"{len(conditions)}."
            )
        if self.unconditional is None:
            return None
        like = torch.empty(0, dtype=self.network.dtype, device=x_t.device)
        unconditional = self.unconditional.to(like)[[0] * len(x_t)]
        if conditions.tokens is None:
            return unconditional
        text = TextTokens(conditions.tokens, conditions.pooled).to(like)
        if conditions.given is None:
            return text
        given = conditions.given.to(x_t.device)
        pooled = None
        if text.pooled is not None and unconditional.pooled is not None:
            pooled = torch.where(given[:, None], text.pooled, unconditional.pooled)
        return TextTokens(
            torch.where(given[:, None, None], text.tokens, unconditional.tokens), pooled
        )


def prediction_of(scheduler: Any) -> Prediction:
    """Returns what the network of a scheduler of diffusers predicts.

    Raises:
        ValueError: If it is nothing that can be turned into a clean estimate.
    """
    if type(scheduler).__name__.startswith("FlowMatch"):
        return "flow_prediction"
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if prediction not in get_args(Prediction):
        raise ValueError(
            f"a model's prediction_type must be one of {', '.join(get_args(Prediction))}, got "
            f"{prediction!r}."
        )
    return prediction
