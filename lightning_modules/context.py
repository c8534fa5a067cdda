"""How training shows contexts: views of a whole scene, and windows cut from them.

A sample is a view, `view` px large. A window of it is what the network denoises, and what it is
told beside is made of the view: tokens of a frozen backbone, a guide, the window's place, which of
its pixels are known. Each of them is left out of a share of the samples, so that one model does
with it and without.

References:
    [T] Trio Diffusion (v2): autoregressive infinite image generation with diffusion models
    [CFG] Ho, Salimans: Classifier-Free Diffusion Guidance, 2022. arXiv:2207.12598
"""

import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from backbones.contract import Backbone
from denoisers.conditions import Conditions, Taken
from denoisers.contract import Image, Mask
from denoisers.guide import Share, filled, pooled
from lightning_modules.guides import Guide, PlanGuide

__all__ = ["ContextTraining", "Examples", "cut", "places"]

Corners = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Examples:
    """Windows to learn from.

    Args:
        x0: The windows.
        conditions: What the network is told of them.
        known: Which of their pixels are given, and have nothing to teach; None for none.
    """

    x0: Float[Tensor, "batch channels height width"]
    conditions: Conditions
    known: Bool[Tensor, "batch 1 height width"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextTraining:
    """Which contexts a network is trained with, and how often each is left out.

    Args:
        view: Height and width of the views, in pixels, at least a patch each.
        views: How many different views there are; None for as many as training asks for.
        backbone: Makes tokens of a view; frozen. None for no tokens.
        token_dropout: Share of the samples without tokens, in [0, 1], for guidance ([CFG]).
        partial_share: Share of the samples, in [0, 1], whose backbone and guide see only what
            stands before the window when true windows are laid row by row, as in autoregressive
            sampling: teacher forcing. The others are shown the whole view.
        guide: The guide of the windows; None for none.
        plan_share: Share of the batches, in [0, 1], that are plans: whole views at the scale of the
            guide, which must be a `PlanGuide`, and make one patch.
        quadrant_share: Share of the batches of whole patches, in [0, 1], in which quadrants are
            known and the rest alone is learnt: the 2 x 2 inpainting of [T], with fewer known in
            the first row and the first column.
        both_ways: Whether what is known lies as often to the right and below as to the left and
            above: for strategies that grow outwards. [T] grows to the right and down.
        clean_share: Share of these whose known quadrants are clean, at level 0; in the others they
            carry noise of the level of the rest, as RePaint shows them. For a network of maps.
        known_noise: Known quadrants that a network made are not perfect. Noise of a standard
            deviation from 0 to this is added to the true ones, for images in [-1, 1].
    """

    view: tuple[int, int]
    views: int | None = None
    backbone: Backbone | None = None
    token_dropout: float = 0.1
    partial_share: float = 0.0
    guide: Guide | None = None
    plan_share: float = 0.0
    quadrant_share: float = 0.0
    both_ways: bool = True
    clean_share: float = 0.5
    known_noise: float = 0.0

    def __post_init__(self) -> None:
        shares = ("token_dropout", "partial_share", "plan_share", "quadrant_share", "clean_share")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}.")
        if self.known_noise < 0:
            raise ValueError(f"known_noise must be at least 0, got {self.known_noise}.")
        if self.views is not None and self.views < 1:
            raise ValueError(f"views must be at least 1, got {self.views}.")
        if self.plan_share and not isinstance(self.guide, PlanGuide):
            raise ValueError(
                "plan_share needs a guide that plans can be: set guide to a PlanGuide."
            )

    def validate_fit(self, takes: frozenset[Taken], features: int, patch_size: int) -> None:
        """Checks that a network takes what it is to be told.

        Raises:
            ValueError: If it takes less or more, or a view does not hold its patches.
        """
        for part, given, flag in (
            ("tokens", self.backbone is not None, "model.network.token_features"),
            ("guide", self.guide is not None, "model.network.guide"),
            ("plan", self.plan_share > 0, "model.network.modes"),
            ("known", self.quadrant_share > 0, "model.network.known_channel"),
        ):
            if given != (part in takes):
                raise ValueError(
                    f"model.context and the network must go together: {flag} says that it "
                    f"{'takes' if part in takes else 'does not take'} {part}, but the context "
                    f"{'tells' if given else 'does not tell'} them."
                )
        if self.backbone is not None and self.backbone.features != features:
            raise ValueError(
                f"model.network.token_features must be {self.backbone.features}, the width of the "
                f"backbone's tokens, got {features}."
            )
        if min(self.view) < patch_size:
            raise ValueError(
                f"model.context.view must hold a patch of {patch_size} px, got {self.view}."
            )
        if self.plan_share and isinstance(self.guide, PlanGuide):
            scale = self.guide.scale
            needed = patch_size * scale[0], patch_size * scale[1]
            if tuple(self.view) != needed:
                raise ValueError(
                    f"a plan of a view at the scale {scale} must be one patch, so model.context."
                    f"view must be {needed}, got {tuple(self.view)}."
                )

    def __deepcopy__(self, memo: dict[int, Any]) -> "ContextTraining":
        """Returns itself: nothing of it changes, and a backbone is too large to be copied."""
        return self

    @property
    def held_out(self) -> "ContextTraining":
        """The same with everything told to every sample, as validation shows it."""
        guide = None if self.guide is None else dataclasses.replace(self.guide, share=1.0)
        nothing: dict[str, Any] = dict.fromkeys(
            ("token_dropout", "partial_share", "plan_share", "quadrant_share"), 0.0
        )
        return dataclasses.replace(self, guide=guide, **nothing)

    @property
    def description(self) -> dict[str, Any]:
        """What sampling must know to tell a network the like."""
        guide = {} if self.guide is None else self.guide.description
        backbone = None if self.backbone is None else self.backbone.description
        plans = self.plan_share > 0
        return {"view": list(self.view), "backbone": backbone, "plans": plans, **guide}

    def examples(
        self, view: Image, size: tuple[int, int], progress: float, generator: Generator
    ) -> Examples:
        """Returns one window of each view.

        Args:
            view: The views.
            size: Height and width of the windows, in pixels: a patch, or half of one.
            progress: How much of training is done, in [0, 1].
            generator: Draws what is random, on the CPU.
        """
        if _chance(self.plan_share, generator) and isinstance(self.guide, PlanGuide):
            return self._plans(view, self.guide.scale, size, generator)
        shape = view.shape[-2], view.shape[-1]
        corners = places(len(view), shape, size, generator)
        painted, known = self._painted(corners, shape, size, generator)
        partial = torch.rand(len(view), generator=generator) < self.partial_share
        mask = (painted | ~partial.view(-1, 1, 1, 1)).to(view.device)
        inpainted = size[0] == size[1] and _chance(self.quadrant_share, generator)
        given = known.to(view.device) if inpainted else None
        conditions = Conditions(
            place=shares_of(corners, shape, size).to(view),
            known=torch.zeros(len(view), 1, *size).to(view) if given is None else given.to(view),
            plan=torch.zeros(len(view), dtype=torch.bool, device=view.device),
            **self._tokens(view, mask, generator),
            **self._guides(view, mask, corners, size, progress, generator),
        )
        return Examples(cut(view, corners, size), conditions, given)

    def _painted(
        self,
        corners: Corners,
        view: tuple[int, int],
        size: tuple[int, int],
        generator: Generator,
    ) -> tuple[Mask, Bool[Tensor, "batch 1 rows columns"]]:
        """Returns what is painted of the views before the windows, and of the windows themselves.

        Growth to the left is growth to the right in a mirror.
        """
        mirrored = torch.rand(2, len(corners), generator=generator) < 0.5 * self.both_ways
        tops, lefts = torch.tensor(corners).mT
        tops = torch.where(mirrored[0], view[0] - size[0] - tops, tops)
        lefts = torch.where(mirrored[1], view[1] - size[1] - lefts, lefts)
        seen = list(zip(tops.tolist(), lefts.tolist(), strict=True))
        painted = painted_before(seen, view, size)
        known = known_quadrants(seen, size)
        return _mirrored(painted, mirrored), _mirrored(known, mirrored)

    def noised(self, example: Examples, generator: Generator) -> Image:
        """Returns the windows with the noise that known quadrants get."""
        x0 = example.x0
        if example.known is None or not self.known_noise:
            return x0
        amount = self.known_noise * torch.rand(len(x0), 1, 1, 1, generator=generator)
        error = amount * torch.randn(x0.shape, generator=generator)
        return torch.where(example.known, x0 + error.to(x0), x0)

    def _plans(
        self, view: Image, scale: tuple[int, int], size: tuple[int, int], generator: Generator
    ) -> Examples:
        whole = torch.ones(1, 1, *view.shape[-2:], dtype=torch.bool, device=view.device)
        plan, _ = pooled(view, whole, scale)
        shape = plan.shape[-2], plan.shape[-1]
        corners = places(len(view), shape, size, generator)
        conditions = Conditions(
            place=shares_of(corners, shape, size).to(view),
            known=torch.zeros(len(view), 1, *size).to(view),
            plan=torch.ones(len(view), dtype=torch.bool, device=view.device),
            **self._tokens(view, whole, generator),
            **_no_guide(view, size),
        )
        return Examples(cut(plan, corners, size), conditions)

    def _tokens(self, view: Image, mask: Mask, generator: Generator) -> dict[str, Tensor]:
        if self.backbone is None:
            return {}
        kept = torch.rand(len(view), generator=generator) >= self.token_dropout
        seen = mask.expand(len(view), -1, -1, -1).flatten(1).any(1)
        with torch.no_grad(), torch.autocast(view.device.type, enabled=False):
            # Lightning moves a network after its set-up, and a backbone is no part of it.
            tokens = self.backbone.to(view.device)(filled(view, mask))
        return {"tokens": tokens, "given": kept.to(view.device) & seen}

    def _guides(
        self,
        view: Image,
        mask: Mask,
        corners: Corners,
        size: tuple[int, int],
        progress: float,
        generator: Generator,
    ) -> dict[str, Tensor]:
        if self.guide is None:
            return {}
        guide, guided = self.guide.shown(view, mask, progress, generator)
        shown = torch.rand(len(view), 1, 1, 1, generator=generator) < self.guide.share
        guided = guided * shown.to(view)
        return {"guide": cut(guide, corners, size), "guided": cut(guided, corners, size)}


