"""The endless strip on disk: the same pixels however often it is stopped; nothing piles up."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors import SafetensorError
from torch import Tensor

from denoisers.checkpoint import load_denoiser, save_denoiser
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.cli.settings import DEFAULT_SOLVER
from patchcanvas.files import lock, unlock
from patchcanvas.model import load_own
from patchcanvas.pictures import read_picture, write_picture
from patchcanvas.records import read_record
from patchcanvas.streaming.command import conveyor_of, known_strip, main
from patchcanvas.streaming.folder import StripFolder
from patchcanvas.streaming.picture import draw, summary, time_and_memory
from patchcanvas.streaming.records import Log, Measurement, Record
from patchcanvas.streaming.settings import StreamSettings, read_command
from patchcanvas.streaming.state import Standing
from sampling.images import to_uint8
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.conveyor import State
from tests.encoded_images import exif, rgb_profile

SIDE, TILE, COLUMNS = 16, 24, 60
ROOT = Path(__file__).parent.parent
SETTINGS = StreamSettings(block=4, solver=Heun(num_steps=3, churn=DEFAULT_SOLVER.churn))


def save_weights(path: Path, **options) -> Path:
    network = UNet(channels=(32,), blocks=(1,), attention_levels=0)
    denoiser = EDMPrecond(network, SIDE, **options)
    save_denoiser(denoiser, path, provenance={"command": "none: untrained"})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch):
    # A plot takes longer than a strip of these.
    monkeypatch.setattr("patchcanvas.streaming.command.draw", lambda *anything: None)


def command(weights: Path, folder: Path, *more: str) -> list[str]:
    return [
        f"denoiser={weights}",
        f"folder={folder}",
        "solver.num_steps=3",
        "block=4",
        f"tile={TILE}",
        "measure=13",
        "save_seconds=0",
        "device=cpu",
        *more,
    ]


def strip_in(folder: Path, columns: int = COLUMNS) -> Tensor:
    return StripFolder(folder).columns(0, columns, tile=TILE)


def log_of(folder: Path) -> list[Measurement]:
    lines = (folder / "measurements.jsonl").read_text().splitlines()
    return [Measurement(**json.loads(line)) for line in lines]


@pytest.fixture(scope="module")
def expected(weights) -> Tensor:
    """The first columns of the strip as the conveyor makes it, without any file."""
    denoiser, noise = load_denoiser(weights), CanvasNoise(0, [0])
    conveyor = conveyor_of(SETTINGS, denoiser)
    made = conveyor.blocks(denoiser, noise, conveyor.begin(denoiser, noise))
    blocks = [to_uint8(next(made)[1])[0] for _ in range(COLUMNS // 4)]
    strip = torch.cat(blocks, dim=-1)
    assert strip.float().std() > 20
    return strip


def test_what_is_on_disk_is_what_the_conveyor_makes(weights, tmp_path, expected):
    assert main(command(weights, tmp_path / "strip", f"columns={COLUMNS}")) == 0
    tiles = sorted((tmp_path / "strip" / "tiles").iterdir())
    assert [tile.name for tile in tiles] == [f"{number:08d}.png" for number in range(3)]
    assert [read_picture(tile).shape[-1] for tile in tiles] == [24, 24, 12]
    assert torch.equal(strip_in(tmp_path / "strip"), expected)
    record = read_record(Record, tmp_path / "strip" / "stream.json")
    assert (record.columns, record.tile) == (COLUMNS, TILE)
    assert record.tiles.format(3) == "tiles/00000003.png"
    assert record.window == {
        "height": 16, "width": 16, "past": 8, "block": 4, "active": 2, "lag": 2
    }  # fmt: skip
    measured = log_of(tmp_path / "strip")
    assert [one.columns for one in measured] == [16, 32, 48, 60]
    assert [one.made for one in measured] == [16, 16, 16, 12]
    # Two steps of Heun's a block of 4 columns, on 16 x 16 px; the first block takes a cycle more.
    assert [one.calls for one in measured] == [20, 16, 16, 12]
    assert all(one.pixels == 256 * one.calls for one in measured)
    assert all(0 < one.network_seconds < one.seconds for one in measured)
    assert all(one.processor_seconds > 0 for one in measured)
    # A process that has loaded torch, in MiB.
    assert all(100 < one.memory_mib < 10_000 for one in measured)
    assert record.seconds == pytest.approx(sum(one.seconds for one in measured))


def test_a_killed_process_goes_on_with_the_same_pixels(weights, tmp_path, expected):
    folder = tmp_path / "strip"
    process = subprocess.Popen(
        [sys.executable, "-m", "patchcanvas", "stream", *command(weights, folder)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not (folder / "tiles" / "00000001.png").exists() and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = Standing.read(folder / "state.safetensors").columns
    columns = max(COLUMNS, before + 8)
    assert main(command(weights, folder, f"columns={columns}")) == 0
    assert torch.equal(strip_in(folder), expected)
    # What was measured and not saved is not counted twice.
    assert log_of(folder)[-1].columns == columns
    steps = pairwise(log_of(folder))
    assert all(later.columns - earlier.columns >= later.made for earlier, later in steps)
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize(
    ("place", "call"),
    [
        pytest.param("denoisers.precond.EDMPrecond._raw", 1, marks=pytest.mark.slow),
        ("denoisers.precond.EDMPrecond._raw", 33),
        pytest.param("patchcanvas.streaming.growth.to_uint8", 4, marks=pytest.mark.slow),
        pytest.param("patchcanvas.streaming.growth.peak_memory_mib", 2, marks=pytest.mark.slow),
        pytest.param("patchcanvas.streaming.folder.write_picture", 2, marks=pytest.mark.slow),
        ("patchcanvas.streaming.folder.write_picture", 3),  # the columns at the end
        ("patchcanvas.streaming.state.save_file", 7),
        ("patchcanvas.streaming.folder.write_record", 1),  # the record, before anything is made
        pytest.param("patchcanvas.streaming.folder.write_record", 7, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_strip_goes_on_with_the_same_pixels(
    weights, tmp_path, monkeypatch, expected, place, call
):
    calls = 0
    module, _, name = place.rpartition(".")
    owner = EDMPrecond if module.endswith("EDMPrecond") else sys.modules[module]
    original = getattr(owner, name)

    def interrupted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)
    folder = tmp_path / "strip"
    assert main(command(weights, folder, f"columns={COLUMNS}")) == 130
    assert main(command(weights, folder, f"columns={COLUMNS}")) == 0
    assert torch.equal(strip_in(folder), expected)
    assert sum(one.made for one in log_of(folder)) == COLUMNS


def test_tiles_and_measurements_beyond_the_state_are_made_again(weights, tmp_path, expected):
    folder = tmp_path / "strip"
    assert main(command(weights, folder, "columns=28")) == 0
    kept = {name: (folder / name).read_bytes() for name in ("state.safetensors", "stream.json")}
    assert main(command(weights, folder, "columns=56")) == 0
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    with (folder / "measurements.jsonl").open("a") as log:
        log.write('{"columns": 84, "ma')  # killed while writing
    assert main(command(weights, folder, f"columns={COLUMNS}")) == 0
    assert torch.equal(strip_in(folder), expected)
    assert sum(one.made for one in log_of(folder)) == COLUMNS


def test_a_strip_that_is_long_enough_is_left_as_it_is(weights, tmp_path, monkeypatch):
    folder = tmp_path / "strip"
    assert main(command(weights, folder, "columns=30")) == 0
    before = {path.name: path.read_bytes() for path in folder.glob("tiles/*")}
    monkeypatch.setattr(EDMPrecond, "_raw", None)
    assert main(command(weights, folder, "columns=25")) == 0
    assert before == {path.name: path.read_bytes() for path in folder.glob("tiles/*")}


def test_nothing_but_tiles_and_measurements_grows(weights, tmp_path):
    sizes = []
    for columns in (TILE + 8, 3 * TILE + 8):
        assert main(command(weights, tmp_path, f"columns={columns}")) == 0
        state, record = (tmp_path / name for name in ("state.safetensors", "stream.json"))
        sizes.append((state.stat().st_size, record.stat().st_size))
    # But for the digits of some numbers.
    assert all(abs(one - other) < 64 for one, other in zip(*sizes, strict=True))


def test_a_strip_goes_on_from_an_image(weights, tmp_path):
    image = torch.randint(0, 256, (3, SIDE, 21), dtype=torch.uint8)
    write_picture(image, tmp_path / "image.png")
    known = f"known={tmp_path / 'image.png'}"
    assert main(command(weights, tmp_path / "strip", known, "columns=20")) == 0
    denoiser, noise = load_denoiser(weights), CanvasNoise(0, [0])
    conveyor = conveyor_of(SETTINGS, denoiser)
    state = conveyor.begin(denoiser, noise, known=image[None].float() / 127.5 - 1)
    made = conveyor.blocks(denoiser, noise, state)
    blocks = torch.cat([to_uint8(next(made)[1])[0] for _ in range(5)], dim=-1)
    assert torch.equal(strip_in(tmp_path / "strip", 20), blocks)


def test_pixels_that_are_not_finite_end_the_run(weights, tmp_path, monkeypatch, capsys):
    original, calls = EDMPrecond._raw, []

    def broken(self, x_t, sigma, *told):
        calls.append(x_t)
        raw, log_variance = original(self, x_t, sigma, *told)
        return (raw * torch.nan if len(calls) > 30 else raw), log_variance

    with monkeypatch.context() as patched:
        patched.setattr(EDMPrecond, "_raw", broken)
        assert main(command(weights, tmp_path, f"columns={COLUMNS}")) == 1
    assert "not finite; try precision=fp32" in capsys.readouterr().err
    assert main(command(weights, tmp_path, f"columns={COLUMNS}")) == 0  # from before it


@pytest.fixture(scope="module")
def made(weights, tmp_path_factory) -> Path:
    """A folder with a strip, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "strip"
    assert main(command(weights, folder, "columns=30")) == 0
    return folder


