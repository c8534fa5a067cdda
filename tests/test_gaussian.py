import decimal
import inspect
import itertools
import math
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from denoisers.contract import PatchDenoiser
from denoisers.gaussian import GaussianDenoiser, GaussianField, covariance_matrix
from denoisers.loop_covariance import loop_root, loop_spectrum

LINE = GaussianField()
PLANE = GaussianField(rows="exponential", columns="exponential", rows_length=2.0)
FIELDS = [
    LINE,
    PLANE,
    GaussianField(rows="matern32", columns="independent", rows_length=3.0, mean=0.3, variance=0.25),
    GaussianField(rows="exponential", columns="matern32", columns_length=2.0, mean=-0.5),
    GaussianField(
        rows="squared_exponential", rows_length=1.5, columns="matern32", variance=4.0, channels=3
    ),
]
SMOOTH = GaussianField(rows="squared_exponential", columns="squared_exponential")

# Sums of some dozens of products of order 1 and condition numbers below 10^5: float64 leaves 1e-11.
ROUNDING = {"rtol": 0, "atol": 1e-11}

every_field = pytest.mark.parametrize(
    "field", FIELDS, ids=lambda f: f"{f.rows}-{f.columns}-{f.channels}"
)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def random_levels(*shape: int) -> torch.Tensor:
    """Levels from 0.1 to 10."""
    return 10 ** (2 * torch.rand(*shape, dtype=torch.float64) - 1)


def level(sigma: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), sigma, dtype=dtype)


def right_half(height: int, width: int, sigma: float = 1.0) -> torch.Tensor:
    """A map that knows the left half."""
    columns = torch.arange(width) >= width // 2
    return (sigma * columns.double()).expand(1, 1, height, width)


def denoiser(field: GaussianField) -> GaussianDenoiser:
    return GaussianDenoiser(field, patch_size=8)


def correlation(family: str, length: float, distance: int) -> float:
    """The families once more, in another form: as solutions of their equations, pixel by pixel."""
    match family:
        case "independent":
            return float(distance == 0)
        case "exponential":
            return math.exp(-1 / length) ** distance
        case "matern32":
            rate = 3**0.5 / length
            return math.exp(-rate * distance) + rate * distance * math.exp(-rate * distance)
        case "squared_exponential":
            return math.exp(-0.5 / length**2) ** distance**2
    raise AssertionError(family)


def covariance(field: GaussianField, height: int, width: int) -> np.ndarray:
    """Pixel by pixel, row by row."""
    pixels = list(itertools.product(range(height), range(width)))
    return np.array(
        [
            [
                field.variance
                * correlation(field.rows, field.rows_length, abs(top - bottom))
                * correlation(field.columns, field.columns_length, abs(left - right))
                for bottom, right in pixels
            ]
            for top, left in pixels
        ]
    )


