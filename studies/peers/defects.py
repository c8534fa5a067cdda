"""Defects of the panorama pipeline, each as a number that is measured on both sides."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from studies.peers.jobs import STRIDE, Job, PeerError, Side
from studies.peers.records import Finding

__all__ = [
    "Case",
    "cases",
    "distance_from_alone",
    "distance_from_unprompted",
    "found",
    "roll_error",
    "unwritten_columns",
    "unwritten_share",
    "window_side",
]

Pipeline = Literal["compared", "small_patches", "scale_of_4"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A defect and where it shows.

    Args:
        defect: What goes wrong.
        where: When it does.
        measure: What is measured.
        figure: Measures it on a side.
        job: What is asked for.
        pipeline: Of which model.
    """

    defect: str
    where: str
    measure: str
    figure: Callable[[Side, Job], float]
    job: Job
    pipeline: Pipeline = "compared"


def cases(job: Job) -> list[Case]:
    """Returns the defects, on small canvases with the prompt and the seed of a job."""

    def asked(height: int, width: int, **changes: Any) -> Job:
        return dataclasses.replace(job, height=height, width=width, num_steps=2, **changes)

    pair = asked(512, 576)
    circular = "rolling the starting latents by a stride must roll the outcome: largest difference"
    return [
        Case(
            "columns left uncovered",
            "512 x 1,080 px, which no whole number of strides covers",
            "columns of latents that no view has written, of 135",
            unwritten_columns,
            asked(512, 1080),
        ),
        Case(
            "guidance pairs mixed up",
            "2 images of one prompt, 512 x 576 px",
            "image 0 of 2 must be image 0 alone: largest difference",
            distance_from_alone,
            pair,
        ),
        Case(
            "guidance pairs mixed up",
            "the same",
            "image 0 of 2 from the image of an empty prompt: 0 if the prompt is lost",
            distance_from_unprompted,
            pair,
        ),
        Case(
            "circular mode above 512 px",
            "576 x 640 px",
            circular,
            roll_error,
            asked(576, 640, circular=True),
        ),
        Case(
            "circular mode at one view",
            "512 x 512 px",
            circular,
            roll_error,
            asked(512, 512, circular=True),
        ),
        Case(
            "circular mode between strides",
            "512 x 1,000 px, 15.6 strides",
            circular,
            roll_error,
            asked(512, 1000, circular=True),
        ),
        Case(
            "views of 64 whatever the model",
            "a U-Net trained on 32 x 32 latents",
            "side of the windows that it is asked about, in latents",
            window_side,
            asked(512, 576),
            "small_patches",
        ),
        Case(
            "8 px a latent whatever the model",
            "an autoencoder of 4 px a latent, 512 x 576 px",
            "share of the latents that no view has written",
            unwritten_share,
            asked(512, 576),
            "scale_of_4",
        ),
    ]


def found(case: Case, theirs: Side, ours: Side) -> Finding:
    """Returns a defect measured on both sides; what a side raises takes the place of a number."""
    figures: dict[str, float | None] = {}
    said: dict[str, str] = {}
    for name, side in (("theirs", theirs), ("ours", ours)):
        try:
            figures[name] = case.figure(side, case.job)
        except (PeerError, ValueError) as error:
            figures[name], said[name] = None, str(error)
    return Finding(case.defect, case.where, case.measure, said=said, **figures)


def unwritten_columns(side: Side, job: Job) -> float:
    """Returns how many columns are 0 to the last bit, which noise never is."""
    return float((_images(side, job) == 0).all(-2).all(1).all(0).sum())


def unwritten_share(side: Side, job: Job) -> float:
    """Returns what share of the latents is 0 in all channels."""
    return float((_images(side, job) == 0).all(1).double().mean())


def distance_from_alone(side: Side, job: Job) -> float:
    """Returns the largest difference of image 0 of 2 from image 0 alone."""
    return _distance(_first_of_two(side, job), _images(side, job))


def distance_from_unprompted(side: Side, job: Job) -> float:
    """Returns the largest difference of image 0 of 2 from what an empty prompt makes."""
    unprompted = dataclasses.replace(job, prompt="", guidance=1.0)
    return _distance(_first_of_two(side, job), _images(side, unprompted))


def roll_error(side: Side, job: Job) -> float:
    """Returns by how much the outcome of rolled noise is not the rolled outcome."""
    rolled = dataclasses.replace(job, rolled=STRIDE)
    return _distance(_images(side, job).roll(STRIDE, -1), _images(side, rolled))


def window_side(side: Side, job: Job) -> float:
    """Returns the longest side of all windows that the network was asked about."""
    return float(max(max(shape[-2:]) for shape in side.made(job).timing.shapes))


def _first_of_two(side: Side, job: Job) -> Tensor:
    return _images(side, dataclasses.replace(job, images=2))[:1]


def _images(side: Side, job: Job) -> Tensor:
    images = side.made(job).images
    assert images is not None, "a side that makes nothing has no defects"
    return images


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
