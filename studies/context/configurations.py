"""The configurations of the ablation, and how each is trained.

References:
    [T] Trio Diffusion (v2): autoregressive infinite image generation with diffusion models,
    "Ablation: systematic experiment summary"
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from typing_extensions import override

from backbones.catalogue import build
from backbones.contract import Backbone
from patchcanvas.bundled import configurations
from studies.training import ROOT, StudyTraining, code_hash

__all__ = ["CONFIGURATIONS", "Configuration", "Scale", "Training", "study_hash"]

Scale = Literal["small", "full"]
CONFIGS: Mapping[Scale, Path] = MappingProxyType(
    {
        "small": configurations("studies") / "context.yaml",
        "full": configurations("studies") / "context_full.yaml",
    }
)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One row of the ablation.

    Args:
        backbone: Short name of the backbone, or none.
        position: Whether the network is told where its windows lie: by the coordinates of every
            pixel, and by sinusoidal codes on the tokens where there are tokens.
        more_data: Whether it is trained on the larger number of views.
        gate: Where its gates begin.
        fading_guide: Whether windows are guided by the whole view under a blur that grows until
            there is no guide ([T], C27). Sampling knows no guide.
    """

    backbone: Literal["clip", "dino", "downsampled"] | None
    position: bool = True
    more_data: bool = False
    gate: float = 0.5
    fading_guide: bool = False


# The five of [T], by what they try; then what a backbone without weights has to say, the same
# behind gates that begin at 0, and the scaffold that [T] took to mend its seams.
CONFIGURATIONS: Mapping[str, Configuration] = MappingProxyType(
    {
        "clip": Configuration("clip", more_data=True),
        "dino": Configuration("dino"),
        "dino_more_data": Configuration("dino", more_data=True),
        "no_backbone": Configuration(None),
        "no_backbone_no_position": Configuration(None, position=False),
        "downsampled": Configuration("downsampled"),
        "downsampled_gate_0": Configuration("downsampled", gate=0.0),
        "fading_guide": Configuration(None, fading_guide=True),
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(StudyTraining):
    """One network of the ablation, whose configuration it is called by.

    Args:
        name: Of the configuration.
        steps: Optimizer steps.
        seed: Seeds the weights and all noise.
        folder: Where checkpoints and the exported denoiser go.
        scale: `small` trains here, `full` at the size of [T].
        views: Views in training, and of those configurations that have more.
        weights: Where the weights of `clip` and of `dino` lie: folders, or names on the hub.
        data: Flags that choose the data.
    """

    scale: Scale
    views: tuple[int, int]
    weights: Mapping[str, str]
    data: tuple[str, ...]

    @property
    def configuration(self) -> Configuration:
        """What is trained."""
        return CONFIGURATIONS[self.name]

    @property
    def backbone(self) -> Backbone | None:
        """The frozen backbone, which is made or loaded here and now."""
        settings = self._backbone_settings
        return None if settings is None else build(settings)

    @property
    @override
    def config(self) -> Path:
        return CONFIGS[self.scale]

    @property
    @override
    def own(self) -> list[str]:
        configuration, network = self.configuration, "--model.network.init_args"
        words = [f"--model.context.views={self.views[configuration.more_data]}"]
        if configuration.position:
            words.append(f"{network}.position=coordinates")
        if configuration.fading_guide:
            words += [
                f"{network}.guide=true",
                "--model.context.guide=lightning_modules.guides.FadingGuide",
            ]
        settings = self._backbone_settings
        if settings is not None:
            backbone = build(settings)
            words += [
                f"--model.context.backbone={settings['class_path']}",
                *(
                    f"--model.context.backbone.init_args.{name}={value}"
                    for name, value in settings["init_args"].items()
                ),
                f"{network}.token_features={backbone.features}",
                f"{network}.gate={configuration.gate}",
            ]
            if configuration.position:
                words.append(f"{network}.token_grid=[{backbone.grid[0]},{backbone.grid[1]}]")
        return [*words, *self.data]

    @property
    def _backbone_settings(self) -> dict[str, Any] | None:
        name = self.configuration.backbone
        if name is None:
            return None
        if name == "downsampled":
            return {"class_path": "backbones.downsampled.Downsampled", "init_args": {}}
        # All of a view is shown, not the square in its middle.
        settings = {"model": self.weights[name], "fit": "squash"}
        return {
            "class_path": f"backbones.{name}.{name.capitalize()}",
            "init_args": settings,
        }


def study_hash(scale: Scale) -> str:
    """Returns a hash of what a training depends on: data, network, contexts, loss, settings."""
    folders = (
        "backbones",
        "datamodules",
        "denoisers",
        "lightning_modules",
        "sampling/noise_levels",
    )
    return code_hash(folders, CONFIGS[scale], Path(__file__), ROOT / "studies" / "training.py")