def textbook(field: GaussianField, x_t: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """mu + K (K + S)^-1 (x_t - mu) with numpy, an image and a channel at a time."""
    K = covariance(field, *x_t.shape[-2:])
    x0_hat = np.empty(x_t.shape)
    levels = sigma.expand(len(x_t), 1, *x_t.shape[-2:]).numpy()
    for image, channel in np.ndindex(*x_t.shape[:2]):
        noise = np.diag(levels[image].ravel() ** 2)
        residual = x_t[image, channel].numpy().ravel() - field.mean
        estimate = field.mean + K @ np.linalg.solve(K + noise, residual)
        x0_hat[image, channel] = estimate.reshape(x_t.shape[-2:])
    return torch.from_numpy(x0_hat)


@pytest.mark.parametrize(
    ("family", "length", "distance", "expected"),
    [
        ("exponential", 4.0, 2, 0.606530659712633),  # exp(-1/2)
        ("matern32", 4.0, 2, 0.784887653957451),  # (1 + sqrt(3)/2) exp(-sqrt(3)/2)
        ("matern32", 2.0, 2, 0.483357724596508),  # (1 + sqrt(3)) exp(-sqrt(3))
        ("squared_exponential", 4.0, 2, 0.882496902584595),  # exp(-1/8)
        ("independent", 4.0, 2, 0.0),
    ],
)
def test_families_at_distances_computed_by_hand(family, length, distance, expected):
    matrix = covariance_matrix(4, family, length)
    # Fifteen digits were written down.
    assert matrix[0, distance].item() == pytest.approx(expected, abs=1e-15)
    assert torch.equal(matrix.diagonal(), torch.ones(4, dtype=torch.float64))
    assert torch.equal(matrix, matrix.mT)
    assert torch.equal(matrix[:-1, :-1], matrix[1:, 1:])


@every_field
def test_the_covariance_is_separable_row_by_row(field):
    expected = torch.from_numpy(covariance(field, 3, 5))
    torch.testing.assert_close(field.covariance(3, 5), expected, **ROUNDING)


@every_field
@pytest.mark.parametrize(("height", "width"), [(1, 4), (3, 1), (2, 3)])
def test_a_window_is_a_window_wherever_it_is_cut(field, height, width):
    canvas = field.covariance(5, 7).view(5, 7, 5, 7)
    window = field.covariance(height, width).view(height, width, height, width)
    for top, left in itertools.product(range(5 - height + 1), range(7 - width + 1)):
        rows, columns = slice(top, top + height), slice(left, left + width)
        torch.testing.assert_close(canvas[rows, columns, rows, columns], window, **ROUNDING)


@every_field
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1), (3, 1, 1, 1), (1, 1, 4, 6), (3, 1, 4, 6), (3, 1, 1, 6), (1, 1, 4, 1)],
    ids=str,
)
def test_the_estimate_is_the_textbook_one(field, shape):
    x_t, sigma = 3 * normal(3, field.channels, 4, 6), random_levels(*shape)
    expected = textbook(field, x_t, sigma)
    torch.testing.assert_close(denoiser(field)(x_t, sigma), expected, **ROUNDING)


@every_field
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (4, 8), (8, 4), (7, 5)])
def test_windows_of_any_size(field, height, width):
    x_t, sigma = normal(2, field.channels, height, width), random_levels(2, 1, height, width)
    expected = textbook(field, x_t, sigma)
    torch.testing.assert_close(denoiser(field)(x_t, sigma), expected, **ROUNDING)


@every_field
def test_one_level_may_be_written_as_a_map(field):
    x_t, sigma = normal(3, field.channels, 4, 6), random_levels(3, 1, 1, 1)
    estimate = denoiser(field)
    mapped = estimate(x_t, sigma.expand(-1, -1, 4, 6))
    torch.testing.assert_close(mapped, estimate(x_t, sigma), **ROUNDING)


def test_every_image_has_its_own_map_in_whatever_order_they_come():
    x_t, maps = normal(6, 2, 4, 4), random_levels(3, 1, 4, 4)
    sigma = maps[[0, 0, 1, 0, 2, 2]]
    estimate = denoiser(PLANE)
    alone = [estimate(x_t[k : k + 1], sigma[k : k + 1]) for k in range(6)]
    torch.testing.assert_close(estimate(x_t, sigma), torch.cat(alone), **ROUNDING)


@pytest.mark.parametrize(
    ("sigma", "factorisations"),
    [
        (random_levels(2, 1, 4, 4)[[0, 0, 0, 0, 0]], 1),
        (random_levels(2, 1, 4, 4)[[0, 0, 0, 1, 1]], 2),
        (random_levels(1, 1, 4, 4), 1),
        (random_levels(5, 1, 1, 1), 0),
    ],
    ids=["one map", "two runs", "one map for all", "levels"],
)
def test_equal_maps_side_by_side_share_their_factorisation(monkeypatch, sigma, factorisations):
    calls, factorise = [], torch.linalg.qr
    monkeypatch.setattr(torch.linalg, "qr", lambda matrix: calls.append(1) or factorise(matrix))
    denoiser(PLANE)(normal(5, 1, 4, 4), sigma)
    assert len(calls) == factorisations


@every_field
def test_pixels_that_are_nothing_but_noise_do_not_count(field):
    x_t, sigma = normal(2, field.channels, 6, 7), random_levels(2, 1, 6, 7)
    around = torch.full((2, 1, 6, 7), 1e8, dtype=torch.float64)
    around[..., 1:4, 2:7] = sigma[..., 1:4, 2:7]
    estimate = denoiser(field)
    window = estimate(x_t[..., 1:4, 2:7], sigma[..., 1:4, 2:7])
    # What is left of the others is of order 1e-16.
    canvas = estimate(x_t, around)[..., 1:4, 2:7]
    torch.testing.assert_close(canvas, window, **ROUNDING)


