"""The comparison with the panorama pipeline: what it measures, on sides whose answers are known."""

import ast
import copy
import dataclasses
import sys
import types
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from denoisers.pretrained.model import PretrainedModel
from denoisers.pretrained.stand_ins import sd_pipeline
from patchcanvas.files import lock, unlock
from patchcanvas.records import read_record
from strategies.diffcollage import DiffCollage
from studies.peers.__main__ import main
from studies.peers.defects import Case, cases, found, roll_error
from studies.peers.jobs import STRIDE, Job, Made, PeerError, Timing
from studies.peers.ours import Forwards, Ours
from studies.peers.plan import loaded, same_views
from studies.peers.records import (
    DIFFCOLLAGE,
    FORWARDS,
    MULTIDIFFUSION,
    PANORAMA,
    Finding,
    PeerResults,
    Row,
)
from studies.peers.settings import PeerSettings, read_command
from studies.peers.table import TABLE, document, seconds
from studies.peers.theirs import Theirs, Worker, arguments_of
from studies.peers.worker import TENSOR, Counted, answer

ROOT = Path(__file__).parent.parent
TIMING = Timing(2.0, 1.5, ((2, 4, 64, 64), (2, 4, 64, 32)), copies=3, copy_seconds=0.25)
JOB = Job(prompt="a lake", height=512, width=576, num_steps=2, guidance=7.5)
# A peer without diffusers: it hands back what it is given, and says what that took.
ECHO = """
import json, shutil, sys
print(json.dumps({"python": "3", "threads": int(sys.argv[1]), "versions": {
    "diffusers": "0", "torch": "0", "transformers": None}}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "settings" not in asked:
        said = {}
    elif asked["settings"]["num_inference_steps"] == 13:
        said = {"error": "RuntimeError: unlucky"}
    elif asked["settings"]["num_inference_steps"] == 17:
        sys.exit("out of memory")
    else:
        shutil.copy(asked["latents"], asked["out"])
        said = {"seconds": 3.0, "network_seconds": 2.0, "shapes": [[2, 4, 64, 64]], "copies": 1,
                "copy_seconds": 0.5}
    print(json.dumps(said), flush=True)
"""


@pytest.fixture(scope="module")
def small() -> PretrainedModel:
    return PretrainedModel.of(small_pipeline())


def small_pipeline():
    return sd_pipeline(side=64, width=8, attention=(False, False, False, True), scale=8)


@dataclasses.dataclass
class Exact:
    """A side without a defect: what it makes of latents depends on each of them alone."""

    made_of: int = 0

    def made(self, job: Job) -> Made:
        self.made_of += 1
        return Made(TIMING, job.latents(8, 4) * job.guidance + len(job.prompt))


class Flawed(Exact):
    """A side with all defects."""

    def made(self, job: Job) -> Made:
        images = super().made(job).images
        covered = (images.shape[-1] - 64) // 8 * 8 + 64
        images[..., covered:] = 0
        if job.images == 2:
            images[0] = self.made(
                dataclasses.replace(job, images=1, prompt="", guidance=1.0)
            ).images
        return Made(TIMING, images)


class Refusing(Exact):
    """A side that raises."""

    def made(self, job: Job) -> Made:
        raise PeerError("RuntimeError: sizes | differ")


# Settings


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "canvas.width=1080",
            r"canvas.width must be 512 px and any number of strides of 64 px.* 1024 and 1088",
        ),
        ("canvas.height=500", r"the nearest are 512 and 576"),
        ("channels=12", "channels must be 8, 16, 24 and so on, got 12"),
        ("attention=[false,false]", "one of which attends to the text"),
        ("guidance=1", "guidance must be above 1"),
        ("batches=[4,4]", "batches must be different numbers from 2 up"),
        ("num_steps=1", "num_steps must be at least 2, got 1"),
        ("repeats=0", "repeats must be at least 1, got 0"),
        ("pyhton=x", "did you mean 'python'"),
    ],
)
def test_settings_are_refused(word, message):
    with pytest.raises(ValueError, match=message):
        read_command([word])


