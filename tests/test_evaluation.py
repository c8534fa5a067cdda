import copy
import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.compare import main as compare
from benchmarks.evaluation import evaluate, fid_plus
from benchmarks.evaluation.command import main
from benchmarks.evaluation.images import ImageFolder
from benchmarks.evaluation.measure import command_of
from benchmarks.evaluation.settings import METRICS, read_command
from benchmarks.metrics.features import RandomConv
from benchmarks.report.__main__ import main as report
from benchmarks.results.records import Results
from benchmarks.run import main as run
from datamodules.landscapes import Landscapes
from denoisers.checkpoint import save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.pictures import read_picture, write_picture
from patchcanvas.records import read_record

SIDE, WIDTH, COUNT = 16, 96, 6
FAST = {"features": "random_conv", "device": "cpu", "progress": False}


def noise(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def write(folder: Path, images, start: int = 0) -> Path:
    """Writes arrays of height x width x 3 as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(autouse=True)
def _own_features(tmp_path, monkeypatch):
    """Keeps features apart, so that every test computes its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def generated(tmp_path):
    return write(tmp_path / "generated", noise(6, SIDE, WIDTH, 3, seed=1))


@pytest.fixture
def reference(tmp_path):
    return write(tmp_path / "reference", noise(9, SIDE, WIDTH, 3, seed=2))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison: its record, its canvases as folders, and its real crops as folders."""
    root = tmp_path_factory.mktemp("compared")
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    weights = root / "tiny.safetensors"
    save_denoiser(EDMPrecond(network, SIDE), weights, provenance={"command": "none: untrained"})
    words = [f"denoiser={weights}", f"results={root / 'results'}", "strategy=naive,diffcollage"]
    words += [f"num_samples={COUNT}", f"pictures={COUNT}", "num_reference=8", "batch_size=2"]
    words += ["solver.num_steps=2", "repeats=1", "device=cpu", "loggers=[]"]
    assert run([*words, "canvas.wrap_width=true", "plain_fid=false"]) == 0
    (record,) = (root / "results").glob("*/results.json")
    for name in ("naive", "diffcollage"):
        for path in (record.parent / "canvases").glob(f"{name}-*.png"):
            write_picture(read_picture(path), root / name / path.name)
    # The squares of the reference, and the long crops that it lays beside canvases, in order.
    data = Landscapes()
    for index, crop in enumerate(data.crops("test", 8, SIDE, SIDE)):
        write_picture(crop, root / "squares" / f"{index:03d}.png")
    for index, crop in enumerate(data.crops("test", 256, SIDE, WIDTH, first=8)):
        write_picture(crop, root / "long" / f"{index:03d}.png")
    return record, root


@pytest.mark.parametrize("name", ["naive", "diffcollage"])
def test_figures_are_those_of_the_comparison_to_the_last_bit(compared, tmp_path, name, capsys):
    record, root = compared
    (row,) = (row for row in read_record(Results, record).rows if row.strategy == name)
    found = evaluate(
        root / name,
        root / "squares",
        long_reference=str(root / "long"),
        seams=row.edge_columns,
        wrap_width=True,
        batch_size=2,
        **FAST,
    )
    mine = found.rows[name]
    assert {"fid_plus", "kid", "recall", "seam_ratio", "wrap_error", "correlation_gap"} <= set(
        row.figures
    )
    assert mine.figures == row.figures
    assert mine.real == row.real
    assert mine.curves == row.curves
    assert mine.real_curves == row.real_curves

    found.write(tmp_path / "results.json")
    assert compare([str(record), str(tmp_path)]) == 0
    assert "equal to the last bit" in capsys.readouterr().out


def test_other_squares_of_the_reference_may_not_be_compared(compared, tmp_path):
    record, root = compared
    found = evaluate(root / "naive", root / "squares", num_reference=6, **FAST)
    found.write(tmp_path / "results.json")
    assert compare([str(record), str(tmp_path)]) == 1


def independent_frechet(first: list[Path], second: list[Path]) -> float:
    """The textbook's formula, on images that only Pillow has read."""
    network = RandomConv()
    sets = []
    for files in (first, second):
        pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
        sets.append(network(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy())
    (mean, cov), (mean_ref, cov_ref) = ((each.mean(0), np.cov(each.T)) for each in sets)
    # Of the product's square root, whose eigenvalues are real and at least 0 but for rounding.
    cross = np.sqrt(np.linalg.eigvals(cov @ cov_ref).real.clip(min=0)).sum()
    return float(((mean - mean_ref) ** 2).sum() + np.trace(cov + cov_ref) - 2 * cross)


def test_of_square_images_fid_plus_is_the_plain_frechet_distance(tmp_path):
    # Half as many images as dimensions, none alike: covariances are singular, as with few images.
    first = write(tmp_path / "a", noise(80, 12, 12, 3, seed=3) // 2)
    second = write(tmp_path / "b", noise(90, 12, 12, 3, seed=4))
    found = fid_plus(first, second, **FAST)
    expected = independent_frechet(sorted(first.iterdir()), sorted(second.iterdir()))
    # Eigenvalues of a singular product that should be 0 come out at 1e-16 of the largest, and
    # their square roots at 1e-8 of its: some 150 of them.
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert found.low < found.value < found.high


def test_a_smaller_side_compares_smaller_squares(generated, reference):
    whole, small = (
        evaluate(generated, reference, metrics="fid_plus", side=side, **FAST) for side in (None, 12)
    )
    assert whole.fid_plus != small.fid_plus
    assert whole.rows["generated"].fingerprint.get("crop_side") is None
    assert small.rows["generated"].fingerprint["crop_side"] == 12
    # As many as have room side by side: 9 images of 16 x 96 px.
    assert (whole.results.num_reference, small.results.num_reference) == (9 * 6, 9 * 8)


def test_tiles_have_seams_at_their_period_and_neither_drift_nor_variety(tmp_path, reference):
    steps = np.linspace(0, 200, SIDE).astype(np.uint8)
    tile = np.broadcast_to(steps[None, :, None], (SIDE, SIDE, 3))
    tiled = write(tmp_path / "tiled", [np.tile(tile, (1, 6, 1)) + shift for shift in (0, 5, 9)])
    found = evaluate(tiled, reference, period=SIDE, wrap_width=True, **FAST)
    # A ramp of 15 steps from 0 to 200, and a jump of 200 at its end.
    assert found.seam_ratio.value == pytest.approx(15)
    assert found.wrap_error.value == pytest.approx(15)
    assert found.drift.value == found.colour_drift.value == 0
    assert found.repetition.value == 0
    off = evaluate(tiled, reference, period=SIDE, offset=SIDE // 2, metrics="seam_ratio", **FAST)
    assert off.seam_ratio.value < 1


def test_constant_images_are_measured_and_copies_are_said(tmp_path, reference):
    grey = [np.full((SIDE, WIDTH, 3), 90, np.uint8)] * 3
    with pytest.warns(UserWarning, match="2 of the 3 images"):
        found = evaluate(write(tmp_path / "flat", grey), reference, period=SIDE, **FAST)
    assert found.seam_ratio.value == 1
    assert found.drift.value == 0
    assert np.isfinite(found.fid_plus.value)


def of_many_kinds(folder: Path) -> dict[str, np.ndarray]:
    """Images of many formats and modes, by the path, and what they are in 8-bit RGB."""
    (folder / "below").mkdir(parents=True)
    grey, colours = noise(SIDE, WIDTH, seed=5), noise(SIDE, WIDTH, 3, seed=6)
    found = {}

    def save(name: str, image: Image.Image, expected: np.ndarray, **how) -> None:
        image.save(folder / name, **how)
        found[name] = expected

    save("a.png", Image.fromarray(grey.astype(np.uint16) * 257), np.stack([grey] * 3, -1))
    palette = Image.fromarray(colours).quantize(8)
    opaque = np.asarray(palette)[..., None] != 3
    on_white = np.where(opaque, np.asarray(palette.convert("RGB")), 255).astype(np.uint8)
    save("b.png", palette, on_white, transparency=3)
    cmyk = Image.fromarray(colours).convert("CMYK")
    encoded = io.BytesIO()
    cmyk.save(encoded, "JPEG")
    save("c.jpg", cmyk, np.asarray(Image.open(encoded).convert("RGB")))
    clear = np.dstack([colours, np.zeros_like(grey)])
    save("below/d.webp", Image.fromarray(clear), np.full_like(colours, 255), lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 3
    upside_down = Image.fromarray(colours[::-1, ::-1].copy())
    save("e.png", upside_down, colours, exif=turned)
    return found


def test_images_of_every_kind_are_read_alike(tmp_path):
    expected = of_many_kinds(tmp_path / "kinds")
    folder = ImageFolder.of(tmp_path / "kinds", 1.0)
    for index, path in enumerate(folder.files):
        (pixels,) = folder.read([index])
        assert np.array_equal(pixels.permute(1, 2, 0), expected[path]), path


def test_no_more_than_a_batch_is_in_memory(generated, reference, monkeypatch):
    asked = []
    read = ImageFolder.read

    def watched(folder, indices):
        asked.append(list(indices))
        return read(folder, indices)

    monkeypatch.setattr(ImageFolder, "read", watched)
    by_fours, by_ones = (
        evaluate(generated, reference, batch_size=size, **FAST).rows["generated"] for size in (4, 1)
    )
    assert asked == [[0, 1, 2, 3], [4, 5], [0], [1], [2], [3], [4], [5]]
    for name, figure in by_fours.figures.items():
        # Convolutions round by the size of their batch.
        assert by_ones.figures[name].value == pytest.approx(figure.value, rel=1e-9, abs=1e-9)


def test_several_folders_are_rows_of_one_table(generated, reference, tmp_path):
    others = write(tmp_path / "v1.5", noise(8, SIDE, WIDTH, 3, seed=7))
    with pytest.raises(ValueError, match="num_samples=6"):
        evaluate([generated, others], reference, **FAST)
    found = evaluate([generated, str(others)], reference, num_samples=6, **FAST)
    assert list(found.rows) == ["generated", "v1.5"]
    assert found.results.real.figures["fid_plus"].value > 0
    alone = evaluate(generated, reference, **FAST)
    assert alone.rows["generated"].figures == found.rows["generated"].figures
    with pytest.raises(AttributeError, match="rows"):
        _ = found.fid_plus
    for text in (repr(found), found.markdown()):
        assert "generated" in text
        assert "v1.5" in text
        assert "Parallel?" not in text
        assert "strategy" not in text


def test_an_evaluation_is_copied_and_names_what_it_has(generated, reference):
    found = evaluate(generated, reference, metrics=("fid_plus", "drift"), **FAST)
    assert copy.deepcopy(found).fid_plus == found.fid_plus
    assert set(found.rows["generated"].figures) == {"fid_plus", "colour_drift"}
    assert "Drift" in repr(found)
    with pytest.raises(AttributeError, match="colour_drift"):
        _ = found.seam_ratio


def test_without_a_reference_what_needs_none_is_measured(generated):
    found = evaluate(generated, period=SIDE, wrap_width=True, **FAST)
    assert set(found.rows["generated"].figures) == {
        "seam_ratio",
        "wrap_error",
        "colour_drift",
        "repetition",
    }
    assert "autocorrelation" in found.rows["generated"].curves
    assert found.results.real is None


def test_figures_that_rest_on_no_network_need_no_weights(generated, reference):
    found = evaluate(
        generated,
        reference,
        metrics="seam_ratio,drift,correlation_gap",
        period=SIDE,
        progress=False,
    )
    assert found.rows["generated"].real["seam_ratio"].value == pytest.approx(1, abs=0.2)
    assert f"{found.seam_ratio.value:.2f}"[:3] in repr(found)
    with pytest.raises(FileNotFoundError, match="inception"):
        fid_plus(generated, reference, features_weights="nowhere.pth", progress=False)


def test_features_of_the_reference_are_kept(generated, reference, tmp_path, monkeypatch):
    seen = []
    embed = RandomConv.embed

    def counting(network, images):
        seen.append(len(images))
        return embed(network, images)

    monkeypatch.setattr(RandomConv, "embed", counting)
    first = fid_plus(generated, reference, cache=tmp_path / "kept", **FAST)
    taken = sum(seen)
    seen.clear()
    assert fid_plus(generated, reference, cache=str(tmp_path / "kept"), **FAST) == first
    assert taken - sum(seen) == 9 * 6


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"side": SIDE + 1}, "side"),
        ({"num_samples": 7}, "num_samples"),
        ({"num_samples": 2}, "num_samples"),
        ({"num_reference": 500}, "room for 54"),
        ({"seams": [WIDTH]}, "seams"),
        ({"seam_rows": [0]}, "seam_rows"),
        ({"period": WIDTH}, "period"),
        ({"offset": 3}, "offset"),
        ({"period": 8, "seams": [8]}, "seams and period"),
        ({"metrics": "seem_ratio"}, "seam_ratio"),
        ({"metrics": "seam_ratio"}, "period"),
        ({"metrics": "wrap_error"}, "wrap_width"),
        ({"metrics": "drift", "strip": 20}, "smaller strip"),
        ({"side": 8}, "12 x 12"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_measured(
    generated, reference, monkeypatch, settings, what
):
    def reads(folder, indices):
        pytest.fail("images were read before all was checked")

    monkeypatch.setattr(ImageFolder, "read", reads)
    with pytest.raises(ValueError, match=what):
        evaluate(generated, reference, **FAST | settings)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("drift", "repetition")])
def test_figures_without_what_they_need_are_refused_by_name(generated, name):
    with pytest.raises(ValueError, match=name):
        evaluate(generated, metrics=name, **FAST)


def test_folders_that_cannot_be_measured_are_refused(generated, reference, tmp_path):
    with pytest.raises(FileNotFoundError, match="reference must"):
        evaluate(generated, tmp_path / "nowhere", **FAST)
    with pytest.raises(FileNotFoundError, match="images must"):
        evaluate(tmp_path / "nowhere", reference, **FAST)
    with pytest.raises(ValueError, match="at least 3"):
        evaluate(write(tmp_path / "two", noise(2, SIDE, WIDTH, 3)), reference, **FAST)
    low = write(tmp_path / "low", noise(3, SIDE - 4, WIDTH, 3))
    with pytest.raises(ValueError, match=r"reference must .*16 px.*000\.png"):
        evaluate(generated, low, **FAST)
    write(generated, noise(1, SIDE, WIDTH - 1, 3), start=6)
    with pytest.raises(ValueError, match=r"000\.png .* 006\.png"):
        evaluate(generated, reference, **FAST)
    (generated / "006.png").write_bytes((generated / "000.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"1 of 7 .* 006\.png"):
        evaluate(generated, reference, **FAST)


def test_damaged_images_of_the_reference_are_skipped_with_a_word(generated, reference, caplog):
    (reference / "009.png").write_bytes((reference / "000.png").read_bytes()[:2000])
    found = evaluate(generated, reference, metrics="fid_plus", **FAST)
    assert "009.png" in caplog.text
    assert found.results.data["images"] == {"usable": 9, "skipped": 1}


def test_images_are_not_compared_with_themselves(generated, reference):
    with pytest.raises(ValueError, match="allow_shared=true"):
        evaluate(generated, generated, **FAST)
    # A copy by another name, in a subfolder.
    (reference / "below").mkdir()
    (reference / "below" / "x.png").write_bytes((generated / "003.png").read_bytes())
    with pytest.raises(ValueError, match=r"1 of the 6 .* \(003\.png"):
        evaluate(generated, reference, **FAST)
    with pytest.warns(UserWarning, match="1 of the 6"):
        evaluate(generated, reference, metrics="drift", allow_shared=True, **FAST)


def test_real_images_are_brought_to_a_size_before_they_are_cut(generated, tmp_path):
    large = write(tmp_path / "large", noise(4, 2 * SIDE, 3 * WIDTH, 3, seed=8))
    found = evaluate(generated, large, metrics="fid_plus", resize=SIDE, **FAST)
    # 16 x 144 px: nine squares of each; unresized 2 x 18.
    assert found.results.num_reference == 4 * 9
    assert found.results.data["side"] == SIDE
    assert evaluate(generated, large, metrics="fid_plus", **FAST).results.num_reference == 4 * 36


def test_the_command_leaves_a_record_and_a_table(generated, reference, tmp_path, capsys):
    words = [str(generated), str(reference), "features=random_conv", "device=cpu"]
    words += [f"results={tmp_path / 'results'}", "--period", str(SIDE)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "generated" in said.out
    assert "generated: FID+" in said.err
    (record,) = (tmp_path / "results").glob("*/results.json")
    assert "| generated" in record.with_name("table.md").read_text()
    results = read_record(Results, record)
    assert results.command.startswith("patchcanvas evaluate ")
    assert results.rows[0].edge_columns == list(range(SIDE, WIDTH, SIDE))
    assert compare([str(record), str(record)]) == 0
    assert report([str(record.parent), "--latex"]) == 0
    assert report([str(record.parent)]) == 2  # a page would tell of strategies
    capsys.readouterr()

    one = tmp_path / "here" / "one.json"
    assert main([*words, f"output={one}"]) == 0
    assert (
        json.loads(one.read_text())["rows"][0]["figures"]
        == json.loads(record.read_text())["rows"][0]["figures"]
    )


def test_the_command_says_what_is_wrong_in_a_sentence(generated, reference, tmp_path, capsys):
    for words, what in (
        ([], "images must be"),
        ([str(generated), "sidd=3"], "side"),
        ([str(generated), str(reference), "features=vgg"], "features"),
        ([str(generated), str(reference), "images=other"], "images"),
        ([str(tmp_path / "nowhere"), str(reference)], "nowhere"),
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert what in line


def test_an_image_that_cannot_be_decoded_after_all_ends_the_command(
    generated, reference, tmp_path, capsys, monkeypatch
):
    def damaged(folder, path):
        raise ValueError(f"{path} cannot be decoded")

    monkeypatch.setattr(ImageFolder, "_decoded", damaged)
    words = [str(generated), str(reference), "features=random_conv", f"results={tmp_path}"]
    assert main([*words, "device=cpu"]) == 1
    assert "000.png cannot be decoded" in capsys.readouterr().err


def test_a_record_made_in_python_names_the_command_that_makes_it_again():
    settings = read_command(["a b", "c", "real", "--seed", "3", "seams=[8,16]", "side=24"]).settings
    assert [str(path) for path in settings.images] == ["a b", "c"]
    assert str(settings.reference) == "real"
    again = read_command(shlex.split(command_of(settings))[2:]).settings
    assert again == settings
