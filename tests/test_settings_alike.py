"""One name for one thing: what the settings of all programs have in common."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.comparison.settings import Settings
from benchmarks.evaluation.settings import EvaluationSettings
from benchmarks.experiment.settings import ExperimentSettings
from benchmarks.inpainting.__main__ import main as inpainting
from benchmarks.inpainting.records import CompletionResults
from benchmarks.inpainting.settings import InpaintingSettings
from benchmarks.latency.__main__ import main as latency
from benchmarks.latency.records import LatencyResults
from benchmarks.latency.settings import LatencySettings
from benchmarks.oracle.settings import OracleSettings
from denoisers.pretrained.stand_ins import sd_pipeline
from patchcanvas.cli.keys import keys_of
from patchcanvas.cli.settings import RunSettings, SolverSettings
from patchcanvas.generating.settings import GenerateSettings
from patchcanvas.outpainting.settings import OutpaintSettings
from patchcanvas.records import read_record
from patchcanvas.streaming.settings import StreamSettings
from studies.guidance.settings import GuidanceSettings
from studies.peers.settings import PeerSettings

WITH_DENOISERS = [Settings, LatencySettings, InpaintingSettings, GuidanceSettings]
WITH_DENOISERS += [GenerateSettings, OutpaintSettings, StreamSettings]
MEASURING = [*WITH_DENOISERS[:4], OracleSettings, EvaluationSettings, PeerSettings]
ALL = [*WITH_DENOISERS, OracleSettings, EvaluationSettings, PeerSettings]
# Words of groups, `canvas.height` and so on, and words that were given up for another.
ELSEWHERE = {
    *("height", "width", "wrap_height", "precision", "compile", "max_batch", "window_batch"),
    *("offload", "channels_last", "budgets", "latency_repeats", "num_canvases"),
}
own = pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.__name__)


def test_programs_share_their_bases():
    assert all(issubclass(settings, RunSettings) for settings in WITH_DENOISERS)
    assert all(issubclass(settings, ExperimentSettings) for settings in MEASURING)
    assert issubclass(OracleSettings, SolverSettings)


@own
def test_what_has_a_group_has_no_name_of_its_own(settings):
    # What a folder of images is to be measured for is no canvas: it says `wrap_height` of them.
    allowed = {"wrap_height"} if settings is EvaluationSettings else set()
    assert not {field.name for field in dataclasses.fields(settings)} & (ELSEWHERE - allowed)


@own
def test_every_setting_is_explained_where_help_looks_for_it(settings):
    for key in keys_of(settings):
        *groups, name = key.split(".")
        owner = settings
        for group in groups:
            owner = keys_of(owner)[group]
        said = "".join(base.__doc__ or "" for base in owner.__mro__)
        assert f" {name}: " in said, key


@pytest.fixture(scope="module")
def latents(tmp_path_factory) -> Path:
    """A small Stable Diffusion: patches of 8 latent pixels."""
    folder = tmp_path_factory.mktemp("models") / "latents"
    sd_pipeline(side=8).save_pretrained(folder)
    return folder


def test_latency_is_told_of_a_pretrained_model_in_its_own_pixels(latents, tmp_path):
    words = [f"denoiser=diffusers:{latents}", f"results={tmp_path}", "device=cpu", "repeats=3"]
    words += ["widths=[1,2]", "strategy=naive,reconstruction", "batches=[1]", "solver.num_steps=2"]
    assert latency(words) == 0
    (file,) = tmp_path.glob("*/latency.json")
    points = read_record(LatencyResults, file).points
    assert [point.canvas for point in points] == [(8, 8)] * 2 + [(8, 16)] * 2
    # Two steps of Heun on every window; those of reconstruction overlap by half.
    assert [point.nfe_per_pixel for point in points] == [3, 3, 3, 4.5]


def test_a_pretrained_model_completes_images_within_the_budget(latents, tmp_path):
    words = [f"denoiser=diffusers:{latents}", f"results={tmp_path}", "device=cpu", "budget=8"]
    words += ["strategy=replacement,reconstruction", "masks=half", "num_samples=3", "pairs=2"]
    assert inpainting([*words, "num_reference=4", "batch_size=2", "pictures=1"]) == 0
    (file,) = tmp_path.glob("*/completions.json")
    _, *rows = read_record(CompletionResults, file).rows
    # A step more would take 9, and 10.
    assert [(row.steps, row.evaluations, row.gradients) for row in rows] == [(4, 7, 0), (2, 3, 3)]
