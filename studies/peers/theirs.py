"""The peer: the panorama pipeline of diffusers, in a process and an interpreter of its own."""

import contextlib
import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from studies.peers.jobs import Job, Made, PeerError, Timing
from studies.peers.worker import TENSOR

__all__ = ["Theirs", "Worker", "arguments_of"]

SCRIPT = Path(__file__).with_name("worker.py")
LOG, LATENTS, OUT = "worker.log", "latents.safetensors", "out.safetensors"
TAIL = 3  # lines of its log that are quoted


class Worker:
    """The process of the peer, which stays between requests.

    Args:
        python: The interpreter; its diffusers is the peer.
        threads: Threads of its computations.
        scratch: An empty folder, for what goes to and fro.
        script: What it runs.

    Attributes:
        introduction: Its Python, its threads and its versions.

    Raises:
        ValueError: If there is no such interpreter, or it cannot import the pipeline.
    """

    def __init__(self, python: Path, *, threads: int, scratch: Path, script: Path = SCRIPT) -> None:
        self.scratch = scratch
        with (scratch / LOG).open("w") as log:
            try:
                # Isolated: PYTHONPATH and what lies beside the script are ours, not the peer's.
                self._process = subprocess.Popen(
                    [str(python), "-I", str(script), str(threads)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
                assert self._process.stdin is not None
                assert self._process.stdout is not None
                self._requests, self._answers = self._process.stdin, self._process.stdout
            except OSError as error:
                raise ValueError(
                    f"python must be a Python interpreter that has diffusers, got {python} "
                    f"({error.strerror})."
                ) from error
        try:
            self.introduction = self._answer()
        except (PeerError, OSError) as error:
            self.close()
            raise ValueError(
                f"python must have a diffusers with StableDiffusionPanoramaPipeline, {python} has "
                f"not: {' '.join(str(error).split())}"
            ) from error

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer to a request.

        Raises:
            PeerError: If the pipeline raised something.
            OSError: If the process has ended.
        """
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._answer()

    def close(self) -> None:
        """Lets the process end."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._process.wait()
        self._answers.close()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise self._ended()
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _ended(self) -> OSError:
        log = (self.scratch / LOG).read_text().strip().splitlines()
        return OSError(
            f"the peer's process has ended with status {self._process.wait()}: "
            f"{' / '.join(log[-TAIL:]) or 'it said nothing'}"
        )


@dataclasses.dataclass(frozen=True)
class Theirs:
    """Panoramas by the peer.

    Args:
        worker: Its process.
        folder: A pipeline, as `save_pretrained` writes it.
        scale: Pixels of an image along a side of a latent pixel.
        channels: Channels of the latents.
        batch: Views in one call of the network; the pipeline's default is 1.
    """

    worker: Worker
    folder: Path
    scale: int
    channels: int
    batch: int = 1

    def load(self) -> None:
        """Loads the pipeline, which the first panorama would do otherwise.

        Raises:
            PeerError: If the peer cannot.
            OSError: If its process has ended.
        """
        self.worker.ask({"folder": str(self.folder)})

    def made(self, job: Job) -> Made:
        """Makes a panorama.

        Raises:
            PeerError: If the pipeline raised something.
            OSError: If its process has ended.
        """
        latents, out = self.worker.scratch / LATENTS, self.worker.scratch / OUT
        save_file({TENSOR: job.latents(self.scale, self.channels).contiguous()}, latents)
        answer = self.worker.ask(
            {
                "folder": str(self.folder),
                "latents": str(latents),
                "out": str(out),
                "settings": arguments_of(job, self.batch),
            }
        )
        shapes = tuple(tuple(shape) for shape in answer.pop("shapes"))
        return Made(Timing(shapes=shapes, **answer), load_file(out)[TENSOR])


def arguments_of(job: Job, batch: int) -> dict[str, Any]:
    """Returns what the pipeline is called with, so many views in one call of the network."""
    return {
        "prompt": job.prompt,
        "height": job.height,
        "width": job.width,
        "num_inference_steps": job.num_steps,
        "guidance_scale": job.guidance,
        "view_batch_size": batch,
        "num_images_per_prompt": job.images,
        "circular_padding": job.circular,
        "output_type": "pt" if job.decoded else "latent",
    }
