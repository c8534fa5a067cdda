"""Every figure that a row can have: its name, how it is printed, and which way is better."""

import dataclasses
from typing import Literal

__all__ = ["CURVES", "FIGURES", "Figure"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure, as tables and plots know it.

    Args:
        title: Head of its column.
        meaning: One sentence for a reader who has not met it.
        better: `lower`, `higher`, or `real`: nearer to what real images have.
        by_features: Whether it rests on a feature network, whose name is then printed with it.
    """

    title: str
    meaning: str
    better: Literal["lower", "higher", "real"]
    by_features: bool = False


FIGURES = {
    "fid_plus": Figure(
        "FID+",
        "Fréchet distance between features of one random square crop of every canvas and of crops "
        "of real images.",
        "lower",
        by_features=True,
    ),
    "fid_plus_limit": Figure(
        "FID+ limit",
        "What FID+ tends to as canvases become many: its bias at this N taken off.",
        "lower",
        by_features=True,
    ),
    "kid": Figure(
        "KID+",
        "Kernel distance (squared MMD, cubic kernel) of the same features; without bias at any N.",
        "lower",
        by_features=True,
    ),
    "precision": Figure(
        "Precision",
        "Share of crops that lie among real ones, by nearest neighbours of the same features.",
        "higher",
        by_features=True,
    ),
    "recall": Figure(
        "Recall",
        "Share of real crops that lie among generated ones.",
        "higher",
        by_features=True,
    ),
    "seam_ratio": Figure(
        "Seams",
        "Step between neighbouring pixels across window edges over the step elsewhere.",
        "real",
    ),
    "wrap_error": Figure(
        "Wrap",
        "Step across the line where a loop closes over the step elsewhere; 1 cannot be found.",
        "real",
    ),
    "colour_drift": Figure(
        "Drift",
        "How far the mean colour moves over a distance, black and white being 2 apart.",
        "real",
    ),
    "correlation_gap": Figure(
        "Correlation gap",
        "Root mean square difference between the autocorrelation and that of real long crops.",
        "lower",
    ),
    "repetition": Figure(
        "Nearest crop",
        "Distance of a crop to the nearest other crop of the same canvas; small where a canvas "
        "repeats itself.",
        "real",
        by_features=True,
    ),
    "consistency": Figure(
        "Consistency",
        "Cosine similarity of the CLIP embeddings of the first and the last square of a canvas.",
        "real",
    ),
    "palette_distance": Figure(
        "Palette",
        "How far the colours of a canvas are from those of its seed image, whatever their places, "
        "black and white being 2 apart.",
        "lower",
    ),
    "sky_at_top": Figure(
        "Sky at top",
        "How much bluer the top quarter of a canvas is than the bottom quarter.",
        "real",
    ),
    "layout_correlation": Figure(
        "Layout",
        "Correlation of a canvas's colours from top to bottom with those of its seed image, the "
        "mean colour of each taken off.",
        "higher",
    ),
}

CURVES = {
    "drift": Figure(
        "Colour drift",
        "How far the mean colour is from that of the strip where the strategy began.",
        "real",
    ),
    "contrast": Figure(
        "Contrast",
        "Standard deviation of the pixels of a strip, by its distance from where the strategy "
        "began.",
        "real",
    ),
    "autocorrelation": Figure(
        "Autocorrelation",
        "Correlation of pixels of one row, by their distance.",
        "real",
    ),
}
