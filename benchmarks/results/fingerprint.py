"""What a figure rests on, and whether two figures may stand side by side.

A Frechet distance of 500 canvases is not comparable with one of 50,000, nor one that used another
network, another resizer or other reference crops: such rows are marked, never mixed.
"""

from typing import Any

from patchcanvas.records import changes

__all__ = ["MUST_AGREE", "OF_SINGLE_FIGURES", "differences", "other_definition"]

# What must be equal for the figures of two rows to be compared. What is left of a fingerprint is
# what a comparison is about (strategy, denoiser, seed), or where it was made.
MUST_AGREE = (
    "features",
    "features_sha256",
    "features_dtype",
    "resizer",
    "num_samples",
    "num_reference",
    "reference_sha256",
    "canvas",
    "wraps",
)

# What single figures need beyond that.
OF_SINGLE_FIGURES = {
    "colour_drift": ("strip",),
    "correlation_gap": ("strip",),
    "repetition": ("crop_side",),
    "consistency": ("clip_sha256",),
    "palette_distance": ("seeds_sha256",),
    "layout_correlation": ("seeds_sha256",),
}


def other_definition(figure: str, first: dict[str, Any], second: dict[str, Any]) -> str | None:
    """Returns what makes one figure of two comparable rows another quantity; None if nothing does.

    >>> other_definition("colour_drift", {"strip": 32}, {"strip": 64})
    'strip'
    """
    needed = OF_SINGLE_FIGURES.get(figure, ())
    return next((name for name in needed if first.get(name) != second.get(name)), None)


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns what makes the figures of two rows incomparable, by name; empty if nothing does.

    >>> differences({"num_samples": 64, "seed": 0}, {"num_samples": 500, "seed": 1})
    {'num_samples': (64, 500)}
    """
    return {
        name: pair
        for name, pair in changes(first, second).items()
        if name.partition(".")[0] in MUST_AGREE
    }