def test_the_peers_own_defaults_are_the_defaults():
    settings = read_command([]).settings
    assert (settings.canvas.height, settings.canvas.width, settings.num_steps) == (512, 2048, 50)
    assert (settings.guidance, settings.python) == (7.5, Path(sys.executable))


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (sd_pipeline(), "an autoencoder of 8 px a latent, the peer knows no other, got 4"),
        (None, "there is no folder"),
    ],
)
def test_models_that_the_peer_does_not_take_are_refused(pipeline, message, tmp_path):
    folder = tmp_path / "model"
    if pipeline is not None:
        pipeline.save_pretrained(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        loaded(PeerSettings(denoiser=folder), tmp_path)


# The peer's process


@pytest.fixture
def echo(tmp_path):
    script = tmp_path / "echo.py"
    script.write_text(ECHO)
    with Worker(Path(sys.executable), threads=3, scratch=tmp_path, script=script) as worker:
        yield worker


def test_a_worker_answers_one_request_after_another(echo, tmp_path):
    assert echo.introduction["threads"] == 3
    theirs = Theirs(echo, tmp_path / "model", scale=8, channels=4, batch=2)
    theirs.load()
    for _ in range(2):
        made = theirs.made(JOB)
        assert torch.equal(made.images, JOB.latents(8, 4))
        assert made.timing == Timing(3.0, 2.0, ((2, 4, 64, 64),), copies=1, copy_seconds=0.5)


def test_what_the_pipeline_raises_comes_back_and_the_worker_goes_on(echo, tmp_path):
    theirs = Theirs(echo, tmp_path, scale=8, channels=4)
    with pytest.raises(PeerError, match="RuntimeError: unlucky"):
        theirs.made(dataclasses.replace(JOB, num_steps=13))
    assert theirs.made(JOB).images is not None


def test_a_worker_that_ends_is_told_with_its_last_words(echo, tmp_path):
    theirs = Theirs(echo, tmp_path, scale=8, channels=4)
    for _ in range(2):  # the second finds nobody to ask
        with pytest.raises(OSError, match=r"ended with status 1: out of memory"):
            theirs.made(dataclasses.replace(JOB, num_steps=17))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('print(\'{"error": "ImportError: no panoramas"}\')', "ImportError: no panoramas"),
        ("import nothing_of_this_name", "ended with status 1: .*No module named"),
    ],
)
def test_interpreters_without_the_pipeline_are_refused(source, message, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(source)
    with pytest.raises(ValueError, match=f"StableDiffusionPanoramaPipeline.*{message}"):
        Worker(Path(sys.executable), threads=1, scratch=tmp_path, script=script)


def test_an_interpreter_that_is_not_there_is_refused_before_any_work(tmp_path, capsys):
    assert main([f"python={tmp_path / 'python'}", f"results={tmp_path / 'results'}"]) == 2
    assert "python must be a Python interpreter that has diffusers" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_the_worker_imports_nothing_of_this_project():
    source = (ROOT / "studies" / "peers" / "worker.py").read_text()
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"torch", "diffusers", "safetensors"}


class Pipeline:
    """Calls its network twice, and copies something."""

    def __init__(self) -> None:
        self.unet = nn.Identity()

    def __call__(self, latents, **settings):
        copied = copy.deepcopy(settings)
        self.unet(self.unet(latents))
        return types.SimpleNamespace(images=latents * copied["scale"])


def test_the_worker_counts_calls_evaluations_and_copies(tmp_path):
    request = {
        "folder": "folder",
        "latents": str(tmp_path / "latents.safetensors"),
        "out": str(tmp_path / "out.safetensors"),
        "settings": {"scale": 3},
    }
    save_file({TENSOR: torch.ones(2, 4, 8, 8)}, request["latents"])
    said = answer(request, {"folder": Pipeline()})
    assert said["shapes"] == [(2, 4, 8, 8)] * 2
    assert said["copies"] == 1
    assert said["seconds"] >= said["network_seconds"] > 0
    assert torch.equal(load_file(request["out"])[TENSOR], torch.full((2, 4, 8, 8), 3.0))
    assert copy.deepcopy.__module__ == "copy"  # as it was


def test_a_network_is_counted_however_it_is_called():
    network = nn.Bilinear(1, 1, 1)
    with Counted(network) as counted:
        network(torch.ones(3, 1), torch.ones(3, 1))
    network(torch.ones(3, 1), torch.ones(3, 1))
    assert (counted.calls, counted.evaluations) == (1, 3)


# Defects


