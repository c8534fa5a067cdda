"""Pipelines of diffusers from a folder, from the cache of the hub, or from the hub itself."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel
from diffusers.utils import logging
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from denoisers.foreign import what_it_is
from denoisers.pretrained.variants import files_here, files_on_hub, lone_variants

try:
    import transformers
except ModuleNotFoundError:  # models without text do without it
    transformers = None

__all__ = ["load_pipeline"]

# Parts that judge or look at images: they take no part in denoising.
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")

# Parts that Stable Diffusion 3 does without, but not unless it is told so: that they were left out
# when it was saved is not enough.
OF_SD3 = ("text_encoder_3", "tokenizer_3")

PATIENCE = 10.0  # seconds until the hub must have answered

# Of the words that a text encoder knows: a tokenizer has them all, up to some that are left over,
# and one whose files are missing has hardly any.
MOST_WORDS = 0.9


def load_pipeline(name: str, *, dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    """Returns a pipeline, on the CPU.

    A model in the cache needs no connection and stays what it was. Where a part of it has weights
    in a variant alone (`model.fp16.safetensors`), that is what is loaded. A folder or model that
    holds a UNet2DModel and the configuration of its scheduler, and no pipeline, becomes a
    DDPMPipeline.

    Args:
        name: A folder as `save_pretrained` writes it, or a name on the hub, `owner/model`, after
            which `@` and a revision may stand.
        dtype: What the networks compute in.

    Raises:
        ValueError: If a folder does not hold a whole pipeline.
        OSError: If there is no such folder, and the model is neither in the cache nor to be
            downloaded.
    """
    if Path(name).is_file():
        said = what_it_is(Path(name)) or "is a file: give the folder of a pipeline of diffusers"
        raise ValueError(f"a pretrained model must be a folder or owner/model, but {name} {said}.")
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".")):
        raise ValueError(
            f"a pretrained model must be a folder or owner/model, got {name}: no folder."
        )
    path, revision = name, None
    if not Path(name).is_dir() and "@" in name:
        path, _, revision = name.partition("@")
    where: dict[str, Any] = {"revision": revision}
    with quiet():
        try:
            return _load_in_any_variant(
                path, dtype, lambda: files_here(path, revision), **where, local_files_only=True
            )
        except Exception as error:  # safetensors and tokenizers raise plain Exceptions
            if Path(path).is_dir():
                raise ValueError(
                    f"{path} must hold a pipeline as diffusers' save_pretrained writes it "
                    f"({reason(error)})."
                ) from error
        try:
            # Asks once, where a download would ask again and again before it gives up.
            files = files_on_hub(path, revision, patience=PATIENCE)
            return _load_in_any_variant(path, dtype, lambda: files, **where)
        except Exception as error:
            raise OSError(absent(path, revision, reason(error))) from error


def absent(name: str, revision: str | None, why: str) -> str:
    """Says that a model is not here, where it was looked for, and how it can be brought."""
    wanted = name if revision is None else f"{name} --revision {revision}"
    return (
        f"the model {name} is no folder, is not whole in the cache {constants.HF_HUB_CACHE} and "
        f"could not be downloaded ({why}): on a machine with a connection run `hf download "
        f"{wanted} --local-dir FOLDER`, bring the folder here, and give denoiser=diffusers:FOLDER."
    )


def _load_in_any_variant(
    name: str, dtype: torch.dtype, files: Callable[[], list[str]], **where: Any
) -> DiffusionPipeline:
    """Loads a pipeline; where weights are there in a variant alone, in that."""
    try:
        return _load(name, dtype, **where)
    except Exception:  # safetensors and tokenizers raise plain Exceptions
        alone: list[str] = []
        with contextlib.suppress(OSError):  # neither a folder nor in the cache
            alone = lone_variants(files())
        if not alone:
            raise
    return _first_that_loads(
        *(partial(_load, name, dtype, variant, **where) for variant in alone), failing=Exception
    )


def _load(
    name: str, dtype: torch.dtype, variant: str | None = None, **where: Any
) -> DiffusionPipeline:
    try:
        parts = DiffusionPipeline.load_config(name, **where)
    except OSError as error:
        # Where there is no connection, to ask for other files is to wait for nothing once more.
        if "local_files_only" in where or not unreached(error):
            with contextlib.suppress(OSError):
                return _bare(name, dtype, variant, **where)
        raise
    left_out = [part for part in UNUSED if part in parts]
    if "StableDiffusion3" in parts["_class_name"]:
        left_out += [part for part in OF_SD3 if parts.get(part, [None])[0] is None]
    nothing = dict.fromkeys(left_out)
    pipeline = DiffusionPipeline.from_pretrained(
        name, dtype=dtype, variant=variant, **nothing, **where
    )
    # Parts that have a default are loaded whatever is asked for.
    pipeline.register_modules(**nothing)
    validate_tokenizers(pipeline)
    return pipeline


def _bare(name: str, dtype: torch.dtype, variant: str | None, **where: Any) -> DDPMPipeline:
    network = UNet2DModel.from_pretrained(name, dtype=dtype, variant=variant, **where)
    scheduler = _first_that_loads(
        lambda: DDPMScheduler.from_pretrained(name, **where),
        lambda: DDPMScheduler.from_pretrained(name, subfolder="scheduler", **where),
    )
    return DDPMPipeline(network, scheduler)


def _first_that_loads(*ways: Callable[[], Any], failing: type[Exception] = OSError) -> Any:
    *others, last = ways
    for way in others:
        with contextlib.suppress(failing):
            return way()
    return last()


def validate_tokenizers(pipeline: DiffusionPipeline) -> None:
    """Checks that tokenizers have their words: where files are missing they load without.

    Raises:
        OSError: If one has not.
    """
    for name, tokenizer in pipeline.components.items():
        if not name.startswith("tokenizer") or tokenizer is None:
            continue
        encoder = pipeline.components.get(name.replace("tokenizer", "text_encoder"))
        words = getattr(getattr(encoder, "config", None), "vocab_size", 0)
        if len(tokenizer) < MOST_WORDS * words:
            raise OSError(
                f"the {name} knows {len(tokenizer)} of {words} words: its files are missing"
            )


def causes(error: BaseException) -> list[BaseException]:
    """Returns an error, what it was raised from, and so on."""
    found = [error]
    while (cause := found[-1].__cause__ or found[-1].__context__) is not None:
        found.append(cause)
    return found


def unreached(error: BaseException) -> bool:
    """Whether the hub could not be asked."""
    return any(isinstance(cause, LocalEntryNotFoundError) for cause in causes(error))


def reason(error: BaseException) -> str:
    """Returns the first line of an error, as part of a sentence.

    Where the hub could not be asked the library says that it has no such file; why it could not is
    what began it.
    """
    cause = causes(error)[-1] if unreached(error) else error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[0].rstrip(".: ")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps libraries from warning of what is said better by an error, or is no fault.

    Nor do they draw their bars of single files; those of downloads are drawn.
    """
    libraries = [logging, *([] if transformers is None else [transformers.utils.logging])]
    before = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # Of names of arguments that differ between the versions that we take.
            for module in ("diffusers", "huggingface_hub"):
                warnings.filterwarnings("ignore", module=module)
            yield
    finally:
        for library, verbosity in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            library.enable_progress_bar()