def refused(arguments: list[str], capsys) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("state.safetensors", cut, "must hold the state of a strip, but it is damaged"),
        ("state.safetensors", flip, "its pixels are not those that were written"),
        ("state.safetensors", Path.unlink, "state.safetensors is missing, without which"),
        ("stream.json", cut, "stream.json must be a record"),
        ("stream.json", Path.unlink, "holds no strip (there is 'measurements.jsonl', but no"),
        ("measurements.jsonl", cut, "it was cut off"),
    ],
)
def test_a_damaged_folder_is_refused(weights, made, tmp_path, capsys, name, damage, message):
    folder = shutil.copytree(made, tmp_path / "strip")
    (folder / "ends.png").unlink()  # so that it is not the first stranger
    damage(folder / name)
    assert message in refused(command(weights, folder, "columns=40"), capsys)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("seed=1", "settings.seed: 0 there, 1 here"),
        ("block=2", "settings.block: 4 there, 2 here"),
        ("solver.num_steps=4", "settings.solver.init_args.num_steps: 3 there, 4 here"),
        ("tile=30", "settings.tile: 24 there, 30 here"),
        ("precision=bf16", "settings.runtime.precision: fp32 there, bf16 here"),
    ],
)
def test_other_settings_are_refused(weights, made, tmp_path, capsys, setting, said):
    folder = shutil.copytree(made, tmp_path / "strip")
    before = (folder / "state.safetensors").read_bytes()
    heard = refused(command(weights, folder, "columns=40", setting), capsys)
    assert "holds a strip that was made otherwise" in heard
    assert said in heard
    assert (folder / "state.safetensors").read_bytes() == before


