"""A denoiser that is never shown less than a whole patch: what is smaller is extended to one.

DiffCollage asks for estimates of half a patch, the part that two windows share. A network that was
never trained on halves may still be asked for them in what it knows: the half is put into the
corner of a whole patch, the rest of it is filled, and the estimate is cut back to the half. In the
corner, and not in the middle, half as much of it lies beside the filling.

What the filling does to the estimate of a perfect denoiser:

    pure_noise  Nothing, as sigma_max grows: pure noise says nothing of the image. With K_rf the
                covariance of region and filling, the estimate of a Gaussian field moves in
                proportion to K_rf / sigma_max.
    grey        It is taken for part of the image, which is grey there.
    mirrored    Its noise is taken for other noise, so what is coarse seems known from twice as many
                pixels, and canvases lose variance at edges; but nothing in it looks unlike a
                patch.
"""

import dataclasses
import functools
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from typing_extensions import override

from denoisers.conditions import Conditions
from denoisers.contract import Image, PatchDenoiser, Sigma
from denoisers.wrapper import Answer, Ask, PatchWrapper

__all__ = ["Filling", "FullSize", "validate_filling"]

Filling = Literal["mirrored", "pure_noise", "grey"]
Whole = Float[Tensor, "#rows _ #whole_height #whole_width"]
Size = tuple[int, int]

SEED = 0  # of the filling's noise


class FullSize(PatchWrapper):
    """Extends what is smaller than a patch along an axis to a patch, and cuts the answer back.

    Whole patches, and what is larger, pass as they are. The number of calls stays; half a patch
    costs as many pixels as a whole one. The filling's noise is one fixed draw for every image of
    every call, so an estimate depends on nothing but what is asked.

    Args:
        denoiser: What is shown whole patches.
        filling: What the rest of a patch is: the region `mirrored` at its edges, its noise with
            it; `pure_noise`, at the level `sigma_max` in a map of levels; or `grey`, a clean 0
            noised to the region's own level.
        size: Height and width that nothing is smaller than, in pixels; None for the denoiser's
            patch.
        sigma_max: A level at which nothing of an image can be seen; only `pure_noise` asks for it.

    Raises:
        ValueError: If there is no such filling, or the denoiser cannot be told another level of it;
            if `size` is no multiple of the denoiser's, or `sigma_max` is not positive.
    """

    def __init__(
        self,
        denoiser: PatchDenoiser,
        filling: Filling,
        *,
        size: Size | None = None,
        sigma_max: float = 80.0,
    ) -> None:
        super().__init__(denoiser)
        validate_filling(denoiser, filling)
        self.filling = filling
        self.size = (self.patch_size, self.patch_size) if size is None else size
        self.sigma_max = sigma_max
        if min(self.size) < 1 or any(side % self.multiple for side in self.size):
            raise ValueError(
                f"size must be multiples of the denoiser's {self.multiple} px, got "
                f"{self.size[0]} x {self.size[1]} px."
            )
        if not sigma_max > 0:
            raise ValueError(f"sigma_max must be positive, got {sigma_max}.")

    @override
    def answer(self, ask: Ask, x_t: Image, sigma: Sigma, context: Any) -> Answer:
        height, width = x_t.shape[-2:]
        if height >= self.size[0] and width >= self.size[1]:
            return ask(x_t, sigma, context)
        levels = self._levels(x_t, sigma)
        if isinstance(context, Conditions):
            context = self._conditions(context, (height, width))
        said = ask(self._image(x_t, levels), levels, context)
        return tuple(part[..., :height, :width] for part in said)

    def _image(self, x_t: Image, levels: Whole) -> Whole:
        whole = _mirrored(x_t, self.size)
        if self.filling == "mirrored":
            return whole
        eps = _fixed_noise(tuple(whole.shape[1:]), x_t.device, x_t.dtype)
        return whole.where(_region(x_t, self.size), levels * eps)

    def _levels(self, x_t: Image, sigma: Sigma) -> Whole:
        """Returns one level an image as it is, unless the filling has its own; or a whole map."""
        if self.filling != "pure_noise" and sigma.shape[-2:] == (1, 1):
            return sigma
        whole = _mirrored(sigma.expand(-1, -1, *x_t.shape[-2:]), self.size)
        if self.filling != "pure_noise":
            return whole
        return whole.where(_region(x_t, self.size), self.sigma_max)

    def _conditions(self, conditions: Conditions, size: Size) -> Conditions:
        """Returns what the extended images are conditions: whole maps, and where they lie."""
        fields = {
            field.name: getattr(conditions, field.name) for field in dataclasses.fields(conditions)
        }
        maps = {
            name: _mirrored(value, self.size)
            for name, value in fields.items()
            if value is not None and value.ndim == 4
        }
        if self.filling != "mirrored":
            # Of a filling that is no image nothing is known, nor is anything wished.
            for name in maps.keys() & {"guided", "known"}:
                maps[name] = maps[name].where(_region(fields[name], self.size), 0.0)
        if conditions.place is not None:
            maps["place"] = _grown(conditions.place, size, self.size)
        return dataclasses.replace(conditions, **maps)


def validate_filling(denoiser: PatchDenoiser, filling: Filling) -> None:
    """Checks that a denoiser can be shown such a filling.

    Raises:
        ValueError: If there is no such filling, or it has a level of its own and the denoiser
            takes no maps of levels.
    """
    if filling not in get_args(Filling):
        raise ValueError(f"filling must be one of {', '.join(get_args(Filling))}, got {filling!r}.")
    if filling == "pure_noise" and not denoiser.takes_noise_maps:
        raise ValueError(
            "pure_noise fills the rest of a patch at another noise level, but this denoiser was "
            "trained on one level an image (takes_noise_maps is False): ask it for regions of "
            "their own size, take mirrored, or a denoiser trained on maps."
        )


def _mirrored(image: Tensor, size: Size) -> Whole:
    """Returns the image with every axis that is shorter extended to `size`."""
    for axis, length in ((-2, size[0]), (-1, size[1])):
        if image.shape[axis] < length:
            index = _reflections(image.shape[axis], length, image.device)
            image = image.index_select(axis, index)
    return image


def _reflections(length: int, longer: int, device: torch.device) -> Int[Tensor, " places"]:
    """Returns which pixel of a line each pixel of a longer one shows.

    >>> _reflections(3, 8, torch.device("cpu")).tolist()
    [0, 1, 2, 2, 1, 0, 0, 1]
    """
    places = torch.arange(longer, device=device) % (2 * length)
    return torch.minimum(places, 2 * length - 1 - places)


def _region(image: Tensor, size: Size) -> Bool[Tensor, "whole_height whole_width"]:
    """Returns where an image lies in itself extended."""
    sides = [max(pair) for pair in zip(image.shape[-2:], size, strict=True)]
    inside = torch.zeros(*sides, dtype=torch.bool, device=image.device)
    inside[: image.shape[-2], : image.shape[-1]] = True
    return inside


@functools.cache
def _fixed_noise(
    shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "channels whole_height whole_width"]:
    # Kept for whoever calls next, who may want gradients: no inference tensors.
    with torch.inference_mode(False):
        return torch.randn(shape, generator=Generator().manual_seed(SEED)).to(device, dtype)


def _grown(place: Float[Tensor, "batch 4"], size: Size, full: Size) -> Float[Tensor, "batch 4"]:
    """Returns the edges of windows of one size extended to another from their top left corner."""
    down, across = (max(pair) / pair[0] for pair in zip(size, full, strict=True))
    top, left, bottom, right = place.unbind(1)
    return torch.stack([top, left, top + down * (bottom - top), left + across * (right - left)], 1)
