"""What a file or name is that is no denoiser of ours: the models of other programs."""

import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

__all__ = ["is_diffusers_folder", "what_it_is"]

FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".json")  # endings of no model's name
ON_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./@-]+)?")
# By names of weights that only such files have; the first that is found says what it is.
LORA = r"lora_(up|down|A|B|unet|te)|\.lora\."
KINDS = (
    (LORA, "a LoRA: changes to a model, and no model"),
    (
        r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.",
        "a model of another program in one file (Stable Diffusion, as its authors wrote it)",
    ),
    (r"^(double_blocks|single_blocks|joint_blocks)\.", "a transformer of another program"),
    (r"^control_model\.|^controlnet_", "a ControlNet: an addition to a model, and no model"),
    (
        r"^(down_blocks|mid_block|up_blocks|transformer_blocks|single_transformer_blocks)\.",
        "one network of diffusers, and not the pipeline that it is part of",
    ),
    (r"^(encoder|decoder)\.", "an autoencoder, and no denoiser"),
    (r"^(text_model|vision_model|transformer\.)", "an encoder of text or images, and no denoiser"),
)
WHOLE = (
    "a pretrained model is given as a folder or name of diffusers, denoiser=diffusers:FOLDER; a "
    "file that holds a whole model becomes one by "
    'diffusers.DiffusionPipeline.from_single_file("{name}").save_pretrained("FOLDER")'
)


def what_it_is(path: Path) -> str | None:
    """Returns what a model of others is, and how it is given; None for what nothing is known of."""
    if path.is_dir():
        if is_diffusers_folder(path):
            return f"is a folder of diffusers: give denoiser=diffusers:{path}"
        return "is a folder: give a .safetensors file, or denoiser=diffusers: and a model's folder"
    named = path.suffix not in FILES and not path.exists() and not path.is_absolute()
    if named and ON_HUB.fullmatch(path.as_posix()):
        return f"is no file here; if it is a model on the hub, give denoiser=diffusers:{path}"
    kind = kind_of(path)
    return None if kind is None else f"is {kind}: {WHOLE.format(name=path.name)}"


def is_diffusers_folder(path: Path) -> bool:
    """Whether a path is the folder of a pipeline, or of a network, of diffusers."""
    return any((path / name).is_file() for name in ("model_index.json", "config.json"))


def kind_of(path: Path) -> str | None:
    """Returns what the names of a file's weights say that it is; None if they say nothing."""
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
    except (SafetensorError, OSError):
        return None
    found = (kind for pattern, kind in KINDS if any(re.search(pattern, name) for name in names))
    return next(found, None)
