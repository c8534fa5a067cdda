"""Schedules of maps: which regions of a window go down, step by step.

A map gives every pixel a level of one noise schedule sigma_0 > ... > sigma_T = 0, and no pixel ever
goes up. Some noise schedules are known beforehand; others are made while the solver walks them, by
what a denoiser has said of its own certainty until then (`strategies.uncertainty`). How many steps
there are is known beforehand in either case, and is the same for all windows of a batch.

References:
    [AP] AsyncPatch Diffusion: spatially-flexible image generation, 2026. arXiv:2606.07079
    [PF] Schusterbauer, Gui, Li, Ma, Krause, Ommer: Denoising, Fast and Slow: Difficulty-Aware
    Adaptive Sampling for Image Generation, 2026. arXiv:2604.19141
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from denoisers.contract import Mask
from strategies.uncertainty import Noticing, Regions, first_ones, part_of, resolved

__all__ = ["by_certainty", "distances", "fast_and_slow", "staggered"]

Fronts = Int64[Tensor, "samples 1 rows columns"]
Map = Float[Tensor, "samples 1 rows columns"]


def distances(known: Mask, region: int) -> Fronts:
    """Returns how many fronts of `region` px lie between a pixel and what is known.

    0 for the front next to it, measured along the longer axis. From the middle of the window
    where nothing is known. Known pixels belong to the last front: guidance shows them to its weak
    branch at the highest level that is still there.
    """
    height, width = known.shape[-2:]
    middle = torch.zeros_like(known)
    middle[..., (height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1] = True
    nothing = ~known.any(-1, keepdim=True).any(-2, keepdim=True)
    reached = (known | (nothing & middle)).float()
    fronts, front = torch.zeros_like(known, dtype=torch.int64), 0
    while not reached.all():
        grown = F.max_pool2d(reached, 2 * region + 1, stride=1, padding=region)
        fronts[grown > reached] = front
        reached, front = grown, front + 1
    return torch.where(known, fronts.amax((1, 2, 3), keepdim=True), fronts)


def staggered(sigmas: Float[Tensor, " levels"], fronts: Fronts, lag: int) -> Iterator[Map]:
    """Yields a schedule of maps: front k goes down `sigmas`, `k lag` steps after front 0.

    Before its start a front waits at the first level, after its end at the last.
    """
    fronts, last = fronts.cpu(), len(sigmas) - 1
    for step in range(last + int(fronts.max()) * lag + 1):
        yield sigmas[(step - lag * fronts).clamp(0, last)]


def by_certainty(
    sigmas: Float[Tensor, " levels"],
    regions: Regions,
    noticing: Noticing,
    *,
    steps: int,
    lead: int,
) -> Iterator[Map]:
    """Yields a schedule of maps, `steps` steps long: the most certain regions go down first ([AP]).

    Of a window with n regions and T levels to go down, floor((k + 1) n T / steps) -
    floor(k n T / steps) regions go down one level at step k, n T / steps of them but for rounding.
    Of those that may, they are the ones with the least mean posterior variance as the denoiser
    gave it last; at the first step, before it has said anything, those nearest to what is known,
    and so wherever variances are `resolved` to the same.

    A region must go down where it has as many levels to go as there are steps left, and waits
    where it is `lead` levels below the highest, unless all the others that may go already do. So
    no region is ever more than `lead` levels below another, all end at the last level, and
    never more must go than is their number at that step: what must go is at the highest level, and
    as n T levels are dealt out evenly, what is left of them is at least what these still need.

    Args:
        sigmas: The levels of a region, from the highest down.
        regions: What goes down together.
        noticing: Wraps the denoiser of the solver that walks this noise schedule.
        steps: At least one for each level to go down.
        lead: At least 1.
    """
    levels = len(sigmas) - 1
    sigmas = sigmas.cpu()
    places = torch.zeros_like(regions.nearness)
    total = levels * regions.active.sum(1)
    yield regions.map(sigmas, places)
    for step in range(steps):
        count = (step + 1) * total // steps - step * total // steps
        highest = places.where(regions.active, levels).amin(1, keepdim=True)
        done = ~regions.active | (places == levels)
        waits = places - highest >= lead
        must = levels - places == steps - step
        group = (1 + waits.long()).masked_fill(must, 0).masked_fill(done, 3)
        places = places + first_ones(count, group, certainty(regions, noticing), regions.nearness)
        noticing.heard.clear()
        yield regions.map(sigmas, places)


def fast_and_slow(
    sigmas: Float[Tensor, " levels"],
    regions: Regions,
    noticing: Noticing,
    *,
    inner: int,
    share: float,
) -> Iterator[Map]:
    """Yields a schedule of maps: certain regions leap, the others follow ([PF] dual loop).

    An outer step begins with all regions at one level. The most certain ones, floor(`share` n) of
    n but at least one of two or more, go down `inner` levels at one step; then the others go down
    the same levels in `inner` steps, and see the certain ones where they will be. Every T levels
    cost T / inner (1 + inner) steps.

    Who is certain is decided by the variance that the denoiser gave where the outer step before
    this one began: there all regions were at one level, so that going down earlier has made none
    of them certain. In the first, which has none before it, by the distance to what is known.

    Args:
        sigmas: The levels of a region, from the highest down; `inner` divides the number of steps.
        regions: What goes down together.
        noticing: Wraps the denoiser of the solver that walks this noise schedule.
        inner: Levels of an outer step.
        share: Share of the regions that are certain.
    """
    sigmas = sigmas.cpu()
    places = torch.zeros_like(regions.nearness)
    count = part_of(regions.active.sum(1), share)
    said = torch.zeros_like(places)
    yield regions.map(sigmas, places)
    for _ in range((len(sigmas) - 1) // inner):
        certain = first_ones(count, (~regions.active).long(), said, regions.nearness)
        noticing.heard.clear()
        places = places + inner * certain
        yield regions.map(sigmas, places)
        said = resolved(regions.means(noticing.heard[0])).cpu()
        for _ in range(inner):
            places = places + ~certain
            yield regions.map(sigmas, places)


def certainty(regions: Regions, noticing: Noticing) -> Int64[Tensor, "samples regions"]:
    """Returns the last variance of every region, resolved; the same for all before there is one."""
    if not noticing.heard:
        return torch.zeros_like(regions.nearness)
    return resolved(regions.means(noticing.heard[-1])).cpu()