@every_field
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (2, 1, 3, 4)], ids=str)
def test_the_estimate_follows_the_gradient_of_the_log_density(field, shape):
    """Tweedie: score = (x0_hat - x_t) / sigma^2, and eps = -sigma score."""
    x_t, sigma = normal(2, field.channels, 3, 4).requires_grad_(), random_levels(*shape)
    noise = sigma.expand(2, 1, 3, 4).flatten(2).square().diag_embed()
    mean = torch.full((12,), field.mean, dtype=torch.float64)
    marginal = MultivariateNormal(mean, torch.from_numpy(covariance(field, 3, 4)) + noise)
    (score,) = torch.autograd.grad(marginal.log_prob(x_t.flatten(2)).sum(), x_t)
    x0_hat = denoiser(field)(x_t, sigma).detach()
    torch.testing.assert_close(x0_hat, (x_t + sigma**2 * score).detach(), **ROUNDING)
    # Divided by levels down to 0.1.
    eps = ((x_t - x0_hat) / sigma).detach()
    torch.testing.assert_close(eps, -sigma * score, rtol=0, atol=1e-10)


@pytest.mark.parametrize("field", [LINE, FIELDS[2], FIELDS[3]], ids=["line", "columns", "plane"])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_squared_error_is_the_trace_of_the_posterior_covariance(field, mapped):
    count = 4000
    sigma = random_levels(1, 1, 4, 5) if mapped else level(0.7)
    x0 = field.sample(normal(count, 1, 4, 5))
    x_t = x0 + sigma * normal(count, 1, 4, 5)
    errors = (denoiser(field)(x_t, sigma) - x0).square().sum((1, 2, 3))
    K = covariance(field, 4, 5)
    noise = np.diag(sigma.expand(1, 1, 4, 5).numpy().ravel() ** 2)
    expected = np.trace(K - K @ np.linalg.solve(K + noise, K))
    # The standard error is some 0.5 % of the trace (20 pixels, 4000 images); five are allowed.
    standard_error = errors.std().item() / count**0.5
    assert standard_error < 0.02 * expected
    assert errors.mean().item() == pytest.approx(expected, abs=5 * standard_error)


