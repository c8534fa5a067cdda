"""What the settings of all measuring programs are made of, beside those of all commands."""

import dataclasses
from pathlib import Path
from typing import Literal

from patchcanvas.cli.settings import ResultsSettings

__all__ = ["ExperimentSettings", "ReferenceSettings", "StrategySettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentSettings(ResultsSettings):
    """What is shared by the programs that keep a record of what they measure.

    Args:
        name: Name of the run.
    """

    name: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategySettings(ExperimentSettings):
    """What is shared by those that measure strategies.

    Args:
        strategy: Name of a strategy, several with commas between, or `all`; or the dotted path of
            a class of your own. A strategy's own settings are `name.setting=value`, for example
            diffcollage.overlap=8.
    """

    strategy: str = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceSettings:
    """What is shared by those that compare images with real ones.

    Args:
        num_reference: Real crops that FID+, the Frechet distance of crops, compares with.
        features: Network behind FID+: `random_conv` needs no weights; `inception` is the field's
            and needs a download or features_weights.
        features_weights: Local file with the weights of `inception`.
    """

    num_reference: int = 2000
    features: Literal["random_conv", "inception"] = "random_conv"
    features_weights: Path | None = None
