"""The peer in an interpreter of its own: panoramas by the pipeline of diffusers, one a request.

    python worker.py THREADS

Nothing of this project is imported here, so that the interpreter may have any version of diffusers.
A line of JSON on standard output says what versions it has; then every line of JSON on standard
input is a request, answered by one line. An `error` in an answer is what the pipeline raised.
"""

import copy
import json
import os
import sys
import time
import types
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

__all__ = ["Counted", "answer", "serve"]

LIBRARIES = ("torch", "diffusers", "transformers")
TENSOR = "images"  # what latents and images are called in their files


class Counted:
    """What a network is asked while this is open: calls, evaluations, seconds.

    Args:
        network: The network, the U-Net itself.

    Attributes:
        shapes: The size of every batch that it was called with.
        seconds: Seconds inside the network.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.shapes: list[tuple[int, int, int, int]] = []
        self.seconds = 0.0
        self._begun = 0.0

    def __enter__(self) -> "Counted":
        self._hooks = [
            self.network.register_forward_pre_hook(self._enters, with_kwargs=True),
            self.network.register_forward_hook(self._leaves),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def calls(self) -> int:
        """Calls of the network."""
        return len(self.shapes)

    @property
    def evaluations(self) -> int:
        """Images evaluated, over all calls; both of a pair of guidance count."""
        return sum(shape[0] for shape in self.shapes)

    def _enters(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.shapes.append(tuple((given[0] if given else named["sample"]).shape))
        self._begun = time.perf_counter()

    def _leaves(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


class Copies:
    """Counts and times the deep copies that a module makes while this is open.

    Args:
        module: Imports `copy`; one that does not makes none.

    Attributes:
        count: Deep copies.
        seconds: Seconds that they took.
    """

    def __init__(self, module: types.ModuleType) -> None:
        self.module = module
        self.count = 0
        self.seconds = 0.0

    def __enter__(self) -> "Copies":
        if hasattr(self.module, "copy"):
            own = types.SimpleNamespace(copy=copy.copy, deepcopy=self._deepcopy)
            vars(self.module)["copy"] = own
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self.module, "copy"):
            vars(self.module)["copy"] = copy

    def _deepcopy(self, value: Any) -> Any:
        begun = time.perf_counter()
        copied = copy.deepcopy(value)
        self.count += 1
        self.seconds += time.perf_counter() - begun
        return copied


def serve(threads: int) -> None:
    """Answers requests until there are no more."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(threads)
    pipelines: dict[str, Any] = {}
    said = attempted(introduction)
    while True:
        answers.write(json.dumps(said) + "\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            return
        said = attempted(answer, json.loads(line), pipelines)


def attempted(work: Any, *given: Any) -> dict[str, Any]:
    """Returns what work returns, or what it raised as the value of `error`."""
    try:
        return work(*given)
    except Exception as error:  # whatever a pipeline raises is what was asked for
        return {"error": f"{type(error).__name__}: {error}"}


def introduction() -> dict[str, Any]:
    """Returns versions; fails where diffusers has no such pipeline."""
    panorama_class()
    return {
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
        "versions": {name: version_of(name) for name in LIBRARIES},
    }


def version_of(library: str) -> str | None:
    """Returns the version of a library; None where it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def panorama_class() -> Any:
    """Returns the class of the pipeline.

    Raises:
        ImportError: If this version of diffusers has none.
    """
    from diffusers import StableDiffusionPanoramaPipeline

    return StableDiffusionPanoramaPipeline


def loaded(folder: str) -> Any:
    """Returns the pipeline of a folder, with the scheduler that its documentation takes, DDIM."""
    from diffusers import DDIMScheduler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = panorama_class().from_pretrained(
            folder, safety_checker=None, requires_safety_checker=False
        )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def answer(request: dict[str, Any], pipelines: dict[str, Any]) -> dict[str, Any]:
    """Makes what is asked for, and says what it cost.

    Args:
        request: `folder` of the pipeline, `latents` to start from and where the outcome goes,
            `out`, as files, and the `settings` of the call; with the folder alone it is loaded.
        pipelines: Those that were loaded before, by their folders.
    """
    folder = request["folder"]
    if folder not in pipelines:
        pipelines[folder] = loaded(folder)
    if "settings" not in request:
        return {}
    pipeline = pipelines[folder]
    latents = load_file(request["latents"])[TENSOR]
    module = sys.modules[type(pipeline).__module__]
    with Counted(pipeline.unet) as counted, Copies(module) as copies:
        begun = time.perf_counter()
        made = pipeline(latents=latents, **request["settings"]).images
        seconds = time.perf_counter() - begun
    save_file({TENSOR: made.contiguous()}, Path(request["out"]))
    return {
        "seconds": seconds,
        "network_seconds": counted.seconds,
        "shapes": counted.shapes,
        "copies": copies.count,
        "copy_seconds": copies.seconds,
    }


if __name__ == "__main__":
    serve(int(sys.argv[1]))