def conditioned(field: GaussianField, x_t: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The clean pixels first, by the Schur complement, then the noisy ones given these."""
    K = covariance(field, *x_t.shape[-2:])
    levels = sigma.numpy().ravel()
    known, unknown = levels == 0, levels > 0
    weights = np.linalg.solve(K[np.ix_(known, known)], K[np.ix_(known, unknown)]).T
    posterior = K[np.ix_(unknown, unknown)] - weights @ K[np.ix_(known, unknown)]
    gain = np.linalg.solve(posterior + np.diag(levels[unknown] ** 2), posterior).T
    x0_hat = x_t.flatten(2).numpy().copy()
    prior = field.mean + (x0_hat[..., known] - field.mean) @ weights.T
    x0_hat[..., unknown] = prior + (x0_hat[..., unknown] - prior) @ gain.T
    return torch.from_numpy(x0_hat).view_as(x_t)


@every_field
@pytest.mark.parametrize("portion", [0.1, 0.5, 0.9])
def test_clean_pixels_are_conditions(field, portion):
    x_t = normal(2, field.channels, 4, 6)
    sigma = random_levels(1, 1, 4, 6) * (torch.rand(1, 1, 4, 6) > portion)
    x0_hat = denoiser(field)(x_t, sigma)
    torch.testing.assert_close(x0_hat, conditioned(field, x_t, sigma), **ROUNDING)


@pytest.mark.parametrize("field", [*FIELDS, SMOOTH], ids=lambda f: f"{f.rows}-{f.columns}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clean_pixels_come_back_bit_by_bit(field, dtype):
    x_t = torch.randn(2, field.channels, 4, 6, dtype=dtype)
    clean = torch.rand(2, 1, 4, 6) < 0.5
    sigma = torch.where(clean, 0, random_levels(2, 1, 4, 6)).to(dtype)
    x0_hat = denoiser(field)(x_t, sigma)
    expanded = clean.expand_as(x_t)
    assert torch.equal(x0_hat[expanded], x_t[expanded])
    assert (x0_hat != x_t)[~expanded].all()
    for nothing in (level(0.0, dtype), torch.zeros_like(sigma), torch.zeros_like(sigma[:, :, :1])):
        assert torch.equal(denoiser(field)(x_t, nothing), x_t)


def past_a_clean_pixel(field: GaussianField) -> float:
    """How much the estimate left of a clean pixel changes with what lies right of it."""
    x_t, sigma = normal(2, 1, 3, 9), random_levels(1, 1, 3, 9)
    sigma[..., 4] = 0
    x_t[1, ..., :5] = x_t[0, ..., :5]
    x0_hat = denoiser(field)(x_t, sigma)
    assert (x0_hat[0] - x0_hat[1])[..., 5:].abs().min() > 1e-3
    return (x0_hat[0] - x0_hat[1])[..., :4].abs().max().item()


@pytest.mark.parametrize("rows", ["independent", "exponential", "matern32"])
def test_nothing_passes_a_clean_pixel_of_a_markov_chain(rows):
    # Of a separable plane too, a clean column of pixels screens one side from the other.
    assert past_a_clean_pixel(GaussianField(rows=rows, columns="exponential")) < 1e-12


@pytest.mark.parametrize("columns", ["matern32", "squared_exponential"])
def test_fields_with_a_slope_see_past_a_clean_pixel(columns):
    assert past_a_clean_pixel(GaussianField(columns=columns)) > 1e-3


def solved(matrix: list[list[Decimal]], right: list[Decimal]) -> list[Decimal]:
    """Gauss's elimination, for a positive definite matrix."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for pivot, row in enumerate(rows):
        for other in rows[:pivot] + rows[pivot + 1 :]:
            factor = other[pivot] / row[pivot]
            other[pivot:] = [
                a - factor * b for a, b in zip(other[pivot:], row[pivot:], strict=True)
            ]
    return [row[-1] / row[pivot] for pivot, row in enumerate(rows)]


def in_decimal(length: float, x_t: list[float], sigma: list[float]) -> list[float]:
    """K (K + S)^-1 x_t on a row of a squared exponential, with 120 digits."""
    with decimal.localcontext(prec=120):
        places = range(len(x_t))
        K = [
            [(-Decimal((i - j) ** 2) / (2 * Decimal(length) ** 2)).exp() for j in places]
            for i in places
        ]
        total = [
            [K[i][j] + (Decimal(sigma[i]) ** 2 if i == j else 0) for j in places] for i in places
        ]
        weights = solved(total, [Decimal(value) for value in x_t])
        return [float(sum(a * b for a, b in zip(row, weights, strict=True))) for row in K]


def decimal_error(length: float, sigma: torch.Tensor) -> float:
    """The largest error of an estimate from a true sample, in deviations of the field."""
    field = GaussianField(columns="squared_exponential", columns_length=length)
    size = sigma.shape[-1]
    x_t = field.sample(normal(2, 1, 1, size)) + sigma * normal(2, 1, 1, size)
    x0_hat = denoiser(field)(x_t, sigma).flatten(1)
    expected = [
        in_decimal(length, row, sigma.flatten().tolist()) for row in x_t.flatten(1).tolist()
    ]
    return (x0_hat - torch.tensor(expected, dtype=torch.float64)).abs().max().item()


HALF = [0.0] * 8 + [1.0] * 8


@pytest.mark.parametrize(
    ("length", "sigma", "left"),
    [
        # Half a row known; what is left of the other is what K + S has lost, see `_gain`.
        (2.0, HALF, 1e-13),
        (4.0, HALF, 1e-11),
        (8.0, HALF, 1e-10),
        (16.0, HALF, 1e-10),
        (8.0, [0.0] * 8 + [0.002] * 8, 1e-10),
        (8.0, [1e-6] * 8 + [80.0] * 8, 1e-10),
        (8.0, [1.0, 0.0] * 8, 1e-12),
        # Nothing to extrapolate: rounding.
        (4.0, [0.002] * 16, 1e-14),
        (8.0, [1e-6] * 16, 1e-14),
    ],
)
def test_a_numerically_singular_field_against_decimal_arithmetic(length, sigma, left):
    assert decimal_error(length, torch.tensor(sigma, dtype=torch.float64).view(1, 1, 1, -1)) < left


@pytest.mark.parametrize("sigma", [1e-6, 0.002, 1.0])
@pytest.mark.parametrize("length", [4.0, 16.0])
def test_one_level_of_a_numerically_singular_field_against_decimal_arithmetic(length, sigma):
    field = GaussianField(columns="squared_exponential", columns_length=length)
    x_t = field.sample(normal(1, 1, 1, 16)) + sigma * normal(1, 1, 1, 16)
    expected = x_t.new_tensor(in_decimal(length, x_t.flatten().tolist(), [sigma] * 16))
    # Values of order 1, and nothing to extrapolate: rounding.
    assert (denoiser(field)(x_t, level(sigma)).flatten() - expected).abs().max() < 1e-14


@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_a_clean_pixel_is_known_to_the_rounding_of_its_type(mean):
    field = GaussianField(columns="squared_exponential", columns_length=16.0, mean=mean)
    x_t, sigma = field.sample(torch.randn(1, 1, 1, 32)), right_half(1, 32).float()
    centred, levels = (x_t.double() - mean).flatten().tolist(), sigma.flatten().tolist()
    rounding = 2.0**-23 * (mean + 1)
    expected = in_decimal(16.0, centred, [max(level, rounding) for level in levels])
    x0_hat = denoiser(field)(x_t, sigma).double().flatten() - mean
    # The result is rounded as `x_t` is.
    assert (x0_hat - x0_hat.new_tensor(expected)).abs().max() < 2 * rounding
    # At a true 0, the rounding of what is known would have been extrapolated.
    assert max(map(abs, in_decimal(16.0, centred, levels))) > 10 > 2 * x0_hat.abs().max()


def test_a_smooth_window_stays_finite_at_any_mixture_of_levels():
    field = GaussianField(
        rows="squared_exponential", rows_length=40.0, columns="squared_exponential"
    )
    x_t, estimate = normal(4, 1, 16, 16), denoiser(field)
    # Levels from 1e-18 to 100, and 0 in a third of the pixels.
    sigma = 10 ** (20 * torch.rand(4, 1, 16, 16, dtype=torch.float64) - 18)
    sigma *= torch.rand(4, 1, 16, 16) > 0.3
    assert estimate(x_t, sigma).isfinite().all()
    assert estimate(x_t, level(1e-18)).isfinite().all()
    assert field.sample(normal(1, 1, 16, 400)).isfinite().all()


@every_field
@pytest.mark.parametrize("mapped", [False, True])
def test_the_answer_has_the_type_of_the_question_and_the_digits_of_float64(field, mapped):
    x_t = normal(2, field.channels, 4, 6).float()
    sigma = random_levels(2, 1, 4, 6) if mapped else random_levels(2, 1, 1, 1)
    estimate = denoiser(field)
    x0_hat = estimate(x_t, sigma.float())
    assert x0_hat.dtype == torch.float32
    exact = estimate(x_t.double(), sigma.float().double())
    # One rounding, at the end: half a unit in the last of 24 bits.
    assert torch.equal(x0_hat, exact.float())


def jacobian(field: GaussianField, sigma: torch.Tensor) -> torch.Tensor:
    x_t = normal(1, 1, 3, 4)
    matrix = torch.autograd.functional.jacobian(lambda x: denoiser(field)(x, sigma), x_t)
    return matrix.view(12, 12)


@pytest.mark.parametrize("field", FIELDS[:4], ids=lambda f: f"{f.rows}-{f.columns}")
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 3, 4)], ids=str)
def test_gradients_are_the_gain(field, shape):
    sigma = random_levels(*shape)
    K, noise = covariance(field, 3, 4), np.diag(sigma.expand(1, 1, 3, 4).numpy().ravel() ** 2)
    expected = torch.from_numpy(np.linalg.solve(K + noise, K).T.copy())
    torch.testing.assert_close(jacobian(field, sigma), expected, **ROUNDING)
    symmetric = (expected - expected.mT).abs().max() < 1e-11
    assert symmetric == (shape == (1, 1, 1, 1))


