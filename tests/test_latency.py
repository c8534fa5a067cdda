import dataclasses
import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image as Picture
from rich.console import Console

from benchmarks.latency.__main__ import Run, main
from benchmarks.latency.guard import expected_absence, repeats_within, slow_absence
from benchmarks.latency.measure import measured_lower_bound
from benchmarks.latency.picture import draw, seconds_against_width
from benchmarks.latency.plan import PRESETS, read_command
from benchmarks.latency.records import Absence, Batch, LatencyResults, LowerBound, Point
from benchmarks.latency.table import (
    ABSENT,
    TIMES,
    costs,
    document,
    latex,
    notes,
    seconds,
)
from benchmarks.metrics.estimates import Spread
from denoisers.checkpoint import save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.accounting import NFECounter
from patchcanvas.files import lock, unlock
from patchcanvas.records import read_record
from patchcanvas.timing import Bench
from sampling.solvers import Euler, Heun
from strategies.canvas import Canvas
from strategies.catalogue import names
from strategies.naive import Naive
from strategies.reconstruction import Reconstruction
from tests.test_accounting import Clocked, FakeClock

CPU = torch.device("cpu")
SIDE = 16
NAMES = names()
behaviour = {"raise": None, "runs": []}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moody(Naive):
    """Naive tiling that notes its runs, and fails when told to."""

    def generate(self, denoiser, canvas, noise, *, known=None, context=None):
        behaviour["runs"].append(("moody", canvas.width // SIDE))
        if behaviour["raise"] is not None and len(behaviour["runs"]) >= behaviour["after"]:
            raise behaviour["raise"]
        return super().generate(denoiser, canvas, noise, known=known, context=context)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calm(Naive):
    """Naive tiling that notes its runs."""

    def generate(self, denoiser, canvas, noise, *, known=None, context=None):
        behaviour["runs"].append(("calm", canvas.width // SIDE))
        return super().generate(denoiser, canvas, noise, known=known, context=context)


MOODY, CALM = "tests.test_latency.Moody", "tests.test_latency.Calm"


@pytest.fixture(autouse=True)
def _calm():
    behaviour.update({"raise": None, "after": 0, "runs": []})


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    save_denoiser(EDMPrecond(network, SIDE), path, provenance={"command": "none: untrained"})
    return path


@pytest.fixture
def arguments(weights, tmp_path) -> list[str]:
    return [
        f"denoiser={weights}",
        f"results={tmp_path / 'results'}",
        "widths=[1,2]",
        "repeats=3",
        "batches=[1,2]",
        "solver.num_steps=2",
        "device=cpu",
    ]


def folders(tmp_path) -> list[Path]:
    root = tmp_path / "results"
    return sorted(root.iterdir()) if root.exists() else []


def results_in(folder: Path) -> LatencyResults:
    return read_record(LatencyResults, folder / "latency.json")


def canvas(patches: int) -> Canvas:
    return Canvas(height=SIDE, width=patches * SIDE)


def bench(clock: FakeClock, **costs: float) -> Bench:
    return Bench(NFECounter(Clocked(clock, **costs), clock=clock), CPU, clock=clock)


def point(name: str, width: int, *values: float, **changes) -> Point:
    made = Point(
        strategy=name,
        width=width,
        canvas=(32, 32 * width),
        nfe=35,
        patch_evaluations=1735,
        pixels=3 * 32 * 32 * width,
        backward_passes=0,
        backward_pixels=0,
        asked=len(values),
        repeats=len(values),
        rounds=list(range(len(values))),
        seconds=list(values),
        network_seconds=[0.75 * value for value in values],
        peak_memory_mib=812.4,
    )
    return dataclasses.replace(made, **changes)


LOWER_BOUND = LowerBound(
    [Batch(1, 4e-6, 8e-6), Batch(8, 2e-6, 5e-6), Batch(64, 2.5e-6, 3e-6)], [128]
)


def results_of(points: list[Point], **changes) -> LatencyResults:
    whole = LatencyResults(
        name="latency",
        created="2026-01-02T12:00:00+00:00",
        command="python -m benchmarks.latency",
        settings={
            "repeats": 3,
            "warmup": 1,
            "most_seconds": 60.0,
            "runtime": {"precision": "fp32", "compile": False},
            "seed": 0,
            "solver": {"class_path": "sampling.solvers.Heun"},
        },
        environment={
            "device": "an abacus",
            "threads": 1,
            "memory": "beads",
            "versions": {"torch": "2.15.0"},
        },
        denoiser={"file": "weights.safetensors"},
        patch_size=32,
        height=32,
        steps=18,
        load=0.25,
        lower_bound=LOWER_BOUND,
        points=points,
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def results() -> LatencyResults:
    """Two widths of three strategies; the slowest was left out of the wide one."""
    return results_of(
        [
            point("naive", 1, 1.0, 2.0, 4.0),
            point("diffcollage", 1, 3.0, 4.0, 4.0),
            point("lshape_repaint", 1, 20.0, 21.0, 22.0),
            point("naive", 4, 2.0, 3.0, 5.0),
            point("diffcollage", 4, 8.0, 9.0, 10.0),
        ],
        absences=[Absence("lshape_repaint", 4, "a run would take about 84 s", False, 84.0)],
    )


# One run


def test_a_run_is_timed_from_end_to_end_and_counted():
    clock = FakeClock()
    timing = bench(clock, forward=0.25).run(Naive(solver=Euler(num_steps=3)), canvas(4))
    # 3 evaluations of 4 windows; nothing else moves this clock.
    assert (timing.seconds, timing.network_seconds) == (3.0, 3.0)
    assert timing.peak_memory_mib > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Idle(Naive):
    """Naive tiling after 5 seconds of something else."""

    clock: FakeClock = dataclasses.field(default_factory=FakeClock)

    def generate(self, denoiser, canvas, noise, *, known=None, context=None):
        self.clock.now += 5.0
        return super().generate(denoiser, canvas, noise, known=known, context=context)


def test_what_is_not_the_network_is_no_part_of_its_share():
    clock = FakeClock()
    timed, strategy = bench(clock), Idle(solver=Euler(num_steps=3), clock=clock)
    found = timed.run(strategy, canvas(5))
    whole = Point.of("idle", 5, canvas(5), timed.denoiser, asked=1, repeats=1)
    point = whole.added(found, 0)
    assert point.seconds == [20.0]
    assert point.network_share == 0.75


def test_the_gradients_of_reconstruction_are_inside_the_network():
    clock = FakeClock()
    timed = bench(clock, forward=1.0, backward=10.0)
    timing = timed.run(Reconstruction(solver=Heun(num_steps=2)), canvas(2))
    point = Point.of("reconstruction", 2, canvas(2), timed.denoiser, asked=1, repeats=1)
    # 3 windows in 2 turns, 3 evaluations each; the first window knows nothing and has no gradient.
    assert (point.nfe, point.patch_evaluations) == (6, 9)
    assert (point.backward_passes, point.backward_pixels) == (3, 6 * SIDE**2)
    assert point.pixels == 9 * SIDE**2
    assert point.nfe_per_pixel == 4.5
    assert timing.seconds == timing.network_seconds == 9 * 1.0 + 6 * 10.0


def test_each_run_starts_from_nothing():
    clock = FakeClock()
    timed, strategy = bench(clock), Naive(solver=Euler(num_steps=3))
    first, second = (timed.run(strategy, canvas(2)) for _ in range(2))
    assert first.seconds == second.seconds == second.network_seconds == 6.0
    assert timed.denoiser.calls == 3


def test_canvases_that_are_not_finite_are_refused():
    class Broken(Clocked):
        def __call__(self, x_t, sigma, context=None):
            return torch.full_like(x_t, torch.nan)

    broken = Bench(NFECounter(Broken(FakeClock())), CPU)
    with pytest.raises(FloatingPointError, match="not finite"):
        broken.run(Naive(solver=Euler(num_steps=2)), canvas(1))


def test_timings_gather_and_the_highest_peak_is_kept():
    whole = point("naive", 1, peak_memory_mib=0.0)
    for number, taken, peak in ((4, 2.0, 7.0), (9, 3.0, 5.0)):
        timing = dataclasses.replace(bench(FakeClock()).run(Naive(), canvas(1)), seconds=taken)
        whole = whole.added(dataclasses.replace(timing, peak_memory_mib=peak), number)
    assert (whole.rounds, whole.seconds, whole.peak_memory_mib) == ([4, 9], [2.0, 3.0], 7.0)


# Figures


def test_quartiles_are_those_of_numpy_and_one_run_is_its_own():
    values = [5.0, 1.0, 9.0, 2.0, 2.5, 4.0]
    expected = np.percentile(values, [50, 25, 75]).tolist()
    assert dataclasses.astuple(Spread.of(values)) == (*expected, len(values))
    assert dataclasses.astuple(Spread.of([3.0])) == (3.0, 3.0, 3.0, 1)


def test_ratios_are_taken_within_a_round_and_not_of_medians():
    # Every round is twice as slow as the one before it, for both alike.
    naive = point("naive", 1, 1.0, 2.0, 4.0)
    other = point("diffcollage", 1, 12.0, 3.0, 6.0, rounds=[2, 0, 1])
    assert other.ratio_to(naive) == Spread(3.0, 3.0, 3.0, repeats=3)
    assert naive.ratio_to(naive) == Spread(1.0, 1.0, 1.0, repeats=3)


def test_rounds_that_one_of_them_missed_are_no_part_of_the_ratio():
    naive = point("naive", 1, 1.0, 2.0, 4.0)
    assert point("other", 1, 8.0, 5.0, rounds=[2, 7]).ratio_to(naive) == Spread(
        2.0, 2.0, 2.0, repeats=1
    )
    assert point("other", 1, 5.0, rounds=[7]).ratio_to(naive) is None


def test_the_floor_is_pixels_at_their_least_cost():
    assert (LOWER_BOUND.forward.patches, LOWER_BOUND.backward.patches) == (8, 64)
    without = point("naive", 1, 1.0, 2.0, 4.0, pixels=1_000_000)
    assert without.lower_bound_seconds(LOWER_BOUND) == pytest.approx(2.0)
    assert without.ratio_to_lower_bound(LOWER_BOUND) == pytest.approx(1.0)
    guided = dataclasses.replace(without, backward_pixels=2_000_000)
    assert guided.lower_bound_seconds(LOWER_BOUND) == pytest.approx(2.0 + 6.0)
    assert guided.ratio_to_lower_bound(LOWER_BOUND) == pytest.approx(0.25)


def test_the_floor_is_measured_over_batches():
    class Launched(Clocked):
        """A call takes 6 s to launch, and more for an image from the third on."""

        def __call__(self, x_t, sigma, context=None):
            self.clock.now += 6.0 + 12.0 * max(0, len(x_t) - 2)
            return super().__call__(x_t, sigma, context)

    clock = FakeClock()
    told = []
    lower_bound = measured_lower_bound(
        Launched(clock, forward=1.0, backward=10.0),
        (1, 2, 4),
        repeats=3,
        device=CPU,
        clock=clock,
        advance=told.append,
    )
    per_pixel = [
        (b.patches, b.forward * SIDE**2, b.backward * SIDE**2) for b in lower_bound.batches
    ]
    assert per_pixel == [(1, 7.0, 10.0), (2, 4.0, 10.0), (4, 8.5, 10.0)]
    assert lower_bound.forward.patches == 2
    assert (lower_bound.too_large, told) == ([], [1, 1, 1])


def test_batches_beyond_memory_end_the_search_and_are_named():
    class Small(Clocked):
        most = 2

        def __call__(self, x_t, sigma, context=None):
            if len(x_t) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().__call__(x_t, sigma, context)

    clock = FakeClock()
    where = {"repeats": 1, "device": CPU, "clock": clock}
    lower_bound = measured_lower_bound(Small(clock), (1, 2, 4, 8), **where)
    assert [batch.patches for batch in lower_bound.batches] == [1, 2]
    assert lower_bound.too_large == [4, 8]
    with pytest.raises(torch.OutOfMemoryError):
        measured_lower_bound(Small(clock), (4, 8), **where)


def test_the_floor_of_a_network_is_positive(weights):
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    lower_bound = measured_lower_bound(EDMPrecond(network, SIDE), (1, 2), repeats=2, device=CPU)
    assert all(batch.forward > 0 and batch.backward > 0 for batch in lower_bound.batches)


# What a point may take


@pytest.mark.parametrize(
    ("asked", "seconds", "expected"),
    [(5, 12.0, 5), (5, 12.1, 4), (5, 20.0, 3), (5, 59.0, 3), (20, 1.0, 20), (2, 59.0, 2)],
)
def test_repeats_are_as_many_as_the_time_allows_but_not_below_three(asked, seconds, expected):
    assert repeats_within(asked, seconds, 60.0) == expected


def test_a_point_is_left_out_by_what_the_last_width_says(results):
    # A median of 9 s at 4 patches; 21 s at 1, and what was left out at 4 would have taken 84 s.
    assert expected_absence(results, "diffcollage", 8, 18.0) is None
    absence = expected_absence(results, "diffcollage", 8, 17.9)
    assert (absence.seconds, absence.failed) == (18.0, False)
    assert "about 18 s, from what it takes at 4, more than most_seconds=17.9" in absence.reason
    assert expected_absence(results, "lshape_repaint", 8, 160.0).seconds == 168.0
    assert expected_absence(results, "lshape_repaint", 2, 42.0) is None
    assert expected_absence(results, "unheard_of", 8, 0.1) is None
    assert expected_absence(results, "naive", 1, 0.1) is None


def test_a_failure_says_nothing_of_the_next_width(results):
    results.put(Absence("lshape_repaint", 4, "OutOfMemoryError", failed=True))
    assert expected_absence(results, "lshape_repaint", 8, 200.0) is None
    assert expected_absence(results, "lshape_repaint", 8, 100.0).seconds == 8 * 21.0


def test_a_slow_first_run_ends_a_point():
    assert slow_absence("naive", 1, 60.0, 60.0) is None
    assert "took 60.1 s" in slow_absence("naive", 1, 60.1, 60.0).reason


def on_a_clock(arguments: list[str], clock: FakeClock, **costs: float) -> Run:
    """A run of the command whose network takes these seconds an image, and whose time is told."""
    run = Run.prepare(arguments)
    run.bench = bench(clock, **costs)
    run.model = dataclasses.replace(run.model, denoiser=run.bench.denoiser.denoiser)
    return run


def executed(run: Run) -> int:
    return run.execute(Console(file=io.StringIO()))


def test_the_time_guard_at_work(arguments, tmp_path, capsys):
    # Two Euler steps of an image a second: 2 s a patch. 20 s are 5 repeats of 4 s at 2 patches, 3
    # of 8 s at 4, one run of 16 s at 8, and not one of 32 s at 16.
    where = [*arguments, "widths=[1,2,4,8,16,32]", "repeats=6", "most_seconds=20", "strategy=naive"]
    run = on_a_clock([*where, "solver=euler"], FakeClock(), forward=1.0)
    assert executed(run) == 0
    (folder,) = folders(tmp_path)
    found = results_in(folder)
    assert [(p.width, len(p.seconds), p.asked) for p in found.points] == [
        (1, 6, 6),
        (2, 5, 6),
        (4, 3, 6),
        (8, 3, 6),
    ]
    taken = [(p.latency.lower, p.latency.upper) for p in found.points]
    assert taken == [(t, t) for t in (2.0, 4.0, 8.0, 16.0)]
    assert [(item.width, item.seconds) for item in found.absences] == [(16, 32.0), (32, 64.0)]
    for text in ((folder / "table.md").read_text(), capsys.readouterr().out):
        said = " ".join(text.split())
        assert "naive at 2 (5), naive at 4 (3), naive at 8 (3)" in said
        assert "Left out: naive at 16: a run would take about 32 s" in said
    # Every pixel at the cost of a second for 256 of them; nothing is wasted here.
    assert all(p.ratio_to_lower_bound(found.lower_bound) == pytest.approx(1) for p in found.points)


def test_a_warm_up_that_takes_too_long_is_all_that_is_run(arguments, tmp_path):
    where = [*arguments, "most_seconds=1", f"strategy={CALM}", "solver=euler"]
    run = on_a_clock(where, FakeClock(), forward=1.0)
    assert executed(run) == 0
    assert behaviour["runs"] == [("calm", 1)]
    (folder,) = folders(tmp_path)
    assert "its warm-up run took 2 s" in (folder / "table.md").read_text()
    assert [item.seconds for item in results_in(folder).absences] == [2.0, 4.0]


# The command


def test_every_strategy_at_every_width(arguments, tmp_path, capsys):
    assert main(arguments) == 0
    (folder,) = folders(tmp_path)
    found = results_in(folder)
    assert [(p.width, p.strategy) for p in found.points] == list(itertools.product((1, 2), NAMES))
    # Heun: 3 evaluations; lshape_repaint leaves the upper level 5 times: 2 * (2 + 4) - 1.
    evaluations = {name: 11 if name == "lshape_repaint" else 3 for name in NAMES}
    # Two patches: tiles; 3 windows; these and 2 half windows.
    tiles = {"naive": 2, "direct": 2, "diffcollage": 4}
    for p in found.points:
        share = tiles.get(p.strategy, 3) / 2 if p.width == 2 else 1
        assert p.nfe_per_pixel == share * evaluations[p.strategy]
        guided = p.strategy == "reconstruction" and p.width == 2
        assert p.backward_passes == (3 if guided else 0)
        assert p.backward_pixels == (6 * SIDE**2 if guided else 0)
        assert p.canvas == (SIDE, p.width * SIDE)
        assert len(p.seconds) == p.repeats == p.asked == 3
        assert 0 < p.latency.lower <= p.latency.median <= p.latency.upper
        assert 0 < p.network_share <= 1
        assert p.peak_memory_mib > 0
        assert p.lower_bound_seconds(found.lower_bound) > 0
    assert found.ratio_to_naive(found.point("naive", 2)) == Spread(1.0, 1.0, 1.0, repeats=3)
    assert (found.patch_size, found.height, found.steps) == (SIDE, SIDE, 2)
    assert found.settings["warmup"] == 1
    assert len(found.environment["sources"]) == len(found.denoiser["weights_sha256"]) == 64
    with Picture.open(folder / "latency.png") as picture:
        assert picture.width > 700
    said = capsys.readouterr().out
    assert "seconds for one canvas" in said
    assert "lshape_repaint" in said
    assert "lshape_repaint" in (folder / "table.md").read_text()
    assert r"lshape\_repaint" in (folder / "table.tex").read_text()


def test_a_denoiser_that_must_be_told_where_windows_lie_is_told(tmp_path, arguments):
    network = UNet(channels=[32], blocks=[1], attention_levels=0, position="coordinates")
    path = tmp_path / "placed.safetensors"
    save_denoiser(EDMPrecond(network, SIDE), path, provenance={})
    assert main([f"denoiser={path}", *arguments[1:], "strategy=naive"]) == 0
    (folder,) = folders(tmp_path)
    assert [point.width for point in results_in(folder).points] == [1, 2]


def test_strategies_take_turns_in_every_round(arguments, tmp_path):
    command = [*arguments, f"strategy={CALM},{MOODY}", "warmup=2"]
    assert main(command) == 0
    both = [("calm", 1), ("moody", 1)]
    warm_up = [("calm", 1)] * 2 + [("moody", 1)] * 2
    assert behaviour["runs"][:10] == warm_up + 3 * both
    assert len(behaviour["runs"]) == 20
    (folder,) = folders(tmp_path)
    assert [p.rounds for p in results_in(folder).points] == [[0, 1, 2]] * 2 + [[3, 4, 5]] * 2


def test_an_interrupted_run_goes_on_where_it_was(arguments, tmp_path, capsys):
    command = [*arguments, f"strategy={CALM},{MOODY}"]
    # The second round at 1 patch: after 2 runs of warm-up, 2 of the first round and the calm one.
    behaviour.update({"raise": KeyboardInterrupt(), "after": 6})
    assert main(command) == 130
    (folder,) = folders(tmp_path)
    calm, moody = results_in(folder).points
    assert (calm.rounds, moody.rounds) == ([0, 1], [0])
    kept = calm.seconds

    behaviour.update({"raise": None, "runs": []})
    lock(folder)  # as the same command would, were it still going on
    assert main(command) == 2
    unlock(folder)
    assert main(command) == 0
    assert folders(tmp_path) == [folder]
    found = results_in(folder)
    calm, moody = found.points[:2]
    # What was timed is kept; what comes after is in rounds of their own, so that the round which
    # was cut in two is part of no ratio.
    assert calm.seconds[:2] == kept
    assert (calm.rounds, moody.rounds) == ([0, 1, 2], [0, 2, 3])
    # Each is warmed up again before it goes on.
    assert behaviour["runs"][:5] == [("calm", 1), ("moody", 1)] * 2 + [("moody", 1)]
    assert all(p.finished for p in found.points)

    # A finished run is not gone on with.
    assert main(command) == 0
    assert len(folders(tmp_path)) == 2


def test_a_failed_strategy_costs_the_others_nothing_and_is_tried_again(arguments, tmp_path, capsys):
    command = [*arguments, f"strategy={MOODY},naive"]
    behaviour.update({"raise": ArithmeticError("bad mood"), "after": 2})
    assert main(command) == 1
    (folder,) = folders(tmp_path)
    found = results_in(folder)
    assert [(p.strategy, p.width) for p in found.points] == [("naive", 1), ("naive", 2)]
    assert [item.reason for item in found.absences] == ["ArithmeticError: bad mood"] * 2
    assert "bad mood" in (folder / f"{MOODY}.error.txt").read_text()
    assert f"Failed: {MOODY} at 2: ArithmeticError" in (folder / "table.md").read_text()
    naive = [p.seconds for p in found.points]

    behaviour["raise"] = None
    assert main(command) == 0
    assert folders(tmp_path) == [folder]
    found = results_in(folder)
    assert found.absences == []
    assert [found.point("naive", width).seconds for width in (1, 2)] == naive
    # Its rounds are not those of naive, so no ratio is claimed.
    assert found.ratio_to_naive(found.point(MOODY, 2)) is None
    assert all(p.finished for p in found.points)


def test_without_a_floor_what_was_timed_stands_and_the_floor_is_tried_again(
    arguments, tmp_path, monkeypatch, capsys
):
    def fails(*_, **__):
        raise RuntimeError("CUDA out of memory.")

    command = [*arguments, f"strategy={CALM}"]
    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.latency.__main__.measured_lower_bound", fails)
        assert main(command) == 1
    assert "the lower bound was not measured: CUDA out of memory." in capsys.readouterr().err
    (folder,) = folders(tmp_path)
    assert "The lower bound was not measured." in (folder / "table.md").read_text()
    timed = len(behaviour["runs"])
    assert main(command) == 0
    assert folders(tmp_path) == [folder]
    assert results_in(folder).lower_bound is not None
    assert len(behaviour["runs"]) == timed


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("widths=[]", "widths must be"),
        ("widths=[2,1]", "ascending order, got \\[2, 1\\]"),
        ("widths=[0,1]", "from 1 up"),
        ("batches=[4,4]", "batches must be"),
        ("repeats=0", "repeats must be at least 1"),
        ("warmup=0", "warmup must be at least 1"),
        ("compile=true", "warmup must be at least 2"),
        ("most_seconds=0", "most_seconds must be positive"),
        ("canvas.height=8", "naive at a width of 1: .*at least one window"),
        ("preset=smok", "did you mean 'smoke'"),
        ("repeat=3", "did you mean 'repeats'"),
        ("denoiser=nowhere.safetensors", "nowhere.safetensors"),
        ("naive.overlap=8", "Naive has no setting"),
        ("device=abacus", "device must be"),
    ],
)
def test_bad_input_is_refused_before_the_work(wrong, said, arguments, tmp_path, capsys):
    assert main([*arguments, "strategy=naive", wrong]) == 2
    assert re.search(said, " ".join(capsys.readouterr().err.split()))
    assert folders(tmp_path) == []


def test_strategies_that_cannot_are_left_out_of_all_but_refused_by_name(
    arguments, tmp_path, capsys
):
    # RePaint walks up and down the levels, which a multistep solver cannot.
    command = [*arguments, "solver=dpmsolver++", "widths=[1]", "solver.num_steps=2"]
    assert main([*command, "strategy=lshape_repaint"]) == 2
    assert folders(tmp_path) == []
    assert main([*command, "strategy=all"]) == 0
    (folder,) = folders(tmp_path)
    assert set(results_in(folder).strategies) == set(NAMES) - {"lshape_repaint"}
    assert (
        "Left out: lshape_repaint at 1: lshape_repaint walks" in (folder / "table.md").read_text()
    )


def test_a_preset_is_a_configuration_by_its_name():
    by_preset, by_config = (read_command([f"{key}=smoke"]) for key in ("preset", "config"))
    assert by_preset.record == by_config.record
    assert read_command(["--preset", "smoke"]).record == by_config.record
    assert by_preset.settings.widths == (1, 2, 4)
    assert read_command(["preset=smoke", "widths=[1,8]"]).settings.widths == (1, 8)


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_preset_is_understood(path):
    assert read_command([f"preset={path.stem}"]).settings.widths


# What is left behind


def test_a_point_takes_the_place_of_its_earlier_state(results):
    results.put(point("lshape_repaint", 4, 80.0, 81.0, 82.0))
    assert results.absences == []
    assert len(results.points) == 6
    results.put(Absence("naive", 4, "gone", failed=True))
    assert results.point("naive", 4) is None
    assert results.absence("naive", 4).reason == "gone"
    assert results.point("naive", 1) is not None


def test_an_unfinished_point_is_no_point_yet(results):
    results.put(point("direct", 4, 1.0, repeats=3))
    assert results.has_begun("direct", 4)
    assert results.point("direct", 4) is None
    assert "direct" not in results.strategies


def entries(columns) -> dict[str, dict[str, str]]:
    rows = columns[0].cells
    return {c.head: dict(zip(rows, map(str, c.cells), strict=True)) for c in columns[1:]}


def test_the_table_of_seconds(results):
    found = entries(seconds(results))
    assert found["1"]["diffcollage"] == "4.00 [3.50, 4.00]"
    assert found["4"]["naive"] == "3.00 [2.50, 4.00]"
    assert found["4"]["lshape_repaint"] == ABSENT
    # The fastest first, by the widest canvas that each has made.
    assert seconds(results)[0].cells == ["naive", "diffcollage", "lshape_repaint"]


def test_the_table_of_costs(results):
    found = entries(costs(results, 4))
    # Rounds: 8 / 2, 9 / 3, 10 / 5.
    assert found[f"{TIMES} naive"]["diffcollage"] == "3.00 [2.50, 3.50]"
    assert found["in network"]["diffcollage"] == "75.0 %"
    assert found["NFE/px"]["naive"] == "3.0"
    # 3 x 4096 pixels at 2 microseconds.
    assert found["lower bound s"]["naive"] == "0.0246"
    assert found[f"{TIMES} lower bound"]["naive"] == "122"
    assert {found[name]["lshape_repaint"] for name in found} == {ABSENT}
    unmeasured = entries(costs(dataclasses.replace(results, lower_bound=None), 4))
    assert unmeasured[f"{TIMES} lower bound"]["naive"] == ABSENT


def test_notes_say_what_must_be_known(results):
    shortened = dataclasses.replace(results.point("naive", 1), asked=9)
    results.put(shortened)
    said = " ".join(notes(results))
    for part in (
        "18 steps of Heun",
        "an abacus; CPU threads: 1",
        "2026-01-02",
        "load before it 0.25",
        "2.00 μs, the least of calls of 1, 8, 64 patches (that of 8)",
        "3.00 μs (that of 64)",
        "did not suffice for calls of 128",
        "most_seconds=60: naive at 1 (3)",
        "Left out: lshape_repaint at 4: a run would take about 84 s",
    ):
        assert part in said


def test_a_floor_that_may_lie_lower_is_said_to(results):
    cheaper = "larger ones might cost less still"
    assert cheaper not in " ".join(notes(results))
    falling = LowerBound([Batch(1, 4e-6, 8e-6), Batch(8, 2e-6, 5e-6)], [])
    assert cheaper in " ".join(notes(dataclasses.replace(results, lower_bound=falling)))


def test_pages_have_every_table(results):
    page = document(results)
    assert page.count("| strategy") == 3
    assert "## 1 patch wide" in page
    assert "## 4 patches wide" in page
    assert latex(results).count(r"\begin{tabular}") == 2


# The picture


def test_the_picture_draws_what_was_measured(results):
    figure = seconds_against_width(results)
    above, below = figure.axes
    drawn = {tuple(line.get_ydata()) for line in above.lines}
    assert drawn == {(2.0, 3.0), (4.0, 9.0), (21.0,)}
    *lines, lower_bound = below.lines
    assert list(lower_bound.get_ydata()) == [1, 1]
    assert below.get_ylim()[0] < 1
    ratios = sorted(line.get_ydata()[0] for line in lines)
    # 3 x 1024 pixels at 2 microseconds.
    assert ratios == pytest.approx([median / (3 * 1024 * 2e-6) for median in (2.0, 4.0, 21.0)])
    assert (above.get_xscale(), above.get_yscale()) == ("log", "log")
    (band,) = (b for b in above.collections if 3.5 in b.get_paths()[0].vertices[:, 1])
    heights = set(band.get_paths()[0].vertices[:, 1])
    assert heights == {3.5, 4.0, 8.5, 9.5}
    assert len(seconds_against_width(dataclasses.replace(results, lower_bound=None)).axes) == 1


@pytest.mark.parametrize("strategies", [1, 8, 14])
def test_names_never_overlap_and_lie_inside_the_picture(strategies):
    crowd = [
        point(f"strategy_{k:02d}", width, *(3 * [width * (1 + 1e-3 * k)]))
        for k in range(strategies)
        for width in (1, 32)
    ]
    figure = seconds_against_width(results_of(crowd))
    figure.draw_without_rendering()
    page = figure.bbox
    for axes in figure.axes:
        texts = [text for text in axes.texts if text.get_text()]
        boxes = sorted((Text.get_window_extent(text) for text in texts), key=lambda box: box.y0)
        assert len(boxes) == strategies
        assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))
        panel = axes.get_window_extent()
        for box in boxes:
            assert panel.x1 <= box.x0
            assert box.x1 <= page.x1
            # Beside their panel, within a pixel.
            assert panel.y0 - 1 <= box.y0
            assert box.y1 <= panel.y1 + 1


def test_the_picture_is_written(results, tmp_path):
    draw(results, tmp_path / "latency.png")
    with Picture.open(tmp_path / "latency.png") as picture:
        assert picture.format == "PNG"
