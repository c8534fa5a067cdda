"""Coarse pictures against loops over their cells and pixels."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from denoisers.guide import blurred, coarse_guide, filled, guide_from_plan, pooled

# Sums of some ten numbers of order 1, in float64.
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}
SIZES = [((8, 12), (4, 4)), ((9, 11), (4, 3)), ((5, 7), (2, 8)), ((6, 6), (1, 1))]
every_size = pytest.mark.parametrize(("size", "scale"), SIZES)


def picture(size: tuple[int, int], share: float = 0.4) -> tuple[Tensor, Tensor]:
    """Two images, a part of each known; what is not known is not a number."""
    mask = torch.rand(2, 1, *size) < share
    image = torch.randn(2, 3, *size).double()
    return image.where(mask, math.nan), mask


def cells(image: Tensor, mask: Tensor, scale: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Means of the known pixels and shares that are known, cell by cell; nothing is 0."""
    rows, columns = (-(-a // b) for a, b in zip(image.shape[-2:], scale, strict=True))
    means = torch.zeros(*image.shape[:2], rows, columns).double()
    shares = torch.zeros(len(image), 1, rows, columns).double()
    for k in range(len(image)):
        for i in range(rows):
            for j in range(columns):
                part = (
                    slice(i * scale[0], (i + 1) * scale[0]),
                    slice(j * scale[1], (j + 1) * scale[1]),
                )
                known = mask[k, 0][part]
                shares[k, 0, i, j] = known.double().mean()
                if known.any():
                    means[k, :, i, j] = image[k][:, *part][:, known].mean(1)
    return means, shares


def enlarged(values: Tensor, scale: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Straight lines between the middles of cells, and level beyond the outermost."""

    def along(length: int, side: int, count: int) -> Tensor:
        weights = torch.zeros(length, count).double()
        for pixel in range(length):
            at = min(max((pixel + 0.5) / side - 0.5, 0.0), count - 1.0)
            low = min(int(at), count - 1)
            weights[pixel, low] += 1 - (at - low)
            weights[pixel, min(low + 1, count - 1)] += at - low
        return weights

    down = along(size[0], scale[0], values.shape[-2])
    across = along(size[1], scale[1], values.shape[-1])
    return torch.einsum("pi,bcij,qj->bcpq", down, values, across)


@every_size
def test_cells_are_the_means_of_what_is_known_of_them(size, scale):
    image, mask = picture(size)
    for made, expected in zip(pooled(image, mask, scale), cells(image, mask, scale), strict=True):
        torch.testing.assert_close(made, expected, **ROUNDING)


def test_a_pixel_is_known_when_all_its_channels_are():
    mask = torch.ones(1, 3, 4, 4, dtype=torch.bool)
    mask[:, 1, 0] = False
    image = torch.randn(1, 3, 4, 4).double()
    means, share = pooled(image, mask, (4, 4))
    assert share.item() == 0.75
    torch.testing.assert_close(means[0, :, 0, 0], image[0, :, 1:].mean((1, 2)), **ROUNDING)


@every_size
def test_a_guide_weighs_cells_by_what_is_known_of_them(size, scale):
    image, mask = picture(size)
    means, shares = cells(image, mask, scale)
    guided = enlarged(shares, scale, size)
    guide = enlarged(means * shares, scale, size) / guided
    made, said = coarse_guide(image, mask, scale)
    torch.testing.assert_close(said, guided, **ROUNDING)
    assert made.isfinite().all()
    torch.testing.assert_close(made, guide.where(guided > 0, 0.0), rtol=1e-9, atol=1e-9)


@every_size
def test_a_guide_says_nothing_of_what_is_far_from_all_that_is_known(size, scale):
    image, mask = picture(size)
    mask[0] = False
    made, said = coarse_guide(image, mask, scale)
    assert not made[0].any()
    assert not said[0].any()


@pytest.mark.parametrize(("size", "scale"), [((8, 12), (4, 4)), ((6, 20), (2, 5))])
def test_of_a_whole_picture_it_is_the_interpolation_of_its_means(size, scale):
    image, mask = torch.randn(2, 3, *size).double(), torch.ones(1, 1, *size, dtype=torch.bool)
    means = F.avg_pool2d(image, scale)
    expected = F.interpolate(means, size=size, mode="bilinear", align_corners=False)
    made, said = coarse_guide(image, mask, scale)
    torch.testing.assert_close(made, expected, **ROUNDING)
    assert torch.equal(said, torch.ones(2, 1, *size).double())
    plan, share = pooled(image, mask, scale)
    torch.testing.assert_close(plan, means, **ROUNDING)
    assert (share == 1).all()
    # The guide of a plan is the guide of the picture that it is a plan of.
    torch.testing.assert_close(guide_from_plan(plan, scale, size), made, **ROUNDING)


@every_size
def test_a_plan_is_enlarged_between_the_middles_of_its_cells(size, scale):
    count = [-(-a // b) + 1 for a, b in zip(size, scale, strict=True)]
    plan = torch.randn(2, 3, *count).double()
    torch.testing.assert_close(
        guide_from_plan(plan, scale, size), enlarged(plan, scale, size), **ROUNDING
    )


@pytest.mark.parametrize("size", [(9, 8), (8, 9)])
def test_a_plan_that_does_not_cover_the_canvas_is_refused(size):
    message = rf"must cover the canvas of {size[0]} x {size[1]} px, got one of 8 x 8 px\."
    with pytest.raises(ValueError, match=message):
        guide_from_plan(torch.zeros(1, 3, 2, 4), (4, 2), size)


def test_what_is_not_known_is_filled_with_the_mean_of_what_is():
    image, mask = picture((5, 7))
    mask[1] = False
    made = filled(image, mask)
    assert torch.equal(made[0][:, mask[0, 0]], image[0][:, mask[0, 0]])
    mean = image[0][:, mask[0, 0]].mean(1, keepdim=True)
    hole = made[0][:, ~mask[0, 0]]
    torch.testing.assert_close(hole, mean.expand_as(hole), **ROUNDING)
    assert not made[1].any()


def test_one_mask_may_hold_for_all_images():
    image, mask = torch.randn(3, 3, 6, 6).double(), torch.rand(1, 1, 6, 6) < 0.5
    for k in range(3):
        own = slice(k, k + 1)
        torch.testing.assert_close(filled(image, mask)[own], filled(image[own], mask), **ROUNDING)
        for made, alone in zip(
            coarse_guide(image, mask, (2, 2)), coarse_guide(image[own], mask, (2, 2)), strict=True
        ):
            torch.testing.assert_close(made[own], alone, **ROUNDING)


def test_over_an_edge_that_wraps_the_first_cell_follows_the_last():
    plan, scale, size = torch.randn(2, 3, 3, 4).double(), (2, 4), (6, 16)
    # Three turns of the loop, of which the one in the middle knows no end.
    for wraps, copies in (((True, False), (3, 1)), ((False, True), (1, 3)), ((True, True), (3, 3))):
        whole = enlarged(
            plan.repeat(1, 1, *copies), scale, [a * b for a, b in zip(size, copies, strict=True)]
        )
        top, left = (a if copy > 1 else 0 for a, copy in zip(size, copies, strict=True))
        expected = whole[..., top : top + size[0], left : left + size[1]]
        made = guide_from_plan(plan, scale, size, wraps=wraps)
        torch.testing.assert_close(made, expected, **ROUNDING)
        image, mask = torch.randn(2, 3, *size).double(), torch.ones(1, 1, *size, dtype=torch.bool)
        guide, _ = coarse_guide(image, mask, scale, wraps=wraps)
        own = guide_from_plan(F.avg_pool2d(image, scale), scale, size, wraps=wraps)
        torch.testing.assert_close(guide, own, **ROUNDING)


def test_one_axis_after_the_other_is_the_blur_of_both():
    image = torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))
    both = gaussian_blur(image, [13, 13], [2.0, 2.0])  # width first, three deviations either way
    # Sums of 169 float32 products of order 1.
    torch.testing.assert_close(blurred(image, 2.0), both, atol=1e-5, rtol=0)
    # A kernel ends where a mirror does, whatever the blur; a constant stays one.
    torch.testing.assert_close(blurred(torch.ones(1, 3, 12, 20), 50.0), torch.ones(1, 3, 12, 20))