def test_other_weights_are_refused_and_the_same_elsewhere_are_not(weights, made, tmp_path, capsys):
    folder = shutil.copytree(made, tmp_path / "strip")
    torch.manual_seed(1)  # not the one that every test, and perhaps `weights`, begins with
    other = save_weights(tmp_path / "other.safetensors")
    assert "weights_sha256: " in refused(command(other, folder, "columns=40"), capsys)
    for suffix in (".safetensors", ".json"):
        shutil.copy(weights.with_suffix(suffix), (tmp_path / "copy").with_suffix(suffix))
    again = command(tmp_path / "copy.safetensors", folder, "columns=40", "measure=20")
    assert main(again) == 0


def test_other_code_is_refused(weights, made, tmp_path, capsys):
    folder = shutil.copytree(made, tmp_path / "strip")
    content = json.loads((folder / "stream.json").read_text())
    content["environment"]["sources"] = "0" * 64
    (folder / "stream.json").write_text(json.dumps(content))
    assert "environment.sources: 000" in refused(command(weights, folder, "columns=40"), capsys)


def test_a_folder_of_something_else_is_refused_and_left_alone(weights, tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    said = refused(command(weights, tmp_path, "columns=20"), capsys)
    assert "there is 'letter.txt', but no stream.json" in said
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    said = refused(command(weights, tmp_path / "letter.txt", "columns=20"), capsys)
    assert "folder must be a folder, got the file" in said


def test_two_commands_do_not_share_a_folder(weights, made, tmp_path, capsys):
    folder = StripFolder(shutil.copytree(made, tmp_path / "strip"))
    lock(folder.path, instead="folder")
    said = refused(command(weights, folder.path, "columns=40"), capsys)
    assert "another folder=…" in said
    unlock(folder.path)
    assert main(command(weights, folder.path, "columns=40")) == 0


def test_what_cannot_be_made_leaves_no_folder(weights, tmp_path, capsys):
    one_level = save_weights(tmp_path / "one.safetensors", takes_noise_maps=False)
    folder = tmp_path / "strip"
    assert "takes_noise_maps is False" in refused(command(one_level, folder), capsys)
    assert "block must be a divisor" in refused(command(weights, folder, "block=5"), capsys)
    assert "solver=heun or solver=euler" in refused(
        command(weights, folder, "solver=dpmsolver++"), capsys
    )
    assert "must have 3 channels, 16 rows" in refused(
        command(weights, folder, f"known={ROOT / 'docs' / 'latency.png'}"), capsys
    )
    assert not folder.exists()


def test_the_pictures_show_the_measurements_and_both_ends(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("patchcanvas.streaming.picture.LONGEST", 40)
    monkeypatch.setattr("patchcanvas.streaming.command.draw", draw)
    assert main(command(weights, tmp_path, f"columns={COLUMNS}")) == 0
    ends, strip = read_picture(tmp_path / "ends.png"), strip_in(tmp_path)
    assert torch.equal(ends[:, :SIDE], strip[..., :40])
    assert torch.equal(ends[:, -SIDE:], strip[..., -40:])
    assert (ends[:, SIDE:-SIDE] == 255).all()
    assert read_picture(tmp_path / "measurements.png").shape[-1] > 500


def test_ends_that_were_moved_away_are_not_drawn(weights, tmp_path):
    assert main(command(weights, tmp_path, "columns=30")) == 0
    (tmp_path / "tiles" / "00000000.png").unlink()
    (tmp_path / "ends.png").unlink()
    assert main(command(weights, tmp_path, f"columns={COLUMNS}")) == 0
    assert not (tmp_path / "ends.png").exists()


def test_an_image_to_go_on_from_is_known_by_its_content(weights, tmp_path, capsys):
    image = torch.randint(0, 256, (3, SIDE, 8), dtype=torch.uint8)
    write_picture(image, tmp_path / "image.png")
    strip = tmp_path / "strip"
    assert main(command(weights, strip, f"known={tmp_path / 'image.png'}", "columns=8")) == 0
    (tmp_path / "image.png").rename(tmp_path / "moved.png")
    assert main(command(weights, strip, f"known={tmp_path / 'moved.png'}", "columns=16")) == 0
    write_picture(255 - image, tmp_path / "image.png")
    said = refused(command(weights, strip, f"known={tmp_path / 'image.png'}"), capsys)
    assert "known: " in said


def test_other_than_three_channels_are_refused(tmp_path, capsys):
    network = UNet(in_channels=1, channels=(32,), blocks=(1,), attention_levels=0)
    save_denoiser(EDMPrecond(network, SIDE), tmp_path / "grey.safetensors", provenance={})
    said = refused(command(tmp_path / "grey.safetensors", tmp_path / "strip"), capsys)
    assert "must have 3 channels, got 1" in said


def test_a_state_that_cannot_be_written_is_an_error_of_the_system(tmp_path, monkeypatch):
    def full(*anything, **more):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("patchcanvas.streaming.state.save_file", full)
    nothing = torch.zeros(3, 4, 0, dtype=torch.uint8)
    standing = Standing(State(torch.zeros(1, 3, 4, 8), 0), columns=0, tail=nothing)
    with pytest.raises(OSError, match=r"cannot be written: .*No space left"):
        standing.write(tmp_path / "state.safetensors")
    assert not list(tmp_path.iterdir())


def measurement(columns: int, **changes) -> Measurement:
    made = {"made": 10, "seconds": 0.5, "network_seconds": 0.4, "processor_seconds": 0.3}
    made |= {"calls": 20, "pixels": 2560, "memory_mib": 100.0}
    return Measurement(**{"columns": columns} | made | changes)


def test_the_plot_has_milliseconds_a_column_and_memory():
    measured = [measurement(10, seconds=1.0), measurement(20), measurement(30, memory_mib=120.0)]
    times, memory = time_and_memory(measured).axes
    assert times.lines[0].get_xydata().tolist() == [[10, 100], [20, 50], [30, 50]]
    assert times.lines[1].get_ydata().tolist() == [30, 30, 30]
    assert memory.lines[0].get_xydata().tolist() == [[10, 100], [20, 100], [30, 120]]


def test_the_summary_compares_the_first_tenth_with_the_last():
    measured = [measurement(10 * number) for number in range(1, 20)]
    measured.append(measurement(200, seconds=1.5, memory_mib=150.0))
    cost, change = summary(measured, 16)
    # 200 columns in 9.5 + 1.5 s; 8 s of it in the network; 40 calls and 5,120 px for 20 columns.
    assert cost == (
        "18.2 columns a second, 72.7% of the time in the network; 2.00 network calls a column, "
        "16.0 pixels evaluated for each pixel."
    )
    assert change == (
        "Median milliseconds a column: 50 by the clock and 30 of a processor in the first tenth, "
        "100 by the clock and 30 of a processor in the last. "
        "Peak memory in MiB: 100 in the first tenth, 150 in the last."
    )


def test_a_long_log_is_read_in_part(tmp_path):
    log = Log(tmp_path / "log", 0)
    for number in range(1, 11):
        log.add(measurement(10 * number))
    assert [one.columns for one in log.read()] == list(range(10, 101, 10))
    assert [one.columns for one in log.read(most=4)] == [10, 40, 70, 100]
    assert Log(tmp_path / "log", log.size).read() == log.read()


def test_a_state_comes_back_bit_by_bit(tmp_path):
    pixels = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    standing = Standing(State(pixels, 7, 2), 96, torch.zeros(3, 4, 0, dtype=torch.uint8), 55, 0.1)
    standing.write(tmp_path / "state")
    back = Standing.read(tmp_path / "state")
    assert torch.equal(back.state.pixels, pixels)
    assert (back.state.cycle, back.state.given) == (7, 2)
    assert back.tail.shape == (3, 4, 0)
    assert (back.columns, back.log_size, back.seconds) == (96, 55, 0.1)


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as left:
        read_command(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in StreamSettings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["colums=9"], "no setting 'colums'; did you mean 'columns'"),
        (["columns=0"], "columns must be at least 1, got 0"),
        (["tile=0"], "tile must be at least 1, got 0"),
        (["save_seconds=-1"], "save_seconds must be at least 0, got -1"),
        (["solver=hean"], "did you mean 'heun'"),
        (["denoiser=diffusers:NAME"], "denoiser must be trained with noise maps"),
        (["window_batch=4"], "runtime.window_batch must be auto or 1"),
        (["precision=fp8"], "precision must be one of fp32, bf16, fp16, got 'fp8'"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as wrong:
        read_command(arguments)
    assert "\n" not in str(wrong.value)


def test_a_bare_command_has_the_solver_of_the_harness_and_weights_that_know_maps():
    settings = read_command([]).settings
    assert settings.solver == DEFAULT_SOLVER
    denoiser = load_own(settings.denoiser).denoiser
    assert denoiser.network.level_channel
    # Half of the window is finished at a time.
    assert conveyor_of(settings, denoiser).belt(denoiser).block == denoiser.patch_size // 2
    assert settings.columns is None
    assert read_command(["columns=null"]).settings.columns is None


def test_a_line_that_a_full_disk_cut_off_is_written_over(tmp_path):
    log = Log(tmp_path / "log.jsonl", 0)
    log.add(measurement(16))
    with log.path.open("ab") as file:
        file.write(b'{"columns": 3')  # and no more would go
    assert log.read() == [measurement(16)]
    log.add(measurement(32))
    assert log.read() == [measurement(16), measurement(32)]
    assert Log(log.path, log.size).read() == log.read()
    assert log.path.stat().st_size == log.size


@pytest.mark.parametrize("kind", ["upright", "16 bits", "profile", "transparent"])
def test_an_image_to_go_on_from_is_read_as_every_other(kind, tmp_path):
    colour = np.full((SIDE, SIDE, 3), (200, 40, 20), np.uint8)
    colour[: SIDE // 2] //= 2
    picture, options, expected = Picture.fromarray(colour), {}, colour
    if kind == "upright":
        picture, options = Picture.fromarray(np.rot90(colour).copy()), {"exif": exif(6)}
    elif kind == "16 bits":
        picture = Picture.fromarray(257 * colour[..., 0].astype(np.uint16))
        expected = np.repeat(colour[..., :1], 3, axis=-1)
    elif kind == "profile":
        picture = Picture.fromarray(colour[..., [1, 0, 2]])
        options = {"icc_profile": rgb_profile(swapped=True)}
    else:
        picture.putalpha(0)
        expected = np.full_like(colour, 255)
    picture.save(tmp_path / "image.png", **options)
    settings = StreamSettings(known=tmp_path / "image.png")
    found = (known_strip(settings.known, settings)[0].permute(1, 2, 0) + 1) * 127.5
    assert np.abs(found.numpy() - expected).max() <= 1
