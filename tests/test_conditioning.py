"""What known pixels do to an estimate, against the same in dense matrices, and where it costs."""

import contextlib
import gc
import math
import weakref

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from denoisers.gaussian import GaussianDenoiser, GaussianField
from denoisers.precond import EDMPrecond
from denoisers.unet import UNet
from patchcanvas.accounting import NFECounter
from sampling.noise import CanvasNoise, WindowNoise
from sampling.solvers import Euler, Heun
from strategies.canvas import Canvas, Known
from strategies.conditioning import conditioned, reconstructed, replaced
from strategies.diffcollage import DiffCollage
from strategies.direct import Direct
from strategies.multidiffusion import MultiDiffusion
from strategies.naive import Naive
from strategies.reconstruction import Reconstruction
from tests.doubles import awake

# Dense solves of some hundred pixels whose condition numbers are below 10^5, in float64.
ROUNDING = {"atol": 1e-10, "rtol": 1e-10}

LINE = GaussianField(mean=0.3)
PLANE = GaussianField(rows="matern32", rows_length=2.0, columns_length=3.0, variance=0.25)
COLOURED = GaussianField(columns_length=2.0, channels=2)
PARALLEL = [Naive(), Direct(), MultiDiffusion(), DiffCollage()]

every_parallel_strategy = pytest.mark.parametrize(
    "strategy", PARALLEL, ids=[type(strategy).__name__ for strategy in PARALLEL]
)


class Curved(nn.Module):
    """A denoiser that is not linear, knows its neighbours, and has a weight to train."""

    patch_size, multiple, channels, takes_noise_maps = 4, 2, 3, True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x_t, sigma, context=None):
        mixed = x_t + self.weight * x_t.roll(1, -1) - 0.2 * x_t.roll(1, -2)
        shift = 0.0 if context is None else context[:, :, None, None]
        return (mixed / (1 + sigma.square()) + shift).tanh()


