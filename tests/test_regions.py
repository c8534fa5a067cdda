"""Several texts on one canvas: each pixel is what the estimate of its own text says."""

from typing import Any

import pytest
import torch
from torch import Tensor

from denoisers.conditions import Conditions
from denoisers.contract import Image, Sigma
from denoisers.guidance import Guided
from denoisers.pretrained.model import PretrainedModel
from denoisers.pretrained.stand_ins import sd_pipeline
from denoisers.pretrained.text import TextTokens
from denoisers.regions import Regional
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.base import Strategy
from strategies.canvas import Canvas, Known
from strategies.catalogue import names, strategy_class
from strategies.latent import on_latents
from strategies.prompts import PromptContext
from tests.pretrained_stand_ins import sdxl_pipeline

PROMPTS = ("a lake", "a forest", "snow")
# Estimates in float32, in batches of other sizes; texts mixed up would differ by 1e-2 and more.
ROUNDING = {"atol": 1e-4, "rtol": 0}


class Noted:
    """Passes everything on and writes down how many rows each call had, and which tokens."""

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser
        self.tokens: list[Tensor] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        self.tokens.append(context.tokens)
        return self.denoiser(x_t, sigma, context)


class Counted:
    """x0_hat is x_t / 2 plus the number of the text, which is its standard deviation too."""

    patch_size, multiple, channels, takes_noise_maps = 8, 2, 3, True
    estimates_variance = True

    def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
        return x_t / 2 + context.tokens[:, :, :, None]

    def with_variance(self, x_t: Image, sigma: Sigma, context: Any = None):
        number = context.tokens[:, :, :, None]
        return self(x_t, sigma, context), 0 * x_t[:, :1] + number.square() + 0 * sigma


@pytest.fixture(scope="module")
def sd() -> PretrainedModel:
    return PretrainedModel.of(sd_pipeline())


@pytest.fixture(scope="module")
def texts(sd) -> TextTokens:
    return sd.prompts(PROMPTS)


def numbered(count: int) -> Tensor:
    """Tokens that are the number of their text, from 1."""
    return torch.arange(1.0, count + 1).view(count, 1, 1)


def level(sigma: float) -> Sigma:
    return torch.full((1, 1, 1, 1), sigma)


def told(text: TextTokens, number: int, rows: int) -> Conditions:
    """The same text for all of so many windows."""
    row = text[[number] * rows]
    return Conditions(tokens=row.tokens, pooled=row.pooled)


def one_each(*shape: int, texts: int = 3) -> Tensor:
    """Every pixel belongs to one text, whichever."""
    number = torch.randint(texts, (shape[0], *shape[1:]))
    return torch.nn.functional.one_hot(number, texts).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("make", [sd_pipeline, sdxl_pipeline])
@torch.no_grad()
def test_where_pixels_belong_to_one_text_its_estimate_is_pasted(make):
    model = PretrainedModel.of(make())
    text = model.prompts(PROMPTS)
    x_t, areas = torch.randn(4, 4, 8, 8), one_each(4, 8, 8)
    pasted = torch.zeros_like(x_t)
    for number in range(3):
        estimate = model.denoiser(x_t, level(1.0), told(text, number, 4))
        pasted = estimate.where(areas[:, number : number + 1] == 1, pasted)
    regional = Regional(model.denoiser, text.tokens, text.pooled)
    x0_hat = regional(x_t, level(1.0), Conditions(areas=areas))
    torch.testing.assert_close(x0_hat, pasted, **ROUNDING)
    # The texts say different things, or this would prove nothing.
    alone = model.denoiser(x_t, level(1.0), told(text, 0, 4))
    assert float((pasted - alone).abs().max()) > 1e-2


