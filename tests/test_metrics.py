import copy
import datetime
import pickle
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import start_processes
from torchmetrics import MetricCollection

from benchmarks.metrics.catalogue import CURVES, FIGURES
from benchmarks.metrics.consistency import Consistency
from benchmarks.metrics.correlation import Autocorrelation
from benchmarks.metrics.crops import square_crops
from benchmarks.metrics.drift import ColourDrift
from benchmarks.metrics.estimates import Curve, Estimate
from benchmarks.metrics.features import RandomConv
from benchmarks.metrics.frechet import FrechetDistance
from benchmarks.metrics.kernel import KernelDistance
from benchmarks.metrics.layout import Layout, SkyAtTop, profile_of
from benchmarks.metrics.manifold import PrecisionRecall
from benchmarks.metrics.palette import PaletteDistance, palette_of
from benchmarks.metrics.repetition import Repetition
from benchmarks.metrics.seams import SeamRatio, WrapError
from strategies.canvas import WindowEdges

HEIGHT, WIDTH, COUNT = 12, 40, 24
BORDERS = WindowEdges(rows=(6,), columns=(12, 24))


def noise(count: int, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


class FewFeatures(RandomConv):
    """The first ten features, so that few canvases are many; counts the images it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.dimensions = 10
        self.seen = 0

    def embed(self, images):
        self.seen += len(images)
        return super().embed(images)[:, :10]


def first_pixels(images: torch.Tensor) -> torch.Tensor:
    return images[:, :, 0, 0].double()


def of_crops(network: RandomConv) -> dict:
    reference = network(noise(40, HEIGHT, HEIGHT, seed=1))
    kinds = {"frechet": FrechetDistance, "kernel": KernelDistance, "manifold": PrecisionRecall}
    return {name: kind(network, reference=reference, seed=5) for name, kind in kinds.items()}


def metrics() -> MetricCollection:
    size = {"height": HEIGHT, "width": WIDTH}
    real = Autocorrelation(**size, longest=28)
    real.distributed_available_fn = lambda: False  # each process has measured all of them
    real.update(noise(9, seed=2), torch.arange(9))
    network = FewFeatures()
    others = {
        "seams": SeamRatio(edges=BORDERS, **size),
        "wrap": WrapError(wrap_height=True, wrap_width=True, edges=BORDERS, **size),
        "drift": ColourDrift(strip=8, distance=16, start=10, **size),
        "correlation": Autocorrelation(longest=28, real=real.compute()["autocorrelation"], **size),
        "repetition": Repetition(network, side=12, limit=COUNT - 5, **size),
        "consistency": Consistency(first_pixels, side=12, limit=COUNT - 5),
        "palette": PaletteDistance(palettes=palette_of(noise(COUNT, 9, 7, seed=3))),
        "sky": SkyAtTop(),
        "layout": Layout(profiles=profile_of(noise(COUNT, 9, 7, seed=3))),
    }
    crops = of_crops(network)
    groups = [list(crops), *([name] for name in others)]
    return MetricCollection(crops | others, compute_groups=groups)


def computed(batches: list[torch.Tensor]) -> dict:
    found, canvases = metrics(), noise(COUNT)
    for batch in batches:
        found.update(canvases[batch], batch)
    return found.compute()


@pytest.fixture(scope="module")
def expected() -> dict:
    return computed([torch.arange(COUNT)])


def test_every_figure_of_the_catalogue_is_measured(expected):
    estimates = {name for name, figure in expected.items() if isinstance(figure, Estimate)}
    curves = {name for name, figure in expected.items() if isinstance(figure, Curve)}
    assert (estimates, curves) == (set(FIGURES), set(CURVES))


def test_every_interval_is_about_its_value(expected):
    for name, figure in expected.items():
        if isinstance(figure, Estimate):
            assert figure.low < figure.value < figure.high, name
        else:
            points = zip(figure.low, figure.values, figure.high, strict=True)
            assert all(low <= value <= high for low, value, high in points), name
            assert len(figure.distances) == len(figure.values), name


@pytest.mark.parametrize("size", [1, 5, 8])
def test_figures_are_equal_for_any_batch_size(size, expected):
    assert computed(list(torch.arange(COUNT).split(size))) == expected


def test_figures_are_equal_in_any_order_and_with_empty_updates(expected):
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    nothing = torch.arange(0)
    assert computed([nothing, *order.split(7), nothing]) == expected


def work(rank: int, folder: str) -> None:
    """Measures half of the canvases, then all of them in one of two processes."""
    torch.set_num_threads(1)
    timeout = datetime.timedelta(seconds=60)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timeout
    )
    canvases, results = noise(COUNT), []
    for share in (torch.arange(rank, COUNT, 2), torch.arange(COUNT if rank == 0 else 0)):
        found = metrics()
        for batch in share.split(5) if len(share) else [share]:
            found.update(canvases[batch], batch)
        results.append(found.compute())
    # What was measured elsewhere is not kept: another update finds the process's own share.
    found.update(canvases[:0], torch.arange(0))
    results.append(found.compute())
    Path(folder, str(rank)).write_bytes(pickle.dumps(results))
    distributed.destroy_process_group()


def test_figures_are_equal_on_two_processes_even_if_one_has_no_share(expected, tmp_path):
    # Forked, for spawned ones would spend their time on imports; they touch nothing but the CPU.
    start_processes(work, args=(str(tmp_path),), nprocs=2, start_method="fork")
    for rank in range(2):
        results = pickle.loads((tmp_path / str(rank)).read_bytes())
        assert results == [expected] * 3


def test_states_can_be_merged(expected):
    canvases, whole = noise(COUNT), {}
    first, second = metrics(), metrics()
    for part, indices in ((first, torch.arange(11, COUNT)), (second, torch.arange(11))):
        part.update(canvases[indices], indices)
    for name in first:
        one = copy.deepcopy(first[name])
        one.merge_state(second[name])
        whole |= one.compute()
    assert whole == expected


def test_a_pickled_metric_goes_on(expected):
    canvases, found = noise(COUNT), metrics()
    found.update(canvases[:9], torch.arange(9))
    again = pickle.loads(pickle.dumps(found))
    again.update(canvases[9:], torch.arange(9, COUNT))
    assert again.compute() == expected


def test_a_group_of_crop_metrics_sees_every_crop_once(expected):
    network = FewFeatures()
    crops = of_crops(network)
    group = MetricCollection(crops, compute_groups=[list(crops)])
    network.seen = 0
    for part in torch.arange(COUNT).split(10):
        group.update(noise(COUNT)[part], part)
    found = group.compute()
    assert network.seen == COUNT
    assert found == {name: expected[name] for name in found}
    assert len(found) == 5


def test_compute_again_after_more_canvases():
    canvases, found = noise(COUNT), metrics()
    found.update(canvases[:20], torch.arange(20))
    few = found.compute()
    assert found.compute() == few
    found.update(canvases[20:], torch.arange(20, COUNT))
    assert found.compute()["seam_ratio"] != few["seam_ratio"]
    found.reset()
    found.update(canvases[:20], torch.arange(20))
    assert found.compute() == few


def seams() -> SeamRatio:
    return SeamRatio(edges=BORDERS, height=HEIGHT, width=WIDTH)


def test_a_canvas_given_twice_is_refused():
    metric = seams()
    metric.update(noise(4), torch.tensor([5, 3, 9, 7]))
    metric.update(noise(2), torch.tensor([2, 3]))
    with pytest.raises(ValueError, match="given once, got sample index 3 twice"):
        metric.compute()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_canvases_are_refused(count):
    metric = seams()
    metric.update(noise(count), torch.arange(count))
    with pytest.raises(ValueError, match=f"at least 2 canvases, got {count}"):
        metric.compute()


def test_a_reference_that_does_not_fit_is_refused():
    network = RandomConv()
    with pytest.raises(ValueError, match="must have 146 dimensions, got 7"):
        KernelDistance(network, reference=torch.zeros(5, 7))
    for reference in (torch.zeros(1, 146), torch.full((3, 146), torch.nan)):
        with pytest.raises(ValueError, match="at least 2 rows of finite features"):
            KernelDistance(network, reference=reference)


def test_crops_have_the_place_of_their_sample_index():
    # Level = column in red, row in green: a crop tells where it was taken.
    canvases = torch.zeros(300, 3, 20, 50, dtype=torch.uint8)
    canvases[:, 0] = torch.arange(50)
    crops = square_crops(canvases, torch.arange(300), seed=0)
    lefts = crops[:, 0, 0, 0].long()
    assert torch.equal(crops, torch.stack([canvases[0, ..., at : at + 20] for at in lefts]))
    # 300 draws of 31 places: each 9.7 times, standard deviation 3.1.
    counts = lefts.bincount(minlength=31)
    assert (len(counts), counts.min().item() > 0, counts.max().item() < 25) == (31, True, True)
    order = torch.tensor([7, 250, 3])
    assert torch.equal(square_crops(canvases[order], order, seed=0), crops[order])
    assert not torch.equal(square_crops(canvases, torch.arange(300), seed=1), crops)


def test_crops_of_tall_canvases_move_down_and_squares_are_their_own():
    canvases = torch.zeros(300, 3, 30, 10, dtype=torch.uint8)
    canvases[:, 1] = torch.arange(30)[:, None]
    tops = square_crops(canvases, torch.arange(300), seed=0)[:, 1, 0, 0].long()
    # 300 draws of 21 places: each 14.3 times, standard deviation 3.7.
    counts = tops.bincount(minlength=21)
    assert (len(counts), counts.min().item() > 1, counts.max().item() < 33) == (21, True, True)
    squares = noise(4, 10, 10)
    assert torch.equal(square_crops(squares, torch.arange(4), seed=0), squares)