@pytest.mark.parametrize("case", cases(JOB), ids=lambda case: f"{case.defect}, {case.where}")
def test_every_defect_is_seen_where_it_is_and_not_where_it_is_not(case: Case):
    finding = found(case, Flawed(), Exact())
    if case.figure.__name__ == "distance_from_unprompted":
        assert finding.theirs == 0
        assert finding.ours > 0.1
    elif case.figure.__name__ == "window_side":
        assert finding.theirs == finding.ours == 64  # both fakes say that they saw 64 x 64
    else:
        assert finding.ours == 0
    if "px, which no whole" in case.where:
        assert finding.theirs == 7
    if case.figure.__name__ == "distance_from_alone":
        assert finding.theirs > 0.1
    if "1,000 px" in case.where:
        assert finding.theirs > 0.1  # five uncovered columns do not roll along


def test_what_a_side_raises_takes_the_place_of_its_figure():
    finding = found(cases(JOB)[3], Refusing(), Exact())
    assert (finding.theirs, finding.ours) == (None, 0.0)
    assert finding.said == {"theirs": "RuntimeError: sizes | differ"}


def test_rolled_noise_is_the_noise_rolled():
    rolled = dataclasses.replace(JOB, rolled=STRIDE)
    assert torch.equal(rolled.latents(8, 4), JOB.latents(8, 4).roll(STRIDE, -1))
    assert roll_error(Exact(), JOB) == 0


# Both sides


def test_a_panorama_that_the_views_cover_is_the_pipelines(small, tmp_path):
    small_pipeline().save_pretrained(tmp_path / "model")
    save_file({TENSOR: JOB.latents(8, 4).contiguous()}, tmp_path / "latents.safetensors")
    request = {
        "folder": str(tmp_path / "model"),
        "latents": str(tmp_path / "latents.safetensors"),
        "out": str(tmp_path / "out.safetensors"),
        "settings": arguments_of(JOB, batch=1),
    }
    said = answer(request, {})
    made = Ours(small, same_views).made(JOB)
    assert said["copies"] == 1 + 2 * 2
    assert said["shapes"] == [(2, 4, 64, 64)] * 4
    assert made.timing.shapes == ((4, 4, 64, 64),) * 2
    # Averages after a step of DDIM are steps of the averages, to rounding.
    expected = load_file(request["out"])[TENSOR]
    torch.testing.assert_close(made.images, expected, atol=1e-4, rtol=0)


def test_forward_passes_are_those_of_the_panorama(small):
    collage = Ours(small, DiffCollage)
    timing = collage.made(JOB).timing
    assert Forwards(collage).made(JOB).timing.shapes == timing.shapes


# What is left behind


def row(name: str, *values: float, batch: int | None = None, decoded: bool = False, **changes):
    made = Row.of(name, batch, decoded, TIMING, 1e-5 if name == MULTIDIFFUSION else None)
    for value in values:
        made = made.added(Timing(value, value / 2, TIMING.shapes, 3, 0.25))
    return dataclasses.replace(made, **changes)


@pytest.fixture
def results() -> PeerResults:
    return PeerResults(
        name="peers",
        created="2026-01-02T12:00:00+00:00",
        command="python -m studies.peers",
        settings={
            "canvas": {"height": 512, "width": 2048},
            "num_steps": 50,
            "guidance": 7.5,
            "seed": 0,
        },
        environment={
            "device": "an abacus",
            "threads": 2,
            "python": "3.11.7",
            "versions": {"diffusers": "1.2", "torch": "3.4"},
        },
        peer={
            "python": "3.9",
            "threads": 2,
            "versions": {"diffusers": "0.1", "torch": "0.2", "transformers": None},
        },
        denoiser={"file": "a small random one", "weights_sha256": "0" * 64, "parameters": 1234},
        load=0.25,
        deviation=1.5,
        rows=[
            row(PANORAMA, 4.0, 8.0, 10.0, batch=1),
            row(MULTIDIFFUSION, 2.0, 2.0, 8.0),
            row(PANORAMA, 3.0, 4.0, 5.0, batch=4),
            row(DIFFCOLLAGE, 1.0, 2.0, 3.0),
            row(FORWARDS, 1.0, 1.0, 2.0),
            row(PANORAMA, 5.0, 9.0, 11.0, batch=1, decoded=True),
            row(MULTIDIFFUSION, 5.0, 9.0, 11.0, decoded=True),
        ],
        findings=[
            Finding("columns", "at 1,080 px", "columns", 7.0, 0.0),
            Finding("circles", "above", "roll", None, 1e-6, {"theirs": "RuntimeError: a | b"}),
        ],
    )