def test_gradients_reach_clean_pixels_and_through_them():
    sigma = right_half(3, 4)
    matrix = jacobian(PLANE, sigma)
    clean = (sigma == 0).flatten()
    assert torch.equal(matrix[clean], torch.eye(12, dtype=torch.float64)[clean])
    # A pixel beside a clean one, of correlation exp(-1/4), has half of it; then it sees itself.
    assert matrix[~clean][:, clean].amax() > 0.5
    assert jacobian(PLANE, torch.zeros_like(sigma)).equal(torch.eye(12, dtype=torch.float64))


@pytest.mark.parametrize("family", ["exponential", "squared_exponential"])
@pytest.mark.parametrize("sigma", [level(1.0), right_half(4, 4)], ids=["level", "map"])
def test_gradients_after_a_first_call_without_any(family, sigma):
    # A length of its own: matrices are kept, and must not remember how they were made.
    field = GaussianField(columns=family, columns_length=3.21 + sigma.numel())
    with torch.inference_mode():
        denoiser(field)(normal(1, 1, 4, 4), sigma)
    x_t = normal(1, 1, 4, 4).requires_grad_()
    denoiser(field)(x_t, sigma).square().sum().backward()
    assert x_t.grad.isfinite().all()
    with torch.no_grad():
        assert not denoiser(field)(x_t, sigma).requires_grad


