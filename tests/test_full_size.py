"""Half-patches shown as whole ones: nothing else may change, and pure noise must say nothing."""

import dataclasses
import inspect

import pytest
import torch
from torch import Tensor

from denoisers.conditions import Conditions
from denoisers.context_input import pixel_coordinates
from denoisers.full_size import FullSize, validate_filling
from denoisers.gaussian import GaussianDenoiser, GaussianField
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.accounting import NFECounter
from tests.doubles import IndependentPixels

FILLINGS = ("mirrored", "pure_noise", "grey")
FIELD = GaussianField(rows="exponential", columns="matern32", mean=0.25)


class UncertainPixels(IndependentPixels):
    """Of any size, with their variance."""

    estimates_variance = True

    def __init__(self) -> None:
        super().__init__(multiple=1)

    def with_variance(self, x_t, sigma, context=None):
        variance = sigma.square() / (1 + sigma.square())
        return self(x_t, sigma, context), variance.expand(len(x_t), 1, *x_t.shape[-2:])


def level(sigma: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full((1, 1, 1, 1), sigma, dtype=dtype)


def levels(kind: str, batch: int, height: int, width: int) -> Tensor:
    shape = {
        "shared": (1, 1, 1, 1),
        "one each": (batch, 1, 1, 1),
        "maps": (batch, 1, height, width),
    }
    return torch.rand(shape[kind]) + 0.5


def shown(filling: str, x_t: Tensor, sigma: Tensor, context=None, **settings) -> tuple:
    """What the denoiser is shown in place of this."""
    inner = UncertainPixels()
    FullSize(inner, filling, **settings)(x_t, sigma, context)
    (one,) = inner.shown
    return one


@pytest.mark.parametrize("size", [(8, 8), (8, 12), (16, 8)])
@pytest.mark.parametrize("filling", FILLINGS)
def test_whole_patches_and_larger_images_pass_as_they_are(filling, size):
    x_t, sigma, context = torch.randn(2, 3, *size), level(1.0), object()
    assert all(
        given is asked
        for given, asked in zip(
            shown(filling, x_t, sigma, context), (x_t, sigma, context), strict=True
        )
    )


@pytest.mark.parametrize("kind", ["shared", "one each", "maps"])
@pytest.mark.parametrize("size", [(8, 4), (4, 8), (4, 4), (2, 12)])
@pytest.mark.parametrize("filling", FILLINGS)
def test_pixels_that_know_nothing_of_each_other_are_left_alone(filling, size, kind):
    x_t, sigma = torch.randn(3, 3, *size), levels(kind, 3, *size)
    asked, alone = FullSize(UncertainPixels(), filling), UncertainPixels()
    assert torch.equal(asked(x_t, sigma), alone(x_t, sigma))
    for ours, theirs in zip(
        asked.with_variance(x_t, sigma), alone.with_variance(x_t, sigma), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize(
    ("size", "whole"), [((8, 4), (8, 8)), ((4, 8), (8, 8)), ((4, 12), (8, 12)), ((2, 2), (8, 8))]
)
def test_only_what_is_short_is_extended(filling, size, whole):
    x_t, sigma = torch.randn(2, 3, *size), levels("maps", 2, *size)
    image, maps, _ = shown(filling, x_t, sigma)
    assert image.shape[-2:] == maps.shape[-2:] == whole
    assert torch.equal(image[..., : size[0], : size[1]], x_t)
    assert torch.equal(maps[..., : size[0], : size[1]], sigma)


def test_a_mirror_goes_on_from_the_edge_and_turns_round_again():
    row = torch.arange(3.0).view(1, 1, 1, 3)
    image, sigma, _ = shown("mirrored", row, row + 1, size=(2, 8))
    assert image[0, 0].tolist() == 2 * [[0, 1, 2, 2, 1, 0, 0, 1]]
    assert torch.equal(sigma, image + 1)


def test_grey_is_as_noisy_as_the_region():
    x_t, sigma = torch.full((2, 3, 8, 4), 0.5), torch.tensor([2.0, 0.25]).view(2, 1, 1, 1)
    image, told, _ = shown("grey", x_t, sigma)
    assert told is sigma
    filling = image[..., 4:] / sigma
    assert torch.equal(filling[0], filling[1])
    # 96 numbers: the standard errors are 0.10 (mean) and 0.07 (deviation).
    assert filling[0].mean().abs() < 0.5
    assert filling[0].std().item() == pytest.approx(1, abs=0.35)


def test_pure_noise_is_told_to_be_so():
    x_t, sigma = torch.randn(2, 3, 8, 4), torch.tensor([2.0, 0.25]).view(2, 1, 1, 1)
    image, told, _ = shown("pure_noise", x_t, sigma, sigma_max=50.0)
    assert torch.equal(told[..., :4], sigma.expand(-1, -1, 8, 4))
    assert (told[..., 4:] == 50).all()
    torch.testing.assert_close(image[..., 4:] / 50, shown("grey", x_t, level(1.0))[0][..., 4:])


@pytest.mark.parametrize("filling", FILLINGS)
def test_a_window_is_shown_alike_whatever_stands_beside_it(filling):
    x_t, sigma = torch.randn(5, 3, 8, 4), levels("maps", 5, 8, 4)
    together = shown(filling, x_t, sigma)[:2]
    for index in range(5):
        alone = shown(filling, x_t[index : index + 1], sigma[index : index + 1])[:2]
        assert all(
            torch.equal(one[0], all_of_them[index])
            for one, all_of_them in zip(alone, together, strict=True)
        )


@pytest.mark.parametrize("filling", FILLINGS)
def test_clean_pixels_come_back_bit_by_bit(filling):
    torch.manual_seed(0)
    network = UNet(in_channels=3, channels=[32], blocks=[1], attention_levels=0, level_channel=True)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    denoiser = FullSize(EDMPrecond(network, patch_size=16).requires_grad_(False), filling)
    x_t, maps = torch.randn(2, 3, 16, 8), torch.rand(2, 1, 16, 8)
    maps[:, :, :, ::3] = 0
    assert torch.equal(denoiser(x_t, level(0.0)), x_t)
    x0_hat = denoiser(x_t, maps)
    clean = (maps == 0).expand_as(x_t)
    assert torch.equal(x0_hat[clean], x_t[clean])
    assert not torch.isclose(x0_hat[~clean], x_t[~clean]).any()


def joint(x_t: Tensor, filled: Tensor, sigma: float, sigma_max: float) -> Tensor:
    """E[x0 | x_t] of a row whose right part is noise, by the covariance alone."""
    length = filled.shape[-1]
    distance = (torch.arange(length)[:, None] - torch.arange(length)).abs().double()
    scaled = 3**0.5 * distance / FIELD.columns_length
    K = (1 + scaled) * (-scaled).exp()
    S = torch.full((length,), sigma_max, dtype=torch.float64)
    S[: x_t.shape[-1]] = sigma
    x = torch.cat([x_t, filled[..., x_t.shape[-1] :]], -1) - FIELD.mean
    solved = torch.linalg.solve(K + S.square().diag(), x.mT)
    return (FIELD.mean + (K @ solved).mT)[..., : x_t.shape[-1]]


def line() -> GaussianDenoiser:
    return GaussianDenoiser(dataclasses.replace(FIELD, rows="independent"), patch_size=8)


def half_row() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 1, 1, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_pure_noise_beside_a_gaussian_row_is_the_joint_posterior(sigma):
    field, x_t = line(), half_row()
    asked = x_t, level(sigma, torch.float64)
    filled, _, _ = shown("pure_noise", *asked, size=(1, 8), sigma_max=3.0)
    made = FullSize(field, "pure_noise", size=(1, 8), sigma_max=3.0)(*asked)
    torch.testing.assert_close(made, joint(x_t, filled, sigma, 3.0))


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("sigma_max", [10.0, 80.0, 1e4])
def test_pure_noise_says_no_more_than_its_level_lets_it(sigma, sigma_max):
    """With C the posterior covariance of region r and filling f given x_r, the estimate moves by

        C (K_ff|r + sigma_max^2)^-1 (x_f - E[x0_f | x_r]),

    of which |C| is at most |K|, the inverse at most sigma_max^-2, and x_f is sigma_max eps.
    """
    field, x_t = line(), half_row()
    sigmas = level(sigma, torch.float64)
    exact = field(x_t, sigmas)
    made = FullSize(field, "pure_noise", size=(1, 8), sigma_max=sigma_max)(x_t, sigmas)
    K = field.field.covariance(1, 8)
    eps = shown("pure_noise", x_t, sigmas, size=(1, 8), sigma_max=sigma_max)[0][..., 4:] / sigma_max
    # The estimate of the filling from the region: that of x_t with the filling as good as unseen.
    blind = torch.cat([sigmas.expand(1, 1, 1, 4), level(1e9, torch.float64).expand(1, 1, 1, 4)], -1)
    guess = field(torch.cat([x_t, torch.zeros_like(x_t)], -1), blind)[..., 4:]
    surprise = (sigma_max * eps - guess).flatten(1).norm(dim=1)
    bound = torch.linalg.matrix_norm(K, 2) / sigma_max**2 * surprise
    # 1e-12 for the rounding of a matrix of condition 1e10.
    assert ((made - exact).flatten(1).norm(dim=1) <= bound + 1e-12).all()


def test_what_pure_noise_says_falls_with_its_level():
    field, x_t, sigma = line(), half_row(), level(1.0, torch.float64)
    exact = field(x_t, sigma)
    errors = [
        (FullSize(field, "pure_noise", size=(1, 8), sigma_max=high)(x_t, sigma) - exact).norm()
        for high in (1e2, 1e3, 1e4)
    ]
    # The noise itself, of order 1 / sigma_max, is left; what is of order 1 / sigma_max^2 is at
    # most a few of 1 / 100 of that.
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.005)


@pytest.mark.parametrize("filling", ["mirrored", "grey"])
def test_fillings_that_look_like_an_image_move_the_estimate(filling):
    # Known bias, pinned so that nobody reports it as a bug of ours.
    field, x_t, sigma = line(), half_row(), level(1.0, torch.float64)
    exact, least = field(x_t, sigma), field.variance(x_t, sigma).mean()
    error = (FullSize(field, filling, size=(1, 8))(x_t, sigma) - exact).square().mean()
    pure = (FullSize(field, "pure_noise", size=(1, 8))(x_t, sigma) - exact).square().mean()
    assert error > 0.005 * least
    # What pure noise leaves is eps / sigma_max times a covariance that is below 1.
    assert pure < least / 80**2


@pytest.mark.parametrize("filling", FILLINGS)
def test_gradients_flow_even_after_inference(filling):
    field = GaussianDenoiser(FIELD, patch_size=6)
    asked = FullSize(field, filling)
    with torch.inference_mode():
        asked(torch.randn(1, 1, 6, 2), level(1.0))
    x_t = torch.randn(1, 1, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: asked(x, level(1.0, torch.float64)), x_t)


def rows() -> Conditions:
    size = (2, 1, 8, 4)
    return Conditions(
        tokens=torch.randn(2, 5, 7),
        guide=torch.randn(2, 3, 8, 4),
        guided=torch.rand(size),
        known=(torch.rand(size) > 0.5).float(),
        place=torch.tensor([[-1.0, -0.5, 0.0, 0.25], [0.0, 0.0, 0.0, 0.0]]),
        plan=torch.tensor([True, False]),
    )


@pytest.mark.parametrize("filling", FILLINGS)
def test_what_windows_are_told_is_extended_with_them(filling):
    told = rows()
    _, _, whole = shown(filling, torch.randn(2, 3, 8, 4), level(1.0), told)
    for name in ("guide", "guided", "known"):
        assert torch.equal(getattr(whole, name)[..., :4], getattr(told, name))
        assert getattr(whole, name).shape[-2:] == (8, 8)
    for name in ("tokens", "plan"):
        assert getattr(whole, name) is getattr(told, name)
    beyond = whole.guided[..., 4:], whole.known[..., 4:]
    if filling == "mirrored":
        assert torch.equal(beyond[0], told.guided.flip(-1))
        assert torch.equal(beyond[1], told.known.flip(-1))
    else:
        assert not any(part.any() for part in beyond)


@pytest.mark.parametrize("filling", FILLINGS)
def test_every_pixel_belongs_to_the_texts_of_some_area(filling):
    told = Conditions(areas=torch.rand(2, 3, 8, 4).softmax(1))
    _, _, whole = shown(filling, torch.randn(2, 3, 8, 4), level(1.0), told)
    assert torch.equal(whole.areas[..., :4], told.areas)
    torch.testing.assert_close(whole.areas.sum(1), torch.ones(2, 8, 8))


def test_pixels_keep_their_places_on_the_canvas():
    told = rows()
    _, _, whole = shown("mirrored", torch.randn(2, 3, 8, 4), level(1.0), told)
    torch.testing.assert_close(
        pixel_coordinates(whole.place, 8, 8)[..., :4], pixel_coordinates(told.place, 8, 4)
    )


@pytest.mark.parametrize("context", [None, torch.randn(2, 5, 7)])
def test_other_contexts_pass_as_they_are(context):
    assert shown("mirrored", torch.randn(2, 3, 8, 4), level(1.0), context)[2] is context


def test_the_meter_counts_what_is_really_evaluated():
    metered = NFECounter(UncertainPixels())
    FullSize(metered, "mirrored")(torch.randn(5, 3, 8, 4), level(1.0))
    assert (metered.calls, metered.patches, metered.pixels) == (1, 5, 5 * 8 * 8)


def one_level() -> UncertainPixels:
    denoiser = UncertainPixels()
    denoiser.takes_noise_maps = False
    return denoiser


def test_pure_noise_is_refused_where_its_level_cannot_be_told():
    with pytest.raises(
        ValueError, match=r"trained on one level an image .* own size, take mirrored, or"
    ):
        FullSize(one_level(), "pure_noise")


@pytest.mark.parametrize("filling", ["mirrored", "grey"])
def test_denoisers_of_one_level_are_shown_one_level(filling):
    denoiser = one_level()
    FullSize(denoiser, filling)(torch.randn(2, 3, 4, 4), levels("one each", 2, 4, 4))
    assert denoiser.shown[0][1].shape == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("filling", "settings", "must"),
    [
        ("grey", {"size": (8, 5)}, "size must be multiples of the denoiser's 2 px, got 8 x 5 px"),
        ("grey", {"size": (0, 8)}, "size must be multiples of the denoiser's 2 px, got 0 x 8 px"),
        ("pure_noise", {"sigma_max": 0.0}, r"sigma_max must be positive, got 0\.0"),
    ],
)
def test_nonsense_is_refused(filling, settings, must):
    denoiser = UncertainPixels()
    denoiser.multiple = 2
    with pytest.raises(ValueError, match=must):
        FullSize(denoiser, filling, **settings)


def test_unknown_fillings_are_refused():
    # As it is outside of pytest, where annotations are not checked.
    refuse = inspect.unwrap(validate_filling)
    with pytest.raises(ValueError, match="'black'"):
        refuse(UncertainPixels(), "black")
