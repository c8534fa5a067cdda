"""What joining windows leaves on a canvas: steps at their borders, and colour that wanders."""

import math

import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

__all__ = ["colour_drift", "seam_ratio"]

Canvases = UInt8[Tensor, "n 3 height width"]

CHUNK = 256  # canvases in flight at once: bounds memory


def seam_ratio(canvases: Canvases, *, columns: list[int], rows: list[int]) -> float:
    """Returns how much larger the step between neighbours is across window borders.

    With `d_c = mean |x[c] - x[c - 1]|` over canvases, channels and rows, and likewise along
    columns for `d_r`,

        ratio = (sum of d over all borders) / (sum over borders of the mean d off the borders),

    where a border is compared with its own axis only; each axis counts in proportion to its
    borders. Without unit: 1 means that borders cannot be told from the rest, 2 that steps across
    them are twice as large. Below 1 the borders are blurred. Where neighbours differ nowhere it
    is 1; where they differ at borders only it is infinite.

    Args:
        canvases: What was generated.
        columns: Border c lies between columns c - 1 and c; borders outside the canvas, which a
            plan larger than the canvas has, are left out, and so are repetitions.
        rows: The same for rows.

    Raises:
        ValueError: If there are no canvases, no border lies inside them, or an axis with borders
            has nothing but borders.
    """
    if not len(canvases):
        raise ValueError("there must be at least 1 canvas, got 0.")
    height, width = canvases.shape[-2:]
    at_borders, expected, found = 0.0, 0.0, 0
    for borders, length, axis in ((columns, width, 3), (rows, height, 2)):
        inside = sorted({border for border in borders if 0 < border < length})
        if not inside:
            continue
        if len(inside) == length - 1:
            raise ValueError(
                f"a canvas of {length} px must have a step that is no border, got {borders}."
            )
        found += len(inside)
        steps = _mean_steps(canvases, axis)
        border = torch.zeros_like(steps, dtype=torch.bool)
        border[torch.tensor(inside) - 1] = True
        at_borders += steps[border].sum().item()
        expected += len(inside) * steps[~border].mean().item()
    if not found:
        raise ValueError(
            f"a border must lie inside the canvas of {height} x {width} px, got "
            f"columns={columns}, rows={rows}."
        )
    if expected == 0:
        return math.inf if at_borders else 1.0
    return at_borders / expected


def colour_drift(canvases: Canvases, *, size: int, distance: int) -> float:
    """Returns how far the mean colour moves over `distance` pixels of width.

    With `m_c` the mean colour of the strip of columns c to c + size - 1, over the full height,

        drift = sqrt(mean (m_(c + distance) - m_c)^2),

    the mean taken over canvases, channels and every position c at which both strips lie inside.
    In units of a pixel in [-1, 1], where black and white are 2 apart. It is 0 at distance 0, and
    says something only beside real crops as wide: the colour of photographs moves too.

    Args:
        canvases: What was generated.
        size: Width of a strip, in pixels.
        distance: Between the strips' left edges, in pixels.

    Raises:
        ValueError: If there are no canvases, `size` is not positive, `distance` is negative, or
            two strips so far apart do not fit.
    """
    if not len(canvases):
        raise ValueError("there must be at least 1 canvas, got 0.")
    if size < 1 or distance < 0 or size + distance > canvases.shape[-1]:
        raise ValueError(
            "need size >= 1, distance >= 0 and size + distance <= width, got "
            f"size={size}, distance={distance}, width={canvases.shape[-1]}."
        )
    strips = torch.cat([_strip_sums(part, size) for part in canvases.split(CHUNK)])
    positions = strips.shape[-1] - distance
    # Sums of integers are exact, and so is their difference: equal strips have no drift at all.
    moved = (strips[..., distance:] - strips[..., :positions]).double()
    return moved.square().mean().sqrt().item() / (127.5 * size * canvases.shape[-2])


def _mean_steps(canvases: Canvases, axis: int) -> Float64[Tensor, " steps"]:
    """Returns the mean absolute step between neighbours at every place along `axis`, in levels."""
    others = [other for other in range(4) if other != axis]
    totals = torch.zeros(canvases.shape[axis] - 1, dtype=torch.int64, device=canvases.device)
    for part in canvases.split(CHUNK):
        totals += part.to(torch.int16).diff(dim=axis).abs().sum(others, dtype=torch.int64)
    return totals.double() / (canvases.numel() // canvases.shape[axis])


def _strip_sums(canvases: Canvases, size: int) -> Int64[Tensor, "n 3 positions"]:
    totals = canvases.sum(2, dtype=torch.int64).cumsum(-1)
    totals = torch.cat([torch.zeros_like(totals[..., :1]), totals], dim=-1)
    return totals[..., size:] - totals[..., :-size]
