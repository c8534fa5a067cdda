"""Seed images: what a canvas is to resemble, and what its guide is made of.

Which image sample k is seeded with follows from k alone.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image as Picture
from PIL import ImageOps
from torch import Tensor

from datamodules.patches import Crop, PatchData
from patchcanvas.context.settings import ContextSettings
from patchcanvas.image_file import MAX_MEGAPIXELS, read_image

__all__ = ["ImageFile", "Seeds"]

Images = UInt8[Tensor, "images 3 height width"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFile:
    """An image of the user's.

    Args:
        picture: Upright, of 8 bits, in sRGB, on white.
        sha256: Of the file.
    """

    picture: Picture.Image
    sha256: str

    @classmethod
    def read(
        cls, path: Path, setting: str, *, max_megapixels: float = MAX_MEGAPIXELS
    ) -> "ImageFile":
        """Reads an image of any size, turned as its camera says.

        Args:
            path: The file.
            setting: What names it, for errors.
            max_megapixels: Most pixels that are decoded, in millions.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no image that can be read.
        """
        return cls(*read_image(path, setting, max_megapixels=max_megapixels))

    def of_height(self, height: int, *, widest: int) -> Crop:
        """Returns the image at that height; what is wider than `widest` is cut on both sides."""
        width = max(1, round(self.picture.width * height / self.picture.height))
        if width > widest:
            return self.covering(height, widest)
        return as_pixels(self.picture.resize((width, height), Picture.Resampling.LANCZOS))

    def covering(self, height: int, width: int) -> Crop:
        """Returns as much of the image's middle as fills that size."""
        return as_pixels(ImageOps.fit(self.picture, (width, height), Picture.Resampling.LANCZOS))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Seeds:
    """The seed images of a run.

    Args:
        data: Where they are cropped from its `test` split.
        first: Number of the crop of sample 0: those before it are what FID+ compares with.
        count: How many samples there are.
        height: Height of the canvases, in pixels.
        width: Their width.
        file: One image for all samples, in place of crops.
    """

    data: PatchData
    first: int
    count: int
    height: int
    width: int
    file: ImageFile | None = None

    @functools.cached_property
    def images(self) -> Images:
        """What each sample is seeded with: a crop of the canvas's size, or the one file."""
        if self.file is None:
            return self.crops[: self.count]
        shown = self.file.of_height(self.height, widest=self.width)
        return shown.expand(self.count, -1, -1, -1)

    @functools.cached_property
    def crops(self) -> Images:
        """Crops of the canvas's size, one more than there are samples."""
        return self.data.crops("test", self.count + 1, self.height, self.width, first=self.first)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of all seed images, in hexadecimal."""
        return hashlib.sha256(self.images.contiguous().numpy().tobytes()).hexdigest()

    def of(self, indices: Sequence[int]) -> Images:
        """Returns the seed images of these samples."""
        return self.images[list(indices)]

    def guides(self, indices: Sequence[int], *, swapped_reference: bool) -> Images:
        """Returns what the guides of these samples are made of, of the canvas's size.

        That is the seed image; or, swapped, the crop of the next sample, which where one file
        seeds all samples is the sample's own crop.
        """
        if self.file is None:
            return self.crops[[index + swapped_reference for index in indices]]
        if swapped_reference:
            return self.crops[list(indices)]
        image = self.file.covering(self.height, self.width)
        return image.expand(len(indices), -1, -1, -1)

    def left_ends(self, indices: Sequence[int], width: int) -> Images:
        """Returns what stands at the left end of these samples, as high as the canvas."""
        if self.file is None:
            return self.crops[list(indices), ..., :width]
        return self.file.covering(self.height, width).expand(len(indices), -1, -1, -1)

    def pictured(self, indices: Sequence[int], settings: ContextSettings) -> dict[str, Images]:
        """Returns the images of these samples by what they are, on white of the canvas's size."""
        rows = {"seed images": self.of(indices)}
        if settings.mode == "swapped_reference":
            rows["guide images"] = self.guides(indices, swapped_reference=True)
        return {name: self._on_white(images) for name, images in rows.items()}

    def _on_white(self, images: Images) -> UInt8[Tensor, "images 3 canvas_height canvas_width"]:
        sheet = torch.full((len(images), 3, self.height, self.width), 255, dtype=torch.uint8)
        sheet[..., : images.shape[-1]] = images
        return sheet


def as_pixels(picture: Picture.Image) -> Crop:
    """Returns the pixels of a picture in 8-bit colour, channels first."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
