"""One training of the study, and the denoiser that comes of it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from typing_extensions import override

from patchcanvas.bundled import configurations
from studies.training import ROOT, StudyTraining, code_hash

__all__ = ["SAMPLERS", "Training", "study_hash"]

CONFIG = configurations("studies") / "noise_levels.yaml"
# Every sampler by a short name, with its own settings. All but `shared` cut samples into the same
# regions. `controlled_wide` draws the ends of the range by variability alone.
SAMPLERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shared": ("shared.Shared",),
        "independent": ("independent.Independent",),
        "mean_beta": ("mean_beta.MeanBeta",),
        "ltg": ("ltg.LogitNormalTruncatedGaussian",),
        "controlled": ("controlled.Controlled",),
        "controlled_wide": ("controlled.Controlled", "max_variability=1.0", "waiting_share=0.0"),
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(StudyTraining):
    """One network trained with one sampler of levels, whose short name it has.

    Args:
        name: Short name of the sampler.
        steps: Optimizer steps.
        seed: Seeds the weights and all noise.
        folder: Where checkpoints and the exported denoiser go.
        data: Class path of the data, and its settings.
    """

    data: tuple[str, ...]

    @property
    @override
    def config(self) -> Path:
        return CONFIG

    @property
    @override
    def own(self) -> list[str]:
        path, *settings = SAMPLERS[self.name]
        levels = [f"--model.noise_levels=sampling.noise_levels.{path}"]
        levels += [f"--model.noise_levels.{setting}" for setting in settings]
        levels += ["--model.noise_levels.p_mean=-0.8", "--model.noise_levels.p_std=1.4"]
        if self.name != "shared":
            levels.append("--model.noise_levels.region_multiple=4")
        return [*levels, *self.data]


def study_hash() -> str:
    """Returns a hash of what a training depends on: samplers, network, loss, configuration."""
    folders = ("sampling/noise_levels", "denoisers", "lightning_modules", "studies/noise_levels")
    return code_hash(folders, CONFIG, ROOT / "studies" / "training.py")
