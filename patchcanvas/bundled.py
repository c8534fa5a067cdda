"""What comes with the package, by name: configurations and checkpoints; and denoisers on the hub.

A wheel holds them in this package; a checkout beside it, at the top.
"""

import difflib
import re
from pathlib import Path

__all__ = [
    "DIFFUSERS",
    "LANDSCAPES",
    "NAMES",
    "checkpoint_file",
    "configurations",
    "is_pretrained",
]

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent
DIFFUSERS = "diffusers:"
HUB = "hub:"
ON_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+?)(?:@([^/]+))?/(.+\.safetensors)")
PATIENCE = 10.0  # seconds until the hub must have answered
LANDSCAPES = "landscapes"
NAMES = (LANDSCAPES, "landscapes_context", "landscapes_controlled")


def configurations(kind: str) -> Path:
    """Returns the folder of the configurations of a kind: `benchmarks`, `outpaint` and so on."""
    return bundled(f"configs/{kind}")


def bundled(name: str) -> Path:
    """Returns where a file or folder is, or would be in a checkout."""
    inside = PACKAGE / name
    return inside if inside.exists() else CHECKOUT / name


def is_pretrained(name: str | Path) -> bool:
    """Whether a denoiser is named as a model of diffusers."""
    return str(name).startswith(DIFFUSERS)


def checkpoint_file(name: str | Path) -> Path:
    """Returns the .safetensors file that a denoiser is named by.

    Args:
        name: One of `NAMES`; or `hub:OWNER/NAME[@REVISION]/FILE.safetensors`, which is looked for
            in the cache of the hub and then downloaded; or a file.

    Raises:
        ValueError: If a name is none that there is, with the nearest that there is.
        OSError: If a file is neither here nor can be downloaded.
    """
    text = str(name)
    if text.startswith(HUB):
        return file_on_hub(text)
    if text not in NAMES:
        if text.isidentifier() and not Path(text).exists():
            raise ValueError(f"denoiser must be a file or one of {known_names()}, {got(text)}")
        return Path(name)
    file = bundled(f"checkpoints/{text}.safetensors")
    if not file.is_file():
        raise FileNotFoundError(
            f"the denoiser {text} does not come with the installed package: take {file.name} and "
            "the .json beside it from the folder checkpoints of the repository, and give "
            "denoiser=FILE."
        )
    return file


def known_names() -> str:
    """Returns what a denoiser may be called, apart from files."""
    return f"{', '.join(NAMES)}, {HUB}OWNER/NAME/FILE.safetensors, {DIFFUSERS}NAME"


def got(name: str) -> str:
    """Returns a name that there is not as the end of a sentence, with the nearest that there is."""
    near = difflib.get_close_matches(name, NAMES, n=1)
    return f"got {name!r}" + (f"; did you mean {near[0]!r}?" if near else ".")


def file_on_hub(name: str) -> Path:
    """Returns a file of the hub, its .json beside it: both of the cache, or both of one download.

    Raises:
        ValueError: If the name is none of a file on the hub.
        OSError: If it is neither in the cache nor can be downloaded.
    """
    found = ON_HUB.fullmatch(name)
    if found is None:
        raise ValueError(
            f"a denoiser on the hub must be {HUB}OWNER/NAME[@REVISION]/FILE.safetensors, got "
            f"{name!r}."
        )
    # Here: it is slow to import, and of use to few.
    from huggingface_hub import constants, hf_hub_download

    repository, revision, file = found.groups()
    reasons = []
    for here in (True, False):
        try:
            # The .json first: where the weights lie in the same folder, both are of one commit.
            beside, weights = (
                Path(
                    hf_hub_download(
                        repository,
                        each,
                        revision=revision,
                        local_files_only=here,
                        etag_timeout=PATIENCE,
                    )
                )
                for each in (str(Path(file).with_suffix(".json").as_posix()), file)
            )
        except Exception as error:  # the library raises errors of its own and of what it asks with
            reasons.append(str(error).strip().splitlines()[0])
            continue
        if beside.parent == weights.parent:
            return weights
        reasons.append("the .json and the weights are of different commits")
    raise OSError(
        f"{name} and the .json beside it are not in the cache {constants.HF_HUB_CACHE} and could "
        f"not be downloaded ({reasons[-1].rstrip('.: ')}): bring both files here and give "
        "denoiser=FILE."
    )
