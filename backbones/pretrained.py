"""Models of transformers, from a folder or the hub: whole or not at all, and what they see."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from backbones.contract import to_uint8
from denoisers.contract import Image

__all__ = ["Preprocessing", "architecture", "checked_fit", "loaded", "network", "transformers"]

FITS = ("crop", "squash")
# What an image processor is told, and what its pixels depend on.
TOLD = (
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
)


class Preprocessing:
    """The library's own preprocessing of pictures, for images in [-1, 1].

    Images become the 8-bit picture that a PNG of them holds, which the library's image processor
    then resizes, cuts and normalises on the device where they lie.

    Attributes:
        size: Height and width of what the network is shown, in pixels.
        settings: What the processor does, as plain values, and with what it resizes: the library's
            two, by torchvision and by Pillow, differ by up to 0.03 in what the network is shown.

    Args:
        processor: An image processor of transformers.
        fit: `crop` for what the processor does by itself, which is to cut a square out of the
            middle; `squash` to resize the whole image to that square.

    Raises:
        ValueError: If the processor leaves images of more than one size.
    """

    def __init__(self, processor: Any, fit: str) -> None:
        values = processor.to_dict()
        square = values["crop_size"] if values.get("do_center_crop") else values["size"]
        if not {"height", "width"} <= set(square or {}):
            raise ValueError(
                "the image processor must make images of one height and width, got one that makes "
                f"{square}."
            )
        self.size = square["height"], square["width"]
        self._processor = processor
        self._changes: dict[str, Any] = {}
        if fit == "squash":
            size = {"height": self.size[0], "width": self.size[1]}
            self._changes = {"do_resize": True, "size": size, "do_center_crop": False}
        self.settings = {name: values.get(name) for name in TOLD} | self._changes
        self.settings["resized_by"] = resized_by(processor)

    def __call__(self, images: Image) -> Float[Tensor, "batch 3 shown_height shown_width"]:
        """Returns what the network is shown."""
        shown = self._processor(
            images=list(to_uint8(images)),
            return_tensors="pt",
            input_data_format="channels_first",
            **self._changes,
        )
        return shown["pixel_values"]


def resized_by(processor: Any) -> str:
    """Returns the library that an image processor resizes with: `torchvision` or `pil`."""
    by_class = "torchvision" if type(processor).__name__.endswith("Fast") else "pil"
    return getattr(processor, "backend", by_class)


def checked_fit(fit: str) -> str:
    """Returns `fit`.

    Raises:
        ValueError: If it is neither `crop` nor `squash`.
    """
    if fit not in FITS:
        raise ValueError(f"fit must be 'crop' or 'squash', got {fit!r}.")
    return fit


def transformers() -> ModuleType:
    """Returns the library.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    try:
        import transformers as library
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the backbones clip and dino need the package transformers: "
            "pip install patchcanvas[clip], or choose downsampled or random."
        ) from error
    return library


def network(kind: type[Any], model: str, *, model_type: str) -> Any:
    """Returns a model in float32, frozen, with every weight from its file.

    transformers itself fills what a file lacks with random numbers: here that is refused.

    Args:
        kind: The class of transformers.
        model: A folder, or a name on the hub.
        model_type: What the model's configuration must call it.

    Raises:
        ValueError: If it is another kind of model, or weights are missing or of another size.
        OSError: If it is no folder, and is neither in the cache nor can be downloaded.
    """
    config = loaded(transformers().AutoConfig.from_pretrained, model)
    if config.model_type != model_type:
        raise ValueError(f"{model} must be a model of type {model_type}, got {config.model_type}.")
    found, report = loaded(
        kind.from_pretrained, model, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{model} must hold all weights of {kind.__name__}, but lacks {len(missing)}, such as "
            f"{missing[0]}."
        )
    return found.eval().requires_grad_(False)


def loaded(load: Callable[..., Any], model: str, **settings: Any) -> Any:
    """Returns what `load` finds in a folder, or else in the cache, or else on the hub.

    The cache first: a model that is there needs no connection, and stays what it was.

    Raises:
        ValueError: If the folder does not hold it.
        OSError: If there is no such folder, and it is neither in the cache nor can be downloaded.
    """
    try:
        return load(model, local_files_only=True, **settings)
    except Exception as error:  # safetensors and tokenizers raise plain Exceptions
        if Path(model).is_dir():
            raise ValueError(
                f"{model} must hold a model as transformers' save_pretrained writes it "
                f"({_first_line(error)})."
            ) from error
    try:
        return load(model, **settings)
    except (OSError, ValueError) as error:
        raise OSError(
            f"the model {model} is no folder, is not in the cache of transformers and could not be "
            f"downloaded ({_first_line(error)}); give a local folder that holds it."
        ) from error


def architecture(config: Any, names: Iterable[str]) -> dict[str, Any]:
    """Returns those settings of a network that its weights do not show."""
    return {name: getattr(config, name) for name in names}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