def test_shared_pixels_are_the_mean_by_their_shares():
    x_t, areas = torch.randn(5, 3, 8, 8), torch.rand(5, 3, 8, 8).softmax(1)
    regional = Regional(Counted(), numbered(3))
    mean = (areas * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)).sum(1, keepdim=True)
    x0_hat = regional(x_t, level(1.0), Conditions(areas=areas))
    # Three shares in float32, of numbers up to some 5.
    torch.testing.assert_close(x0_hat, x_t / 2 + mean, atol=3e-6, rtol=0)
    x0_hat, variance = regional.with_variance(x_t, level(1.0), Conditions(areas=areas))
    squares = (areas * torch.tensor([1.0, 4.0, 9.0]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(x0_hat, x_t / 2 + mean, atol=3e-6, rtol=0)
    torch.testing.assert_close(variance, squares, atol=3e-6, rtol=0)


def test_a_window_is_asked_about_the_texts_that_it_has_to_do_with_in_one_call():
    noted = Noted(Counted())
    areas = torch.zeros(4, 3, 8, 8)
    areas[0, 0] = 1
    areas[1, 2, :, :4], areas[1, 1, :, 4:] = 1, 1
    areas[2, 1], areas[2, 1, 7, 7], areas[2, 0, 7, 7] = 1, 0, 1  # one pixel of another
    areas[3, 2] = 1
    Regional(noted, numbered(3))(torch.randn(4, 3, 8, 8), level(1.0), Conditions(areas=areas))
    (tokens,) = noted.tokens
    assert tokens.flatten().tolist() == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("levels", ["one", "each", "map"])
def test_levels_and_other_conditions_go_with_their_window(levels):
    class Told(Counted):
        def __call__(self, x_t: Image, sigma: Sigma, context: Any = None) -> Image:
            assert context.areas is None
            return 10 * context.known + sigma + context.tokens[:, :, :, None]

    x_t, areas = torch.zeros(3, 1, 8, 8), one_each(3, 8, 8)
    known = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    shape = {"one": (1, 1, 1, 1), "each": (3, 1, 1, 1), "map": (3, 1, 8, 8)}[levels]
    sigma = torch.rand(shape)
    context = Conditions(areas=areas, known=known)
    x0_hat = Regional(Told(), numbered(3))(x_t, sigma, context)
    expected = 10 * known + sigma + areas.argmax(1, keepdim=True) + 1
    torch.testing.assert_close(x0_hat, expected.expand_as(x0_hat), atol=1e-5, rtol=0)


@torch.no_grad()
def test_image_k_of_a_batch_is_image_k_alone(sd, texts):
    regional = Regional(Guided(sd.denoiser, 3.0), texts.tokens)
    x_t, areas = torch.randn(4, 4, 8, 8), torch.randn(4, 3, 8, 8).mul(4).softmax(1)
    areas[1], areas[1, 2] = 0, 1
    sigma = torch.tensor([0.1, 1.0, 3.0, 10.0]).view(4, 1, 1, 1)
    together = regional(x_t, sigma, Conditions(areas=areas))
    for k in range(4):
        row = slice(k, k + 1)
        alone = regional(x_t[row], sigma[row], Conditions(areas=areas[row]))
        torch.testing.assert_close(together[row], alone, atol=1e-3, rtol=0)


@torch.no_grad()
def test_guidance_lies_within(sd, texts):
    x_t, areas = torch.randn(2, 4, 8, 8), one_each(2, 8, 8)
    noted = Noted(sd.denoiser)
    x0_hat = Regional(Guided(noted, 5.0), texts.tokens)(x_t, level(1.0), Conditions(areas=areas))
    # Two windows of three texts, each with and without.
    assert [len(tokens) for tokens in noted.tokens] == [12]
    without = sd.denoiser(x_t, level(1.0))
    expected = torch.zeros_like(x_t)
    for number in range(3):
        followed = sd.denoiser(x_t, level(1.0), told(texts, number, 2))
        guided = without + 5 * (followed - without)
        expected = guided.where(areas[:, number : number + 1] == 1, expected)
    # Five times the rounding of an estimate.
    torch.testing.assert_close(x0_hat, expected, atol=5e-4, rtol=0)


def test_guidance_round_regions_is_refused(texts):
    told = Conditions(areas=torch.ones(1, 3, 8, 8) / 3)
    wrong = Guided(Regional(Counted(), texts.tokens), 2.0)
    with pytest.raises(ValueError, match="put guidance within them"):
        wrong(torch.zeros(1, 3, 8, 8), level(1.0), told)


def test_gradients_flow_through_the_texts_of_a_pixel():
    x_t = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    areas = torch.rand(2, 3, 8, 8, dtype=torch.float64).softmax(1)
    Regional(Counted(), numbered(3).double())(
        x_t, level(1.0), Conditions(areas=areas)
    ).sum().backward()
    # Half of what comes in goes out, whatever the shares, which sum to 1.
    torch.testing.assert_close(x_t.grad, torch.full_like(x_t, 0.5))


def test_windows_without_regions_are_asked_about_as_they_come():
    x_t, tokens = torch.randn(2, 3, 8, 8), torch.full((2, 1, 1), 7.0)
    regional = Regional(Counted(), numbered(3))
    assert torch.equal(regional(x_t, level(1.0), Conditions(tokens=tokens)), x_t / 2 + 7)


def test_regions_of_other_texts_are_refused():
    areas = torch.full((1, 2, 8, 8), 0.5)
    with pytest.raises(ValueError, match="an area for each of 3 texts, got 2"):
        Regional(Counted(), numbered(3))(
            torch.zeros(1, 3, 8, 8), level(1.0), Conditions(areas=areas)
        )


def built(name: str, sd: PretrainedModel) -> Strategy:
    # What makes its default slow, ten visits to a level, proves no more than two.
    visits = {"jump_n_sample": 2} if name == "lshape_repaint" else {}
    return strategy_class(name)(solver=Heun(num_steps=2).fitted(sd.denoiser), **visits)


WITHOUT_MAPS = [name for name in names() if name != "async_patch"]


@pytest.mark.parametrize("name", WITHOUT_MAPS)
def test_every_strategy_follows_the_text_of_each_region(name, sd, texts):
    strategy, noise = built(name, sd), CanvasNoise(0, [0, 1])
    # The last window reaches beyond the canvas.
    canvas = Canvas(height=8, width=14, channels=4)
    denoiser = Guided(sd.denoiser, 2.0)

    def made(masks: Tensor) -> Image:
        regional = Regional(denoiser, texts.tokens)
        context = PromptContext(tokens=texts.tokens, masks=masks)
        return strategy.generate(regional, canvas, noise, context=context)

    # A region that is the canvas is a prompt for all of it.
    whole = made(torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1))
    prompt = PromptContext(tokens=texts.tokens[1:2])
    expected = strategy.generate(denoiser, canvas, noise, context=prompt)
    # Two steps from a level of 14, guided, in float32.
    torch.testing.assert_close(whole, expected, atol=5e-3, rtol=0)
    halves = made(torch.tensor([[1.0, 0], [0, 1], [0, 0]]).view(3, 1, 2))
    assert torch.isfinite(halves).all()
    assert float((halves - whole)[..., :8].abs().mean()) > 0.02


def test_windows_side_by_side_are_those_of_their_own_texts(sd, texts):
    strategy, canvas, noise = (
        built("naive", sd),
        Canvas(height=8, width=24, channels=4),
        CanvasNoise(0, [0, 1]),
    )
    masks = torch.eye(3).view(3, 1, 3)
    regional = Regional(sd.denoiser, texts.tokens)
    context = PromptContext(tokens=texts.tokens, masks=masks)
    image = strategy.generate(regional, canvas, noise, context=context)
    for number in range(3):
        prompt = PromptContext(tokens=texts.tokens[number : number + 1])
        alone = strategy.generate(sd.denoiser, canvas, noise, context=prompt)
        window = (..., slice(8 * number, 8 * number + 8))
        torch.testing.assert_close(image[window], alone[window], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["diffcollage", "reconstruction"])
def test_in_pixels_with_given_ones_from_end_to_end(name, sd, texts):
    mask = torch.rand(1, 1, 30, 49) < 0.98
    known = Known(torch.rand(1, 3, 30, 49), mask)
    masks = torch.zeros(3, 30, 49)
    masks[0, :, :25], masks[1, :16, 25:], masks[2, 16:, 25:] = 1, 1, 1
    context = PromptContext(tokens=texts.tokens, masks=masks)
    regional = Regional(Guided(sd.denoiser, 2.0), texts.tokens)
    strategy = on_latents(built(name, sd), sd.autoencoder)
    canvas, noise = Canvas(height=30, width=49), CanvasNoise(0, [0, 1])
    image = strategy.generate(regional, canvas, noise, known=known, context=context)
    assert image.shape == (2, 3, 30, 49)
    assert torch.isfinite(image).all()
    assert torch.equal(known.only(image), known.only(known.y).expand_as(image))