def places(
    batch: int, view: tuple[int, int], size: tuple[int, int], generator: Generator
) -> Corners:
    """Returns the top left corners of windows, evenly over where they fit."""
    tops, lefts = (
        torch.randint(length - side + 1, (batch,), generator=generator).tolist()
        for length, side in zip(view, size, strict=True)
    )
    return list(zip(tops, lefts, strict=True))


def cut(
    view: Image | Share, corners: Corners, size: tuple[int, int]
) -> Float[Tensor, "batch channels rows columns"]:
    """Returns the window of each view."""
    return torch.stack(
        [
            image[:, top : top + size[0], left : left + size[1]]
            for image, (top, left) in zip(view, corners, strict=True)
        ]
    )


def shares_of(
    corners: Corners, view: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "batch 4"]:
    """Returns the edges of windows as shares of their views, in [-1, 1]."""
    starts = torch.tensor(corners, dtype=torch.float32)
    ends = starts + torch.tensor(size)
    return 2 * torch.cat([starts, ends], dim=1) / torch.tensor([*view, *view]) - 1


def known_quadrants(
    corners: Corners, size: tuple[int, int]
) -> Bool[Tensor, "batch 1 height width"]:
    """Returns which pixels of a block are known when blocks are laid row by row.

    All but the bottom right quadrant; of blocks at the top the left half, of blocks at the left the
    top half, of the first block nothing.
    """
    known = torch.zeros(len(corners), 1, *size, dtype=torch.bool)
    for block, (top, left) in zip(known, corners, strict=True):
        block[:, : size[0] // 2] |= top > 0
        block[:, :, : size[1] // 2] |= left > 0
    return known


def painted_before(
    corners: Corners, view: tuple[int, int], size: tuple[int, int]
) -> Bool[Tensor, "batch 1 view_height view_width"]:
    """Returns what half-overlapping blocks, laid row by row, have painted before a block's turn."""
    painted = torch.zeros(len(corners), 1, *view, dtype=torch.bool)
    for image, (top, left) in zip(painted, corners, strict=True):
        image[:, : top + size[0] // 2] |= top > 0
        image[:, : top + size[0], : left + size[1] // 2] |= left > 0
    return painted


def _mirrored(mask: Mask, mirrored: Bool[Tensor, "2 batch"]) -> Bool[Tensor, "batch 1 _ _"]:
    """Turns each mask upside down, or left to right, if it is so chosen."""
    down, across = mirrored.view(2, -1, 1, 1, 1)
    mask = mask.flip(2).where(down, mask)
    return mask.flip(3).where(across, mask)


def _no_guide(view: Image, size: tuple[int, int]) -> dict[str, Tensor]:
    shape = len(view), view.shape[1], *size
    return {"guide": view.new_zeros(shape), "guided": view.new_zeros(len(view), 1, *size)}


def _chance(share: float, generator: Generator) -> bool:
    return bool(torch.rand((), generator=generator) < share)
