"""Small experiments on a Gaussian field, repeated: how often intervals hold the large-N value."""

import pytest
import torch

from benchmarks.metrics.correlation import Autocorrelation
from benchmarks.metrics.drift import ColourDrift
from benchmarks.metrics.features import RandomConv
from benchmarks.metrics.frechet import FrechetDistance, frechet_distance
from benchmarks.metrics.kernel import KernelDistance
from benchmarks.metrics.manifold import PrecisionRecall, precision_recall
from benchmarks.metrics.seams import SeamRatio
from denoisers.gaussian import GaussianField
from strategies.canvas import WindowEdges
from tests.test_kernel import distance_alone

HEIGHT, WIDTH, STRIP = 12, 48, 12
CANVASES, EXPERIMENTS = 300, 40
FIELD = GaussianField(
    rows="exponential", rows_length=5.0, columns_length=8.0, variance=0.09, channels=3
)
REAL_FIELD = GaussianField(
    rows="exponential", rows_length=5.0, columns_length=7.0, variance=0.08, channels=3
)
NETWORK = RandomConv()
NETWORK.chunk = 16  # fits into a cache


def canvases_of(field: GaussianField, count: int, seed: int, width: int = WIDTH) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = field.sample(torch.randn(count, 3, HEIGHT, width, generator=generator))
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def pixel_metrics() -> list:
    size = {"height": HEIGHT, "width": WIDTH}
    return [
        SeamRatio(edges=WindowEdges((), (12, 24, 36)), **size),
        ColourDrift(strip=STRIP, distance=24, start=12, **size),
        Autocorrelation(longest=36, **size),
    ]


def measured(metrics: list, canvases: torch.Tensor) -> dict:
    figures = {}
    for metric in metrics:
        metric.update(canvases, torch.arange(len(canvases)))
        figures |= metric.compute()
    return figures


def coverage(experiments: list[dict], name: str, truth: float) -> float:
    held = sum(one[name].low <= truth <= one[name].high for one in experiments) / len(experiments)
    mean = sum(one[name].value for one in experiments) / len(experiments)
    print(f"{name}: held {held:.1%}, mean {mean:.4f}, truth {truth:.4f}")
    return held


def coverages_of_curve(experiments: list[dict], name: str, truth: list[float]) -> torch.Tensor:
    """Share of the experiments whose interval holds the truth, at every distance."""
    low, high = (
        torch.tensor([getattr(one[name], end) for one in experiments]) for end in ("low", "high")
    )
    expected = torch.tensor(truth)
    return ((low <= expected) & (expected <= high)).double().mean(0)


# Of 40 experiments at 95 % each, 36 or more hold in 95 of 100 cases; the seeds are fixed. The large
# number is some 30 times the small one: its own error widens no miss by more than a sixtieth.
AT_LEAST = 0.88


@pytest.mark.slow
def test_intervals_of_pixels_hold_the_large_value():
    truth = measured(pixel_metrics(), canvases_of(FIELD, 10_000, seed=1))
    experiments = [
        measured(pixel_metrics(), canvases_of(FIELD, CANVASES, seed=100 + run))
        for run in range(EXPERIMENTS)
    ]
    for name in ("seam_ratio", "colour_drift"):
        assert coverage(experiments, name, truth[name].value) >= AT_LEAST, name
    for name in ("drift", "contrast", "autocorrelation"):
        held = coverages_of_curve(experiments, name, truth[name].values)
        print(f"{name}: held {held.mean():.1%} on average, {held.min():.1%} at worst")
        assert held.mean() >= AT_LEAST, name
        # Of up to 30 distances, of which neighbours fail together, the worst may have 6 misses.
        assert held.min() > 0.84, name


@pytest.mark.slow
def test_intervals_of_features_hold_the_large_value():
    reference = NETWORK(canvases_of(REAL_FIELD, 600, seed=2, width=HEIGHT))
    large = NETWORK(canvases_of(FIELD, 10_000, seed=3, width=HEIGHT))
    halves = [frechet_distance(half, reference) for half in large.chunk(2)]
    truth = {
        "fid_plus_limit": 2 * frechet_distance(large, reference) - sum(halves) / 2,
        "kid": distance_alone(large[:6000].double(), reference.double()),
        "precision": precision_recall(large[:3000], reference)[0],
    }
    experiments = [
        measured(
            [
                kind(NETWORK, reference=reference)
                for kind in (FrechetDistance, KernelDistance, PrecisionRecall)
            ],
            canvases_of(FIELD, CANVASES, seed=100 + run),
        )
        for run in range(EXPERIMENTS)
    ]
    # These depend on the number of canvases: what is expected is expected of as many.
    for name in ("fid_plus", "recall"):
        truth[name] = sum(one[name].value for one in experiments) / EXPERIMENTS
    for name, expected in truth.items():
        assert coverage(experiments, name, expected) >= AT_LEAST, name
    # Held for the right reason: no interval is above twice what it must be.
    for name in truth:
        spread = torch.tensor([one[name].value for one in experiments]).std().item()
        widths = [one[name].high - one[name].low for one in experiments]
        assert sum(widths) / EXPERIMENTS < 2 * 2 * 1.96 * spread, name