def exact(field: GaussianField) -> GaussianDenoiser:
    return GaussianDenoiser(field, patch_size=8)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def level(sigma: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.full((1, 1, 1, 1), sigma, dtype=dtype)


def sparse(*shape: int, channels: int = 1, share: float = 0.3) -> Known:
    """Some pixels of each image, others in each; what is not known is not a number."""
    mask = torch.rand(shape[0], channels, *shape[2:]) < share
    mask[:, :, 0, 0] = True
    return Known(normal(*shape).where(mask, math.nan), mask)


def jacobian(field: GaussianField, height: int, width: int, sigma: float) -> np.ndarray:
    """K (K + s^2)^-1 on all channels, with numpy."""
    K = np.kron(np.eye(field.channels), field.covariance(height, width).numpy())
    return np.linalg.solve(K + sigma**2 * np.eye(len(K)), K).T


def corrected(J: np.ndarray, x0_hat: Tensor, known: Known) -> Tensor:
    """x0_hat + a J^T H^T r, an image at a time, with the a of a least-squares routine."""
    estimates = []
    masks = known.mask.expand_as(x0_hat)
    for estimate, y, mask in zip(x0_hat, known.y.expand_as(x0_hat), masks, strict=True):
        chosen = mask.flatten().numpy()
        r = (y - estimate).flatten().numpy()[chosen]
        g = J[chosen].T @ r
        (a,), *_ = np.linalg.lstsq(g[chosen][:, None], r, rcond=None)
        estimates.append(estimate + torch.from_numpy(a * g).view_as(estimate))
    return torch.stack(estimates)


@pytest.mark.parametrize("channels_of_mask", [1, 2])
@pytest.mark.parametrize("sigma", [0.01, 1.0, 80.0])
@pytest.mark.parametrize("field", [LINE, PLANE, COLOURED], ids=["line", "plane", "coloured"])
def test_the_estimate_is_that_of_dense_matrices(field, sigma, channels_of_mask):
    shape = (3, field.channels, 3, 8)
    x_t = field.mean + math.hypot(sigma, 1) * normal(*shape)
    known = sparse(*shape, channels=min(channels_of_mask, field.channels))
    estimate = reconstructed(exact(field), known)(x_t, level(sigma))
    x0_hat = exact(field)(x_t, level(sigma))
    expected = corrected(jacobian(field, 3, 8, sigma), x0_hat, known)
    torch.testing.assert_close(estimate, expected, **ROUNDING)
    assert (estimate - x0_hat).abs().amax((1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("sigma", [0.3, 2.0, 80.0])
@pytest.mark.parametrize("field", [LINE, PLANE], ids=["line", "plane"])
def test_one_known_pixel_gives_the_exact_conditional_mean(field, sigma):
    x_t, y = field.mean + normal(2, 1, 3, 5), normal(2, 1, 3, 5)
    mask = torch.zeros(2, 1, 3, 5, dtype=torch.bool)
    mask[0, 0, 1, 2] = mask[1, 0, 2, 4] = True
    estimate = reconstructed(exact(field), Known(y, mask))(x_t, level(sigma))
    # What is known is an observation without noise, the others have the noise of their level.
    K = field.covariance(3, 5)
    for image in range(2):
        chosen = mask[image].flatten()
        seen = torch.where(chosen, y[image].flatten(), x_t[image].flatten()) - field.mean
        noise = (sigma**2 * (~chosen).double()).diag()
        expected = field.mean + K @ torch.linalg.solve(K + noise, seen)
        torch.testing.assert_close(estimate[image].flatten(), expected, **ROUNDING)


def test_no_other_step_along_the_gradient_leaves_less_residual():
    x_t, known = normal(4, 3, 4, 4), sparse(4, 3, 4, 4)
    x0_hat = Curved()(x_t, level(0.5)).detach()
    moved = reconstructed(Curved(), known)(x_t, level(0.5)) - x0_hat
    residual = known.pasted(x0_hat) - x0_hat

    def left(share: float) -> Tensor:
        return (residual - share * known.only(moved)).square().sum((1, 2, 3))

    assert (left(1.0) < left(0.0)).all()
    for share in (0.999, 1.001):
        assert (left(1.0) < left(share)).all()


@pytest.mark.parametrize("step_size", [0.5, 0.03])
def test_the_constant_step_goes_down_the_gradient_of_the_squared_residual(step_size):
    x_t, known = normal(2, 3, 2, 4), sparse(2, 3, 2, 4)
    wrapped = reconstructed(Curved(), known, step_rule="constant", step_size=step_size)
    estimate, x0_hat = wrapped(x_t, level(0.5)), Curved()(x_t, level(0.5)).detach()

    @torch.no_grad()
    def loss(x: Tensor) -> Tensor:
        return known.only(known.y - Curved()(x, level(0.5))).square().sum((1, 2, 3))

    small = 1e-5
    for place in np.ndindex(3, 2, 4):
        nudge = torch.zeros_like(x_t)
        nudge[:, *place] = small
        gradient = (loss(x_t + nudge) - loss(x_t - nudge)) / (2 * small)
        expected = x0_hat[:, *place] - step_size * gradient
        # Central differences: small^2 of a third derivative, 1e-10, and 1e-15 / small of rounding.
        torch.testing.assert_close(estimate[:, *place], expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("step_rule", ["line_search", "constant"])
def test_an_image_is_what_it_is_alone(step_rule):
    x_t, known = normal(4, 3, 4, 8), sparse(4, 3, 4, 8, channels=3)
    known.mask[2] = False  # one of which nothing is known
    sigma = torch.tensor([0.1, 1.0, 3.0, 80.0], dtype=torch.float64).view(-1, 1, 1, 1)
    together = reconstructed(Curved(), known, step_rule=step_rule)(x_t, sigma)
    for k in range(4):
        own = Known(known.y[k : k + 1], known.mask[k : k + 1])
        alone = reconstructed(Curved(), own, step_rule=step_rule)(x_t[k : k + 1], sigma[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-14, rtol=1e-14)
    assert torch.equal(together[2], Curved()(x_t, sigma)[2])


def test_one_known_image_serves_a_batch():
    x_t, known = normal(3, 3, 4, 4), sparse(1, 3, 4, 4)
    repeated = Known(known.y.repeat(3, 1, 1, 1), known.mask.repeat(3, 1, 1, 1))
    once, thrice = (reconstructed(Curved(), k)(x_t, level(1.0)) for k in (known, repeated))
    assert torch.equal(once, thrice)


@pytest.mark.parametrize("step_rule", ["line_search", "constant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_estimate_that_agrees_or_has_nothing_to_agree_with_stays_bit_by_bit(step_rule, dtype):
    x_t = torch.randn(2, 1, 3, 8, dtype=dtype)
    x0_hat = exact(PLANE)(x_t, level(1.0, dtype))
    everything = torch.ones(1, 1, 3, 8, dtype=torch.bool)
    for known in (Known(x0_hat, everything), Known(x0_hat * math.nan, ~everything)):
        wrapped = reconstructed(exact(PLANE), known, step_rule=step_rule)
        assert torch.equal(wrapped(x_t, level(1.0, dtype)), x0_hat)


def test_half_precision_keeps_the_step_at_high_noise():
    # Of independent pixels, at levels of 80 and 0: 4e-5, whose square float16 has not, and 1.
    gains = torch.tensor([0.5**2 / (0.5**2 + 80**2), 1.0]).view(2, 1, 1, 1)

    def independent(x_t, sigma, context=None):
        return gains.to(x_t.dtype) * x_t

    y = torch.linspace(-1, 1, 3 * 64 * 384).view(1, 3, 64, 384)
    mask = torch.ones(1, 1, 64, 384, dtype=torch.bool)
    x_t = torch.tensor([80.0, 1.0]).view(2, 1, 1, 1) * torch.randn(2, 3, 64, 384)
    for dtype in (torch.float16, torch.bfloat16):
        wrapped = reconstructed(independent, Known(y.to(dtype), mask))
        estimate = wrapped(x_t.to(dtype), level(1.0, dtype))
        # Everything is known and the Jacobian is a number: the step ends on y. Half a dozen
        # roundings of float16 or bfloat16, 1/2048 and 1/256; float16 has the gradient to 1/300.
        torch.testing.assert_close(estimate.float(), y.expand(2, 3, 64, 384), atol=0.025, rtol=0)


@pytest.fixture(scope="module")
def network() -> EDMPrecond:
    """A U-Net with attention that has no weight of 0, as if trained, in float64."""
    unet = UNet(channels=(8, 8), blocks=(1, 1), head_channels=8, patchify=1, features=8)
    return EDMPrecond(awake(unet, std=0.2), patch_size=8).double()


@pytest.mark.parametrize("sigma", [0.002, 1.0, 80.0])
@pytest.mark.parametrize(
    ("autocast", "tolerance"),
    # Of the step's length: some ten roundings of 1e-7 and of 1/256, through sums of terms that
    # cancel in part. Measured: 8e-7 and 0.02, at the highest noise.
    [(None, 1e-5), (torch.bfloat16, 0.1)],
)
def test_a_network_in_less_precision_takes_the_same_step(network, sigma, autocast, tolerance):
    known, x_t = sparse(2, 3, 8, 8), math.hypot(sigma, 0.5) * normal(2, 3, 8, 8)
    expected = reconstructed(network, known)(x_t, level(sigma))
    expected = expected - network(x_t, level(sigma)).detach()
    single = EDMPrecond(network.network, patch_size=8).float()
    single.autocast_dtype = autocast
    try:
        known = Known(known.y.float(), known.mask)
        arguments = x_t.float(), level(sigma, torch.float32)
        step = reconstructed(single, known)(*arguments) - single(*arguments).detach()
    finally:
        network.double()
    error = (step - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    assert error.max() < tolerance


@pytest.mark.parametrize("mode", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
def test_it_takes_its_gradient_in_any_mode(network, mode):
    expected = reconstructed(network, known := sparse(2, 3, 8, 8))(
        x_t := normal(2, 3, 8, 8), level(1)
    )
    with mode():
        # Made in this mode, as they are inside a strategy.
        x_t, sigma = x_t + 0, level(1.0)
        own = Known(known.y + 0, known.mask | False)
        estimate = reconstructed(network, own)(x_t, sigma)
        assert estimate.is_inference() == (mode is torch.inference_mode)
    assert torch.equal(estimate, expected)
    assert not estimate.requires_grad
    assert not x_t.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_level_and_a_context_of_inference_mode_may_be_part_of_the_gradient():
    def scaled(x_t, sigma, context=None):
        return x_t.tanh() * sigma * context[:, :, None, None]

    x_t, known, context = normal(2, 3, 4, 4), sparse(2, 3, 4, 4), normal(2, 3)
    expected = reconstructed(scaled, known)(x_t, level(2.0), context)
    with torch.inference_mode():
        estimate = reconstructed(scaled, known)(x_t + 0, level(2.0), context + 0)
    assert torch.equal(estimate, expected)


@pytest.mark.parametrize(
    "strategy",
    [
        Reconstruction(solver=Heun(num_steps=3)),
        DiffCollage(solver=Heun(num_steps=3), known_method="reconstruction"),
    ],
    ids=["window", "canvas"],
)
def test_a_strategy_makes_the_same_image_in_inference_mode(network, strategy):
    known, noise = sparse(2, 3, 8, 16), CanvasNoise(0, [0, 1], dtype=torch.float64)
    canvas = Canvas(height=8, width=16)
    expected = strategy.generate(network, canvas, noise, known=known)
    with torch.inference_mode():
        image = strategy.generate(network, canvas, noise, known=known)
    assert torch.equal(image, expected)


def test_a_denoiser_without_a_gradient_is_refused():
    def constant(x_t, sigma, context=None):
        return torch.zeros_like(x_t)

    known = sparse(1, 3, 4, 4)
    for without in (constant, torch.no_grad()(Curved()), reconstructed(Curved(), known)):
        with pytest.raises(ValueError, match="does not depend on x_t differentiably"):
            reconstructed(without, known)(normal(1, 3, 4, 4), level(1.0))


class Remembering(Curved):
    """Keeps weak references to what its graphs hold for the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[weakref.ref] = []

    def forward(self, x_t, sigma, context=None):
        hidden = super().forward(x_t, sigma, context)
        self.held.append(weakref.ref(hidden))
        return hidden.square()  # whose derivative holds what it is the square of

    @property
    def alive(self) -> int:
        return sum(reference() is not None for reference in self.held)


def test_the_graph_is_freed_at_once():
    denoiser, known = Remembering(), sparse(2, 3, 4, 8)
    gc.disable()  # or it might free what is only not held any more
    try:
        x0_hat = denoiser(normal(2, 3, 4, 8), level(1.0))
        assert denoiser.alive == 1  # a graph does hold it
        del x0_hat
        assert denoiser.alive == 0
        canvas = DiffCollage().canvas_denoiser(denoiser, Canvas(height=4, width=8))
        estimate = reconstructed(canvas, known)(normal(2, 3, 4, 8), level(1.0))
        assert denoiser.alive == 0
    finally:
        gc.enable()
    assert len(denoiser.held) == 3
    assert estimate.grad_fn is None
    assert denoiser.weight.grad is None


def matrix_of(canvas, height: int, width: int, sigma: float) -> np.ndarray:
    """The matrix of a linear canvas denoiser: what it makes of unit images, side by side."""
    units = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    return canvas(units, level(sigma)).flatten(1).T.numpy()


@every_parallel_strategy
@pytest.mark.parametrize(("height", "width"), [(8, 24), (12, 16)])
@pytest.mark.parametrize("sigma", [0.1, 3.0])
def test_a_canvas_is_inpainted_as_one_image(strategy, height, width, sigma):
    denoiser = exact(GaussianField(rows="exponential", variance=0.25))
    size = Canvas(height=height, width=width, channels=1)
    canvas = strategy.canvas_denoiser(denoiser, strategy.planned(denoiser, size))
    height, width = canvas.canvas.height, canvas.canvas.width
    x_t, known = normal(3, 1, height, width), sparse(3, 1, height, width, share=0.05)
    J = matrix_of(canvas, height, width, sigma)
    estimate = reconstructed(canvas, known)(x_t, level(sigma))
    torch.testing.assert_close(estimate, corrected(J, canvas(x_t, level(sigma)), known), **ROUNDING)


@every_parallel_strategy
def test_wrappers_stack_on_every_canvas(strategy):
    canvas = strategy.canvas_denoiser(Curved(), Canvas(height=4, width=8))
    x_t, known = normal(2, 3, 4, 8), sparse(2, 3, 4, 8)
    moved = reconstructed(canvas, known)(x_t, level(1.0))
    assert torch.equal(
        replaced(reconstructed(canvas, known), known)(x_t, level(1.0)), known.pasted(moved)
    )
    assert not torch.equal(moved, canvas(x_t, level(1.0)))
    # The other way round nothing is left to correct.
    there = replaced(canvas, known)
    assert torch.equal(reconstructed(there, known)(x_t, level(1.0)), there(x_t, level(1.0)))


def test_the_context_reaches_the_denoiser_through_every_wrapper():
    x_t, known, context = normal(2, 3, 4, 4), sparse(2, 3, 4, 4), normal(2, 3)
    given = conditioned(Curved(), context)
    for wrapper in (replaced, reconstructed):
        expected = wrapper(Curved(), known)(x_t, level(1.0), context)
        assert torch.equal(wrapper(given, known)(x_t, level(1.0)), expected)
        assert torch.equal(
            conditioned(wrapper(Curved(), known), context)(x_t, level(1.0)), expected
        )
        assert not torch.equal(wrapper(Curved(), known)(x_t, level(1.0)), expected)
    own = normal(2, 3)
    assert torch.equal(given(x_t, level(1.0), own), Curved()(x_t, level(1.0), own))


@pytest.mark.parametrize(
    ("strategy", "height", "calls"),
    [
        (Naive, 4, 1),
        (Direct, 4, 1),
        (MultiDiffusion, 4, 1),
        (DiffCollage, 4, 2),
        (DiffCollage, 8, 4),
    ],
)
@pytest.mark.parametrize("max_batch", [None, 5])
def test_one_gradient_pass_for_each_network_call(strategy, height, calls, max_batch):
    metered = NFECounter(Curved())
    made_by = strategy(
        solver=Euler(num_steps=3), known_method="reconstruction", max_batch=max_batch
    )
    known, noise = sparse(1, 3, height, 12), CanvasNoise(0, [0, 1], dtype=torch.float64)
    made_by.generate(metered, Canvas(height=height, width=12), noise, known=known)
    assert metered.backward_passes == metered.calls
    if max_batch is None:
        assert metered.calls == 3 * calls
    metered.reset()
    made_by.generate(metered, Canvas(height=height, width=12), noise)
    assert metered.backward_passes == 0
    assert metered.calls > 0


def test_the_first_window_takes_no_gradient():
    metered = NFECounter(Curved())
    strategy = Reconstruction(solver=Heun(num_steps=4), order="raster")
    noise = CanvasNoise(0, [0, 1], dtype=torch.float64)
    strategy.generate(metered, Canvas(height=4, width=8), noise)
    # Three windows, 4 Heun steps of which the last is one of Euler.
    assert metered.calls == 3 * 7
    assert metered.backward_passes == 2 * 7


@pytest.mark.parametrize(
    "options", [{}, {"step_rule": "constant"}, {"step_rule": "constant", "step_size": 0.1}]
)
def test_a_window_is_filled_by_its_rule(options):
    known, noise = (
        sparse(2, 3, 4, 4),
        WindowNoise(CanvasNoise(0, [0, 1], dtype=torch.float64), ["a"]),
    )
    solver = Euler(num_steps=4)
    made = Reconstruction(solver=solver, **options).fill(Curved(), known, noise)
    eps = noise.draw("start", 0, (3, 4, 4))
    expected = solver(reconstructed(Curved(), known, **options), eps, noise.stream("churn"))
    assert torch.equal(made, expected)


def test_bad_steps_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="step_size must be positive, got 0"):
        Reconstruction(step_size=0.0)
    # In the tests the type checker would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="one of line_search, constant, got 'armijo'"):
        Reconstruction(step_rule="armijo")


HOLE = torch.ones(1, 1, 8, 24, dtype=torch.bool)
HOLE[..., 2:6, 9:15] = False
RIGHT = torch.ones(1, 1, 8, 24, dtype=torch.bool)
RIGHT[..., 10:] = False


@pytest.mark.parametrize(
    ("mask", "rows", "edges"),
    [(HOLE, slice(2, 6), (9, 15)), (RIGHT, slice(0, 8), (10,))],
    ids=["inpainting", "outpainting"],
)
def test_reconstruction_joins_what_it_makes_to_what_is_known_better_than_replacement(
    mask, rows, edges
):
    field, count = GaussianField(), 1000
    canvas = Canvas(height=8, width=24, channels=1)
    noise = CanvasNoise(0, range(count), dtype=torch.float64)
    y = field.sample(noise.draw("true", 0, (1, 8, 24)))
    bias = {}
    for conditioning in ("replacement", "reconstruction"):
        strategy = DiffCollage(solver=Heun(num_steps=12), known_method=conditioning)
        image = strategy.generate(exact(field), canvas, noise, known=Known(y, mask))
        assert torch.equal(image[mask.expand_as(image)], y[mask.expand_as(y)])
        seams = [image[..., rows, edge - 1 : edge + 1].reshape(-1, 2).mT for edge in edges]
        made = [torch.corrcoef(seam)[0, 1].item() for seam in seams]
        bias[conditioning] = [abs(correlation - math.exp(-1 / 4)) for correlation in made]
    for worse, better in zip(bias["replacement"], bias["reconstruction"], strict=True):
        # 4,000 pairs or more: standard errors of at most 0.016 each, five of the difference's.
        assert better < worse - 0.11
