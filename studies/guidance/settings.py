"""Every setting of the guidance benchmark, with its unit and its default."""

import dataclasses

from benchmarks.inpainting.settings import CompletionSettings
from patchcanvas.cli.keys import chosen

__all__ = ["BRANCHES", "GuidanceSettings"]

BRANCHES = ("current_level", "pure_noise")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuidanceSettings(CompletionSettings):
    """The left half of held-out images is given; the right one is made under input guidance.

    Args:
        strategy: Name of a strategy with a setting `guidance`, or the dotted path of a class of
            your own. Its other settings are `name.setting=value`, for example
            async_patch.schedule=wavefront.
        weights: Weights of guidance, ascending; 1 is none.
        weak_branches: What the weak branch sees of the given half, several with commas between:
            `current_level`, that half noised to the level of the other; `pure_noise`, nothing.
        equal_steps: Whether guided rows are measured with the steps of the row without guidance
            too, at about twice the budget.
    """

    strategy: str = "async_patch"
    weights: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
    weak_branches: str = ",".join(BRANCHES)
    equal_steps: bool = False
    name: str = "guidance"

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen("weak_branches", self.weak_branches, BRANCHES)
        ascending = sorted(set(self.weights))
        if not self.weights or ascending != list(self.weights) or ascending[0] < 0:
            raise ValueError(
                f"weights must be numbers of at least 0 in ascending order, got "
                f"{list(self.weights)}."
            )
        if "," in self.strategy or self.strategy == "all":
            raise ValueError(f"strategy must name a single one, got {self.strategy}.")
