"""What Python is given: a picture that knows what it was made from."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Picture
from torch import Tensor

from patchcanvas.pictures import write_picture
from patchcanvas.provenance import Provenance

__all__ = ["GeneratedImage"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GeneratedImage:
    """A picture, and what it was made from; a notebook shows it.

    Args:
        pixels: Red, green and blue, in 8 bits.
        origin: What it was made from.
        profile: What its colours mean (ICC); None for sRGB.
    """

    pixels: UInt8[Tensor, "3 height width"]
    origin: Provenance
    profile: bytes | None = None

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.pixels.shape[-2]

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.pixels.shape[-1]

    @property
    def pil(self) -> Picture.Image:
        """The picture as one of Pillow's, without its record."""
        return Picture.fromarray(self.numpy())

    def numpy(self) -> UInt8[np.ndarray, "height width 3"]:
        """Returns the pixels as a NumPy array, colours last."""
        return self.pixels.permute(1, 2, 0).numpy()

    def save(self, path: str | Path) -> Path:
        """Writes a PNG with its record, from which `patchcanvas again` makes the picture again.

        Returns:
            The file.

        Raises:
            ValueError: If `path` does not end in .png: other formats keep no such record
                (`image.pil.save` writes them without).
            OSError: If it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ValueError(f"path must end in .png, which keeps the record, got {path}.")
        write_picture(self.pixels, path, origin=self.origin, profile=self.profile)
        return path

    def __repr__(self) -> str:
        of = self.origin
        return f"<{self.width} x {self.height} px by {of.row}, seed {of.seed}, sample {of.sample}>"

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.pil.save(content, "PNG", icc_profile=self.profile)
        return content.getvalue()