def test_counts_are_those_of_the_batches():
    made = row(PANORAMA, batch=1)
    assert (made.calls, made.evaluations, made.copies) == (2, 4, 3)
    assert made.pixels == 2 * 64 * 64 + 2 * 64 * 32


def test_ratios_are_within_a_round(results):
    columns = {column.head: [*map(str, column.cells)] for column in seconds(results, decoded=False)}
    # 2 / 4, 2 / 8, 8 / 10; then 2 / 3, 2 / 4, 8 / 5, the peer's best being its second row.
    assert columns["\N{MULTIPLICATION SIGN} peer at its defaults"][1] == "0.500 [0.375, 0.650]"
    assert columns["\N{MULTIPLICATION SIGN} peer at its best"][1] == "0.667 [0.583, 1.13]"
    assert results.best().batch == 4
    assert columns["views a call"] == ["1", "all", "4", "all"]


def test_the_document_says_what_must_be_known(results):
    said = document(results)
    for part in (
        "2.00 [1.50, 2.50] ",
        " 1.50 [1.25, 1.75] ",  # over its evaluations alone: 1 / 1, 2 / 1, 3 / 2
        " 2.00 [2.00, 2.00] |",  # over its time inside: half of it
        "| columns | at 1,080 px | columns  | 7 ",
        "raises: RuntimeError: a \\| b",
        "2026-01-02; load before it 0.25.",
        "Python 3.9, diffusers 0.1, torch 0.2, transformers None, 2 threads",
        "copies its scheduler 3 times, which takes 0.250 s of its 8.00 s",
    ):
        assert part in said


# The command


def test_an_interrupted_run_goes_on_and_ends_with_the_table(tmp_path, monkeypatch, capsys):
    script = tmp_path / "echo"
    script.write_text(ECHO)
    echo = partial(Worker, script=script)
    monkeypatch.setattr("studies.peers.__main__.Worker", echo)
    made, real = [], Ours.made

    def interrupted(self, job):
        made.append(job)
        if len(made) == 12:  # in the second round, after the warm-up and the first
            raise KeyboardInterrupt
        return real(self, dataclasses.replace(job, decoded=False))

    monkeypatch.setattr(Ours, "made", interrupted)
    words = [
        "canvas.width=512",
        "num_steps=2",
        "repeats=2",
        "batches=[]",
        "defects=false",
        f"results={tmp_path}",
    ]
    assert main(words) == 130
    (folder,) = tmp_path.glob("*-peers")
    assert read_record(PeerResults, folder / "peers.json").rounds == 1
    lock(folder)  # as the same command would, were it still going on
    assert main(words) == 2
    unlock(folder)
    assert main(words) == 0
    (folder,) = tmp_path.glob("*-peers")
    results = read_record(PeerResults, folder / "peers.json")
    assert results.rounds == 2
    assert results.default().seconds == [3, 3]
    assert "## Latents" in capsys.readouterr().out
    assert (folder / TABLE).read_text() == document(results)


@pytest.mark.slow
def test_the_command_measures_both_sides(tmp_path):
    words = ["canvas.width=576", "num_steps=2", "repeats=1", f"results={tmp_path}"]
    assert main(words) == 0
    (folder,) = tmp_path.iterdir()
    results = read_record(PeerResults, folder / "peers.json")
    for each in results.rows:
        assert each.difference is None or each.difference < 1e-4
    assert results.row(MULTIDIFFUSION, None).evaluations == results.default().evaluations
    theirs = [finding.theirs for finding in results.findings]
    ours = [finding.ours for finding in results.findings]
    assert theirs[0] == 7
    assert theirs[1] > 0.1
    assert theirs[2] < 1e-4  # the prompt is lost
    assert theirs[3] is None
    assert "size of tensor" in results.findings[3].said["theirs"]
    assert min(theirs[4], theirs[5]) > 0.1
    assert theirs[6:] == [64, 0.75]
    assert ours[0] == 0
    assert max(ours[1], ours[3], ours[4]) < 1e-4
    assert ours[5] is None
    assert ours[6:] == [32, 0]