def sampled_units(field: GaussianField, height: int, width: int) -> torch.Tensor:
    """The matrix that makes a canvas out of its noise."""
    pixels = height * width
    units = torch.eye(pixels, dtype=torch.float64).view(pixels, 1, height, width)
    return (field.sample(units) - field.mean).view(pixels, pixels)


@pytest.mark.parametrize("field", [*FIELDS, SMOOTH], ids=lambda f: f"{f.rows}-{f.columns}")
def test_samples_are_the_symmetric_root_times_the_noise(field):
    root = sampled_units(field, 4, 6)
    expected = torch.from_numpy(covariance(field, 4, 6))
    torch.testing.assert_close(root @ root, expected, **ROUNDING)
    torch.testing.assert_close(root, root.mT, **ROUNDING)
    assert torch.linalg.eigvalsh(root).min() > -1e-12


@every_field
def test_samples_are_affine_in_the_noise_and_channels_apart(field):
    eps, other = normal(2, 1, field.channels, 4, 6)
    zero = torch.zeros_like(eps)
    assert torch.equal(field.sample(zero), torch.full_like(eps, field.mean))
    expected = 2 * field.sample(eps) - 3 * field.sample(other) + 2 * field.mean
    torch.testing.assert_close(field.sample(2 * eps - 3 * other), expected, **ROUNDING)
    eps[:, -1] = 0
    assert torch.equal(field.sample(eps)[:, -1], torch.full_like(eps[:, -1], field.mean))


@every_field
def test_samples_have_the_moments_of_the_field(field):
    count = 4000
    x0 = field.sample(normal(count, field.channels, 3, 4))[:, 0].flatten(1) - field.mean
    K = torch.from_numpy(covariance(field, 3, 4))
    # Five standard errors: of a mean sqrt(K_ii / n), of a product sqrt((K_ii K_jj + K_ij^2) / n).
    assert (x0.mean(0).abs() < 5 * (field.variance / count) ** 0.5).all()
    error = ((field.variance**2 + K**2) / count).sqrt()
    assert ((x0.mT @ x0 / count - K).abs() < 5 * error).all()


def test_samples_keep_the_type_of_the_noise():
    eps = normal(2, 1, 4, 6).float()
    x0 = PLANE.sample(eps)
    assert x0.dtype == torch.float32
    assert torch.equal(x0, PLANE.sample(eps.double()).float())


def test_it_is_a_patch_denoiser():
    oracle = GaussianDenoiser(FIELDS[4], patch_size=12)
    assert isinstance(oracle, PatchDenoiser)
    assert (oracle.patch_size, oracle.multiple, oracle.channels) == (12, 1, 3)
    assert oracle.takes_noise_maps


def test_a_context_is_refused():
    with pytest.raises(ValueError, match="context must be None"):
        denoiser(LINE)(normal(1, 1, 2, 2), level(1.0), context=0)


