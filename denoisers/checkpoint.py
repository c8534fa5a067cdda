"""Weights on disk: a `.safetensors` file and, beside it, the `.json` to rebuild them with.

The `.json` holds the network's class and settings, the preconditioning, and the provenance of the
weights. Nothing is pickled.
"""

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from denoisers.foreign import what_it_is
from denoisers.precond import EDMPrecond

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "describe_checkpoint",
    "images_trained_on",
    "load_checkpoint",
    "load_denoiser",
    "save_denoiser",
    "sha256_of",
    "start_from",
]


# What a network may have that the one it starts from has not.
NEW_PARTS = (
    "level_channel",
    "variance_head",
    "token_features",
    "token_grid",
    "gate",
    "position",
    "guide",
    "known_channel",
    "modes",
)

# What comes in as channels beside the image, in their order.
CHANNEL_PARTS = ("level_channel", "guide", "known_channel", "position")


class CheckpointError(ValueError):
    """A file that holds no denoiser of ours; the message says what is wrong and what to do."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a denoiser is rebuilt from, its weights apart."""

    network: str
    settings: dict[str, Any]
    patch_size: int
    sigma_data: float
    sigma_floor: float
    takes_noise_maps: bool = True
    conditioning: dict[str, Any] | None = None

    def build(self) -> EDMPrecond:
        """Returns the denoiser with fresh weights."""
        module, _, name = self.network.rpartition(".")
        network_class = getattr(importlib.import_module(module), name)
        # A .json may come from anywhere, and must not call whatever Python can import.
        if not (isinstance(network_class, type) and issubclass(network_class, nn.Module)):
            raise TypeError(f"{self.network} is not a class of networks.")
        return EDMPrecond(
            network_class(**self.settings),
            self.patch_size,
            self.sigma_data,
            self.sigma_floor,
            self.takes_noise_maps,
            self.conditioning,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A denoiser and what its files say of it.

    Args:
        denoiser: Ready to sample from.
        description: What a result must quote to say which one it is.
        trained_on: Names, by content, of the images that it was shown in training; empty for one
            that was trained on data that is made, or exported before they were kept.
    """

    denoiser: EDMPrecond
    description: dict[str, Any]
    trained_on: frozenset[str]


def save_denoiser(
    denoiser: EDMPrecond,
    path: str | Path,
    *,
    provenance: dict[str, Any],
    trained_on: Collection[str] = (),
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes `path` (.safetensors) and its `.json`.

    Args:
        denoiser: A denoiser whose network has a `config` of constructor arguments.
        path: Where the weights go; the folder is made.
        provenance: Where the weights come from: command, data, steps, losses.
        trained_on: Names of the images that it was shown, by their contents.
        dtype: Type of the stored weights; float16 halves the file. Buffers keep their own.
    """
    path = _checked_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    network = denoiser.network
    recipe = Recipe(
        network=f"{type(network).__module__}.{type(network).__qualname__}",
        settings=network.config,
        patch_size=denoiser.patch_size,
        sigma_data=denoiser.sigma_data,
        sigma_floor=denoiser.sigma_floor,
        takes_noise_maps=denoiser.takes_noise_maps,
        conditioning=denoiser.conditioning,
    )
    # Rounding the frequencies of the noise embedding would shift all its phases.
    buffers = {name for name, _ in network.named_buffers()}
    weights = {
        name: value.detach().to("cpu", value.dtype if name in buffers else dtype).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(weights, path)
    beside = {
        "format": 1,
        "denoiser": dataclasses.asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "weights_sha256": sha256_of(path),
        "provenance": provenance,
        "trained_on": " ".join(sorted(trained_on)),
    }
    path.with_suffix(".json").write_text(json.dumps(beside, indent=2) + "\n")


def load_denoiser(path: str | Path, *, device: torch.device | str = "cpu") -> EDMPrecond:
    """Rebuilds a denoiser, ready to sample from: float32, evaluation mode, no gradients kept.

    Raises:
        CheckpointError: If a file is missing, damaged, or does not fit the other.
    """
    return load_checkpoint(path, device=device).denoiser


def load_checkpoint(path: str | Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Rebuilds a denoiser as `load_denoiser` does, and returns what its files say of it too.

    Raises:
        CheckpointError: If a file is missing, damaged, or does not fit the other.
    """
    if Path(path).suffix != ".safetensors":
        validate_format(Path(path))
    path = _checked_suffix(path)
    beside, recipe = _read_beside(path)
    try:
        denoiser = recipe.build()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path.with_suffix('.json')} does not describe a network that can be built here: "
            f"{error}"
        ) from error
    weights = _read_weights(path)
    try:
        denoiser.network.load_state_dict({name: w.float() for name, w in weights.items()})
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1].strip()
        raise CheckpointError(
            f"the weights in {path} are those of another architecture than its .json describes "
            f"({recipe.network}): {first}"
        ) from error
    sha256 = sha256_of(path)
    if beside.get("weights_sha256") != sha256:
        raise CheckpointError(
            f"{path} is not the file that its .json was written with (their SHA-256 differ): put "
            "the pair that belongs together side by side, or export it again."
        )
    return Checkpoint(
        denoiser.eval().requires_grad_(False).to(device),
        _described(beside, path, sha256),
        _shown(beside),
    )


def start_from(denoiser: EDMPrecond, path: str | Path) -> None:
    """Copies the weights of an exported denoiser into one that is to be trained further.

    The network may have channels more than the file at its two ends, such as the level that comes
    in and the variance that goes out: these begin at 0. Whatever else it has more, such as the
    attention to tokens, begins as the identity. So the estimate is the file's at first.

    Raises:
        CheckpointError: If the file holds no denoiser, or one of another architecture.
    """
    given = load_denoiser(path)
    _validate_architecture(denoiser, given, path)
    own = denoiser.network.state_dict()
    for name, weight in given.network.state_dict().items():
        own[name].zero_()
        own[name][tuple(slice(length) for length in weight.shape)] = weight


def _validate_architecture(denoiser: EDMPrecond, given: EDMPrecond, path: str | Path) -> None:
    """Refuses to start from a denoiser that means something else by the same weights."""
    differ = [
        name
        for name in ("patch_size", "sigma_data", "sigma_floor")
        if getattr(denoiser, name) != getattr(given, name)
    ]
    own, theirs = (each.network.config for each in (denoiser, given))
    differ += [
        name
        for name in own.keys() | theirs.keys()
        if name != "dropout"
        and own.get(name) != theirs.get(name)
        and not (name in NEW_PARTS and _absent(name, theirs))
    ]
    if type(denoiser.network) is not type(given.network):
        differ.append("network")
    # What is new lies behind what is copied, or weights would be those of other channels.
    new = [_adds_channels(part, own) and not _adds_channels(part, theirs) for part in CHANNEL_PARTS]
    differ += [
        part
        for index, part in enumerate(CHANNEL_PARTS)
        if new[index] and any(_adds_channels(later, theirs) for later in CHANNEL_PARTS[index:])
    ]
    if differ:
        raise CheckpointError(
            f"the network to train cannot start from {path}, which is of another architecture: "
            f"{sorted(differ)[0]} differs."
        )


def _adds_channels(part: str, settings: dict[str, Any]) -> bool:
    value = settings.get(part, False)
    return value == "coordinates" if part == "position" else bool(value)


def _absent(part: str, settings: dict[str, Any]) -> bool:
    """Whether a network of these settings has not that part."""
    if part in ("gate", "token_grid"):
        return not settings.get("token_features")
    return settings.get(part, "none") in (False, 0, None, "none")


def describe_checkpoint(path: str | Path) -> dict[str, Any]:
    """Returns what a result must quote to say which denoiser it was measured with."""
    beside = json.loads(Path(path).with_suffix(".json").read_text())
    return _described(beside, Path(path), sha256_of(path))


def images_trained_on(path: str | Path) -> frozenset[str]:
    """Returns the names, by content, of the images that a denoiser was shown in training.

    Empty for one that was trained on data that is made, or exported before they were kept.
    """
    return _shown(json.loads(Path(path).with_suffix(".json").read_text()))


def _described(beside: dict[str, Any], path: Path, sha256: str) -> dict[str, Any]:
    return {"file": path.name, "weights_sha256": sha256} | {
        name: beside.get(name) for name in ("denoiser", "parameters", "provenance")
    }


def _shown(beside: dict[str, Any]) -> frozenset[str]:
    return frozenset(beside.get("trained_on", "").split())


def sha256_of(path: str | Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked_suffix(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix == ".ckpt":
        raise CheckpointError(
            f"{path} is a training checkpoint; export its weights first: "
            f"python -m lightning_modules.export {path} {path.with_suffix('.safetensors').name}"
        )
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"a denoiser is a .safetensors file, got {path}; a pretrained model is named with "
            "diffusers: before it."
        )
    return path


def validate_format(path: Path) -> None:
    """Says what a model of other programs is, and how it is given.

    Raises:
        CheckpointError: If it is one.
    """
    if (said := what_it_is(path)) is not None:
        raise CheckpointError(f"a denoiser is a .safetensors file of ours, but {path} {said}.")


def _read_beside(path: Path) -> tuple[dict[str, Any], Recipe]:
    """Returns what stands in the .json beside a file, and what rebuilds the denoiser of it."""
    beside = path.with_suffix(".json")
    for file in (path, beside):
        if not file.is_file():
            validate_format(path)
            raise CheckpointError(f"no denoiser at {path}: {file} is missing.")
    try:
        content = json.loads(beside.read_text())
        recipe = content["denoiser"]
        if "told_by" in recipe:  # its name up to version 0.1
            recipe["conditioning"] = recipe.pop("told_by")
        return content, Recipe(**recipe)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{beside} is damaged or not ours: {error!r}") from error


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({error}); fetch or export it again."
        ) from error
