import dataclasses
import errno
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import load_file

from benchmarks.comparison.plan import parse
from benchmarks.results.records import Results
from benchmarks.run import main
from denoisers.checkpoint import save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.files import lock, unlock
from patchcanvas.records import read_record
from strategies.catalogue import names
from strategies.direct import Direct
from strategies.naive import Naive

STEPS = 3
EVALUATIONS = 2 * STEPS - 1  # Heun, whose last step is an Euler step
SIDE, WIDTH = 16, 96
NAMES = names()
behaviour = {"raise": None, "batches": 0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moody(Naive):
    """Naive tiling that fails when told to."""

    def generate(self, denoiser, canvas, noise, *, known=None, context=None):
        if behaviour["raise"] is not None and noise.indices[0] >= 2:
            raise behaviour["raise"]
        behaviour["batches"] += 1
        return super().generate(denoiser, canvas, noise, known=known, context=context)


@pytest.fixture(autouse=True)
def _without_pages(request, monkeypatch):
    """Pages are drawn where they are looked at: they take half of the time of runs this small."""

    def blank(results, folder, *, latency=None):
        (folder / "report.html").write_text("")

    if "everything_that_made_it" not in request.node.name:
        monkeypatch.setattr("benchmarks.report.publishing.write_report", blank)


@pytest.fixture(autouse=True)
def _calm():
    behaviour.update({"raise": None, "batches": 0})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    save_denoiser(EDMPrecond(network, SIDE), path, provenance={"command": "none: untrained"})
    return path


@pytest.fixture
def arguments(weights, tmp_path):
    return [
        f"denoiser={weights}",
        f"results={tmp_path / 'results'}",
        "num_samples=4",
        "num_reference=8",
        "batch_size=2",
        f"solver.num_steps={STEPS}",
        "repeats=1",
        "pictures=2",
        "device=cpu",
    ]


def folders(tmp_path):
    return sorted(path.parent for path in (tmp_path / "results").glob("*/results.json"))


def results_in(folder) -> Results:
    return read_record(Results, folder / "results.json")


def test_a_run_leaves_a_row_for_every_strategy_and_everything_that_made_it(arguments, tmp_path):
    assert main(arguments) == 0
    (folder,) = folders(tmp_path)
    results = results_in(folder)
    assert [row.strategy for row in results.rows] == NAMES
    assert results.canvas == (SIDE, WIDTH)
    assert results.settings["num_samples"] == results.num_samples == 4
    assert torch.__version__.startswith(results.environment["versions"]["torch"])
    assert len(results.denoiser["weights_sha256"]) == len(results.features["fingerprint"]) == 64
    distances = [row.figures["fid_plus"].value for row in (*results.rows, results.patches)]
    assert results.real.figures["fid_plus"].value < min(distances)
    for row in [results.real, *results.rows]:
        assert {"fid_plus", "colour_drift", "repetition"} <= set(row.figures)
        assert set(row.curves) == {"drift", "contrast", "autocorrelation"}
        assert len(row.canvases) == 2
        with Picture.open(folder / row.canvases[0]) as picture:
            assert picture.size == (WIDTH, SIDE)
    assert results.patches.canvases
    assert 0 < results.seconds["network"] < results.seconds["wall"]
    assert (folder / "contact_sheet.png").is_file()
    assert "diffcollage" in (folder / "report.html").read_text()
    assert "| diffcollage" in (folder / "table.md").read_text()


def test_without_a_terminal_every_row_is_told_as_it_is_finished(arguments, tmp_path, capsys):
    assert main([*arguments, "strategy=naive,diffcollage"]) == 0
    said = capsys.readouterr().err.splitlines()
    rows = [line for line in said if ": FID+ " in line]
    assert [row.partition(":")[0] for row in rows] == ["real", "patches", "naive", "diffcollage"]
    assert all(re.search(r" forward passes, \S+ s a canvas$", row) for row in rows[2:])


def test_costs_are_the_closed_forms(arguments, tmp_path):
    main(arguments)
    costs = {row.strategy: row.cost for row in results_in(folders(tmp_path)[0]).rows}
    # 6 tiles; 11 windows that overlap by half, 10 overlaps of half a window; from the middle
    # outwards 6 turns of these windows, from the left 11.
    calls = {"naive": 1, "direct": 1, "multidiffusion": 1, "diffcollage": 2}
    windows = {"naive": 6, "direct": 1, "multidiffusion": 11, "diffcollage": 21}
    pixels = {"naive": 6, "direct": 6, "multidiffusion": 11, "diffcollage": 16}
    evaluations = dict.fromkeys(NAMES, EVALUATIONS)
    for name in ("async_patch", "reconstruction", "replacement", "lshape_repaint"):
        calls[name], windows[name], pixels[name] = 6, 11, 11
    # 3 levels of which the upper two are left behind 5 times: 3 + 2 * 4 steps of 2, less the last.
    calls["lshape_repaint"], evaluations["lshape_repaint"] = 11, 2 * (3 + 2 * 4) - 1
    assert set(calls) == set(NAMES)
    for name, cost in costs.items():
        assert cost.nfe == calls[name] * evaluations[name]
        assert cost.patch_evaluations == windows[name] * evaluations[name]
        assert cost.nfe_per_pixel == pytest.approx(pixels[name] / 6 * evaluations[name])
        # The first window knows nothing yet.
        assert cost.backward_passes == (5 * EVALUATIONS if name == "reconstruction" else 0)
        assert 0 < cost.network_share <= 1
        assert cost.latency.median > 0


def test_equal_budgets_buy_as_many_steps_as_they_allow(arguments, tmp_path):
    command = [*arguments, "strategy=naive,diffcollage", "budget=[8,14]", "plain_fid=false"]
    assert main(command) == 0
    rows = {row.strategy: row for row in results_in(folders(tmp_path)[0]).rows}
    # Heun evaluates 2 n - 1 times: once a pixel (naive), 16 times in 6 pixels (diffcollage).
    expected = {"naive@8": 4, "diffcollage@8": 2, "naive@14": 7, "diffcollage@14": 3}
    assert {name: row.settings["solver"]["num_steps"] for name, row in rows.items()} == expected
    assert rows["naive@8"].budget == 8
    assert all(row.cost.nfe_per_pixel <= row.budget for row in rows.values())


def test_the_same_command_makes_the_same_figures(arguments, tmp_path):
    for _ in range(2):
        main([*arguments, "strategy=diffcollage"])
    first, second = (results_in(folder) for folder in folders(tmp_path))
    assert first.rows[0].figures == second.rows[0].figures
    assert first.rows[0].curves == second.rows[0].curves
    assert first.rows[0].fingerprint == second.rows[0].fingerprint


def test_a_strategy_of_ones_own_runs_by_its_path(arguments, tmp_path):
    assert main([*arguments, "strategy=tests.test_run.Moody"]) == 0
    assert results_in(folders(tmp_path)[0]).rows[0].strategy == "tests.test_run.Moody"


def test_a_failed_strategy_costs_the_others_nothing_and_is_tried_again(arguments, tmp_path, capsys):
    command = [*arguments, "strategy=tests.test_run.Moody,naive"]
    behaviour["raise"] = ArithmeticError("bad mood")
    assert main(command) == 1
    (folder,) = folders(tmp_path)
    assert [row.strategy for row in results_in(folder).rows] == ["naive"]
    assert results_in(folder).failures == {"tests.test_run.Moody": "ArithmeticError: bad mood"}
    assert "bad mood" in (folder / "tests.test_run.Moody.error.txt").read_text()

    behaviour["raise"] = None
    naive = folder / "samples" / "naive" / "000000-000001.safetensors"
    made = naive.stat().st_mtime_ns
    assert main(command) == 0
    assert folders(tmp_path) == [folder]
    results = results_in(folder)
    assert {row.strategy for row in results.rows} == {"tests.test_run.Moody", "naive"}
    assert results.failures == {}
    assert naive.stat().st_mtime_ns == made


def test_an_interrupted_run_goes_on_with_the_next_batch(arguments, tmp_path, capsys):
    command = [*arguments, "strategy=tests.test_run.Moody"]
    behaviour["raise"] = KeyboardInterrupt()
    assert main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    behaviour.update({"raise": None, "batches": 0})
    assert main(command) == 0
    # One batch of the two was left, and latency takes a warm-up and one timed run.
    assert behaviour["batches"] == 1 + 2
    assert len(folders(tmp_path)) == 1


def test_a_continued_run_has_the_figures_of_an_uninterrupted_one(arguments, tmp_path):
    command = [*arguments, "strategy=tests.test_run.Moody"]
    assert main(command) == 0
    behaviour["raise"] = KeyboardInterrupt()
    main(command)
    behaviour["raise"] = None
    assert main(command) == 0
    whole, continued = (results_in(folder) for folder in folders(tmp_path))
    assert whole.rows[0].figures == continued.rows[0].figures
    assert 0 < continued.seconds["network"] < continued.seconds["wall"]


def test_pictures_that_were_lost_are_written_again(arguments, tmp_path):
    command = [*arguments, "strategy=tests.test_run.Moody"]
    behaviour["raise"] = KeyboardInterrupt()
    main(command)
    (folder,) = folders(tmp_path)
    lost = sorted((folder / "canvases").glob("tests*.png"))
    pixels = lost[0].read_bytes()
    for path in lost:
        path.unlink()
    behaviour["raise"] = None
    assert main(command) == 0
    assert lost[0].read_bytes() == pixels


def test_a_damaged_batch_is_made_again(arguments, tmp_path):
    command = [*arguments, "strategy=tests.test_run.Moody"]
    behaviour["raise"] = KeyboardInterrupt()
    main(command)
    (batch,) = folders(tmp_path)[0].glob("samples/tests*/*.safetensors")
    batch.write_bytes(batch.read_bytes()[:100])
    behaviour["raise"] = None
    assert main(command) == 0


def test_a_full_disk_ends_the_run_in_one_sentence_and_loses_nothing(
    arguments, tmp_path, monkeypatch, capsys
):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert main([*arguments, "strategy=naive", "seed=1"]) == 0  # fills the cache
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert main([*arguments, "strategy=naive"]) == 2
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert "give the same command" in message
    assert main([*arguments, "strategy=naive"]) == 0
    assert len(folders(tmp_path)) == 2


def test_pixels_that_are_not_finite_fail_their_strategy(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(UNet, "forward", lambda self, x, c_noise: torch.full_like(x, torch.nan))
    assert main([*arguments, "strategy=naive"]) == 1
    failures = results_in(folders(tmp_path)[0]).failures
    assert set(failures) == {"naive", "patches"}
    assert "not finite" in failures["naive"]
    monkeypatch.undo()
    assert main([*arguments, "strategy=naive"]) == 0
    assert len(folders(tmp_path)) == 1


def test_a_failed_row_of_patches_is_tried_again(arguments, tmp_path, monkeypatch):
    command = [*arguments, "strategy=naive"]
    with monkeypatch.context() as patch:
        patch.setattr(Direct, "generate", lambda *given, **settings: 1 / 0)
        assert main(command) == 1
    assert set(results_in(folders(tmp_path)[0]).failures) == {"patches"}
    assert main(command) == 0
    results = results_in(folders(tmp_path)[0])
    assert len(folders(tmp_path)) == 1
    assert results.patches is not None
    assert results.failures == {}


def test_two_runs_do_not_share_a_folder(arguments, tmp_path, capsys):
    command = [*arguments, "strategy=tests.test_run.Moody"]
    behaviour["raise"] = KeyboardInterrupt()
    assert main(command) == 130
    (folder,) = folders(tmp_path)
    lock(folder)
    behaviour["raise"] = None
    assert main(command) == 2
    assert "another name=…" in capsys.readouterr().err
    unlock(folder)
    assert main(command) == 0


def photo_folder(tmp_path, side: int):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(8):
        pixels = torch.randint(0, 255, (side, side, 3), dtype=torch.uint8)
        Picture.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    return folder


def test_photos_too_small_for_long_crops_leave_blanks_and_say_so(arguments, tmp_path, capsys):
    photos = photo_folder(tmp_path, side=40)
    assert main([*arguments, "strategy=naive", "data=photos", f"data.root={photos}"]) == 0
    assert "no real canvases for seams and drift" in capsys.readouterr().err
    results = results_in(folders(tmp_path)[0])
    assert results.rows[0].real == {}
    assert results.rows[0].figures["seam_ratio"].value > 0
    assert set(results.real.figures) <= {"fid_plus", "fid_plus_limit", "kid"}
    assert results.real.canvases == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["canvas.width=8"], "at least one window of 16 px"),
        (["canvas.height=0"], "must be at least 1"),
        (["strategy=diffcollage", "diffcollage.overlap=9"], "overlap must be in"),
        (["device=tpu"], "device"),
        (["features_weights=x.pth"], "takes no weights"),
        (["features=inception", "features_weights=/no/such.pth"], "no/such.pth"),
        (["denoiser=/no/such.safetensors"], "is missing"),
        (["denoiser=model.ckpt"], "lightning_modules.export"),
        (["strategy=nive"], "did you mean 'naive'"),
        (["num_samples=2"], "at least 3"),
        (["devices=0"], "devices must be at least 1"),
        (["devices=2"], "start the run from there"),
        (["window_batch=0"], "auto or at least 1"),
        (["budget=[1]", "strategy=diffcollage"], "diffcollage: "),
        (["clip=ViT-B-32"], "clip and clip_weights go together"),
        (["data=lsun_tower", "data.root=/no/such"], "no/such"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(arguments, tmp_path, extra, message, capsys):
    assert main([*arguments, *extra]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_written_is_refused(arguments, tmp_path, capsys):
    (tmp_path / "results").write_text("a file, not a folder")
    assert main(arguments) == 2
    assert "results" in capsys.readouterr().err


def test_a_truncated_checkpoint_is_refused(arguments, weights, tmp_path, capsys):
    for suffix in (".safetensors", ".json"):
        content = weights.with_suffix(suffix).read_bytes()
        end = len(content) // 2 if suffix == ".safetensors" else None
        (tmp_path / f"cut{suffix}").write_bytes(content[:end])
    assert main([*arguments, f"denoiser={tmp_path / 'cut.safetensors'}"]) == 2
    assert "truncated" in capsys.readouterr().err


class Gradient(Naive):
    """Takes one gradient through the denoiser, as a guided strategy would."""

    def generate(self, denoiser, canvas, noise, *, known=None, context=None):
        x_t = torch.zeros(1, 3, SIDE, SIDE)
        with torch.enable_grad():
            x_t.requires_grad_()
            denoiser(x_t, torch.ones(1, 1, 1, 1)).sum().backward()
        assert x_t.grad.abs().sum() > 0
        return super().generate(denoiser, canvas, noise)


def test_gradient_passes_work_and_are_counted(arguments, tmp_path):
    assert main([*arguments, "strategy=tests.test_run.Gradient", "plain_fid=false"]) == 0
    assert results_in(folders(tmp_path)[0]).rows[0].cost.backward_passes == 1


def test_results_are_strict_json(arguments, tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    main([*arguments, "strategy=naive"])
    json.loads((folders(tmp_path)[0] / "results.json").read_text(), parse_constant=refuse)


def test_strategies_of_one_class_name_keep_apart(arguments, tmp_path):
    main([*arguments, "strategy=naive,strategies.naive.Naive"])
    samples = folders(tmp_path)[0] / "samples"
    assert {path.name for path in samples.iterdir()} == {
        "naive",
        "patches",
        "strategies.naive.Naive",
    }


@pytest.mark.parametrize("changed", ["scale=0.5", "seed=7"])
def test_training_images_cut_or_split_otherwise_are_refused(tmp_path, changed, arguments, capsys):
    photos = photo_folder(tmp_path, side=120)
    same = ["data=photos", f"data.root={photos}", "data.patch_size=16", "strategy=naive"]
    data = parse(same).settings.data
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    weights = tmp_path / "photos.safetensors"
    save_denoiser(EDMPrecond(network, SIDE), weights, provenance={"data": data.description})
    command = [*arguments, *same, f"denoiser={weights}"]
    assert main(command) == 0
    assert "photos" in json.loads((folders(tmp_path)[0] / "manifest.json").read_text())
    assert main([*command, f"data.{changed}"]) == 2
    assert "trained on these very images" in capsys.readouterr().err


@pytest.mark.slow
def test_a_compiled_network_makes_the_same_canvases(arguments, tmp_path):
    for compiled in ("false", "true"):
        assert main([*arguments, "strategy=naive", f"compile={compiled}"]) == 0
    plain, compiled = (
        load_file(folder / "samples" / "naive" / "000000-000001.safetensors")["canvases"].int()
        for folder in folders(tmp_path)
    )
    # Fused kernels round differently; a byte may tip to its neighbour.
    assert (plain - compiled).abs().max() <= 1