def test_a_patch_without_pixels_is_refused():
    with pytest.raises(ValueError, match="patch_size must be at least 1, got 0"):
        GaussianDenoiser(LINE, patch_size=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows_length": 0.0}, r"a length must be in \(0, 10000\] pixels, got 0.0"),
        ({"columns_length": -1.0}, r"in \(0, 10000\] pixels, got -1.0"),
        ({"columns_length": 2e4}, r"in \(0, 10000\] pixels, got 20000.0"),
        ({"rows_length": math.nan}, r"in \(0, 10000\] pixels, got nan"),
        ({"variance": 0.0}, "variance must be positive and finite, got 0.0"),
        ({"variance": math.inf}, "variance must be positive and finite, got inf"),
        ({"mean": math.nan}, "mean must be finite, got nan"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
    ],
)
def test_fields_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GaussianField(**wrong)


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_an_unknown_family_is_refused(axis):
    # Past the check of types, which runs under pytest only and would refuse it first.
    wrong = SimpleNamespace(**vars(GaussianField()) | {axis: "white"})
    with pytest.raises(ValueError, match=r"one of independent, exponential, .*, got 'white'"):
        GaussianField.__post_init__(wrong)
    with pytest.raises(ValueError, match="got 'white'"):
        inspect.unwrap(covariance_matrix)(4, "white", 1.0)


@pytest.mark.parametrize("family", ["exponential", "matern32", "squared_exponential"])
def test_the_longest_length_still_has_a_root(family):
    field = GaussianField(columns=family, columns_length=1e4)
    sigma = right_half(1, 512)
    assert denoiser(field)(field.sample(normal(1, 1, 1, 512)), sigma).isfinite().all()


@pytest.mark.parametrize("kind", ["level", "levels", "map"])
@pytest.mark.parametrize("size", [(1, 7), (3, 4)])
def test_the_variance_is_the_posteriors(size, kind):
    field = GaussianField(
        rows="exponential", columns="matern32", rows_length=3.0, columns_length=2.0, variance=0.7
    )
    denoiser = GaussianDenoiser(field, patch_size=4)
    x_t = torch.randn(2, 1, *size, dtype=torch.float64)
    sigma = torch.rand(
        {"level": (1, 1, 1, 1), "levels": (2, 1, 1, 1), "map": (2, 1, *size)}[kind],
        dtype=torch.float64,
    )
    variance = denoiser.with_variance(x_t, sigma)[1]
    K = field.covariance(*size)
    for drawn, levels in zip(variance, sigma.expand(2, 1, *size), strict=True):
        S = levels.flatten().square().diag()
        posterior = K - K @ torch.linalg.inv(K + S) @ K
        # The inverse of a matrix of condition below 1e4, in float64.
        torch.testing.assert_close(drawn.flatten(), posterior.diagonal(), rtol=1e-9, atol=1e-12)


def test_a_clean_pixel_has_no_variance():
    denoiser = GaussianDenoiser(GaussianField(), patch_size=4)
    sigma = torch.tensor([0.0, 0.5, 0.0, 2.0]).view(1, 1, 1, 4)
    variance = denoiser.with_variance(torch.zeros(1, 1, 1, 4), sigma)[1]
    assert torch.equal(variance > 0, sigma > 0)


# Loops

LOOPS = [
    (12, "exponential", 3.0),
    (7, "exponential", 30.0),
    (12, "matern32", 3.0),
    (9, "matern32", 20.0),
    (12, "squared_exponential", 2.0),
    (5, "squared_exponential", 0.3),
    (6, "independent", 4.0),
    (4, "exponential", 1e-4),
    (4, "matern32", 1e-4),
]
every_loop = pytest.mark.parametrize(("loop", "family", "length"), LOOPS)


@every_loop
def test_a_loop_is_the_endless_field_summed_over_all_turns(loop, family, length):
    far = range(-400, 401)  # exp(-400 * 7 / 30) is nothing
    sums = [
        math.fsum(correlation(family, length, abs(d + turn * loop)) for turn in far)
        for d in range(loop)
    ]
    matrix = covariance_matrix(loop, family, length, loop)
    for row, column in itertools.product(range(loop), repeat=2):
        expected = sums[abs(row - column)] / sums[0]
        assert matrix[row, column].item() == pytest.approx(expected, abs=1e-12)


