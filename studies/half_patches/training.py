"""The networks of the study, and the denoisers that come of them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from typing_extensions import override

from patchcanvas.bundled import configurations
from studies.training import ROOT, StudyTraining, code_hash

__all__ = ["DATA", "NETWORKS", "Data", "Training", "study_hash"]

CONFIG = configurations("studies") / "half_patches.yaml"
Data = Literal["landscapes", "fields"]

# The two networks by short names: what share of their batches is halves.
NETWORKS: Mapping[str, float] = MappingProxyType({"halves": 0.5, "wholes": 0.0})
# Patches of the fields are small, so that a network comes near to what is exact.
DATA: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "landscapes": (),
        "fields": (
            "--data=studies.half_patches.fields.Fields",
            "--data.patch_size=16",
            "--model.patch_size=16",
            "--model.sigma_data=0.25",
        ),
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(StudyTraining):
    """One network, trained on one kind of patches.

    Args:
        name: Of the data and of the network, a hyphen between.
        steps: Optimizer steps.
        seed: Seeds the weights and all noise.
        folder: Where checkpoints and the exported denoiser go.
    """

    @classmethod
    def of(cls, data: Data, network: str, *, steps: int, seed: int, folder: Path) -> "Training":
        """Returns the training of a network of `NETWORKS` on that data."""
        return cls(name=f"{data}-{network}", steps=steps, seed=seed, folder=folder)

    @property
    @override
    def config(self) -> Path:
        return CONFIG

    @property
    @override
    def own(self) -> list[str]:
        data, _, network = self.name.partition("-")
        return [f"--model.half_share={NETWORKS[network]}", *DATA[data]]


def study_hash() -> str:
    """Returns a hash of what a training depends on: field, network, loss, configuration."""
    folders = ("sampling/noise_levels", "denoisers", "lightning_modules")
    own = (CONFIG, Path(__file__), Path(__file__).with_name("fields.py"))
    return code_hash(folders, *own, ROOT / "studies" / "training.py")
