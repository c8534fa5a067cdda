"""No images at all: for denoisers of content that one has no images of to compare with."""

from typing_extensions import override

from datamodules.patches import Crop, PatchData, Split

__all__ = ["Nothing"]


class Nothing(PatchData):
    """Data without a crop. The arguments are those of `PatchData`, and none of them matters."""

    @override
    def crop(self, split: Split, index: int, height: int, width: int) -> Crop:
        """Has none.

        Raises:
            ValueError: Always.
        """
        raise ValueError("there are no images (data=none): give data=photos data.root=FOLDER.")