def test_an_exponential_loop_is_markov():
    length, loop = 3.0, 12
    matrix = covariance_matrix(loop, "exponential", length, loop)
    distance = torch.arange(loop, dtype=torch.float64)
    expected = torch.cosh((loop / 2 - distance) / length) / math.cosh(loop / 2 / length)
    torch.testing.assert_close(matrix[0], expected, **ROUNDING)
    # Nothing but neighbours have a part in each other once all others are known.
    precision = torch.linalg.inv(matrix)
    apart = (distance[:, None] - distance).abs()
    assert precision[(apart > 1) & (apart < loop - 1)].abs().max() < 1e-11


@every_loop
def test_covariances_of_loops_are_covariances(loop, family, length):
    assert loop_spectrum(loop, family, length).min() >= 0
    assert torch.linalg.eigvalsh(covariance_matrix(loop, family, length, loop)).min() > -1e-14


@pytest.mark.parametrize(("family", "length"), [("matern32", 16.0), ("squared_exponential", 16.0)])
def test_correlations_by_the_shorter_way_round_would_not_be(family, length):
    place = torch.arange(96)
    line = covariance_matrix(96, family, length)[0]
    apart = torch.minimum((place[:, None] - place) % 96, (place - place[:, None]) % 96)
    assert torch.linalg.eigvalsh(line[apart]).min() < -1e-3


@pytest.mark.parametrize("size", [1, 4, 12])
@pytest.mark.parametrize("family", ["exponential", "matern32", "squared_exponential"])
def test_roots_of_loops_are_roots(family, size):
    root = loop_root(size, 12, family, 2.0)
    expected = covariance_matrix(size, family, 2.0, 12)
    torch.testing.assert_close(root @ root.mT, expected, **ROUNDING)
    assert torch.equal(root, root.tril())


TORUS = GaussianField(
    rows="matern32",
    rows_length=2.0,
    columns_length=3.0,
    rows_loop=6,
    columns_loop=8,
    mean=0.3,
    variance=2.0,
)


@pytest.mark.parametrize("shape", [(4, 5), (6, 8), (6, 3)])
@pytest.mark.parametrize("mapped", [False, True])
def test_estimates_on_a_torus_are_the_textbooks(shape, mapped):
    x_t = normal(2, 1, *shape)
    sigma = random_levels(2, 1, *(shape if mapped else (1, 1)))
    K = TORUS.covariance(*shape)
    S = torch.diag_embed(sigma.expand(2, 1, *shape).flatten(1).square())
    gain = K @ torch.linalg.inv(K + S)
    centred = (x_t - 0.3).flatten(1)[..., None]
    torch.testing.assert_close(
        denoiser(TORUS)(x_t, sigma), 0.3 + (gain @ centred).view_as(x_t), **ROUNDING
    )
    posterior = (gain @ S).diagonal(dim1=1, dim2=2).view_as(x_t)
    torch.testing.assert_close(denoiser(TORUS).variance(x_t, sigma), posterior, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mapped", [False, True])
def test_further_turns_are_those_of_the_first(mapped):
    x_t = normal(2, 1, 6, 8)
    sigma = random_levels(1, 1, *((6, 8) if mapped else (1, 1)))
    x0_hat, variance = denoiser(TORUS).with_variance(x_t, sigma)
    rows, columns = torch.arange(15) % 6, torch.arange(11) % 8
    turns = (..., rows[:, None], columns)
    further = denoiser(TORUS).with_variance(x_t[turns], sigma[turns] if mapped else sigma)
    assert torch.equal(further[0], x0_hat[turns])
    assert torch.equal(further[1], variance[turns])


def test_samples_of_a_torus_have_its_covariance():
    eye = torch.eye(48, dtype=torch.float64).view(48, 1, 6, 8)
    made = (TORUS.sample(eye) - 0.3).flatten(1)
    torch.testing.assert_close(made.mT @ made, TORUS.covariance(6, 8), **ROUNDING)


def test_loops_of_a_pixel_are_refused():
    with pytest.raises(ValueError, match="a loop must be at least 2 pixels long, got 1"):
        GaussianField(columns_loop=1)
