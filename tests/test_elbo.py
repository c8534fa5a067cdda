import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from denoisers.gaussian import GaussianDenoiser, GaussianField
from sampling.elbo import (
    Elbo,
    Prior,
    Proposal,
    Terms,
    byte_decoder,
    density_decoder,
    elbo,
    fitted_proposal,
    image_terms,
    path_integral,
)
from sampling.level_paths import Joint, Random, Sequential, Wavefront

LINE = (GaussianField(), 1, 12)
PLANE = (
    GaussianField(
        rows="exponential", columns="matern32", columns_length=2.0, mean=0.3, variance=0.25
    ),
    3,
    4,
)
SMOOTH = (GaussianField(rows="squared_exponential", rows_length=1.0), 2, 6)
FIELDS = [LINE, PLANE, SMOOTH]
PATHS = [
    Joint(),
    Sequential(),
    Wavefront(),
    Wavefront(lag=0.2, region=(1, 1)),
    Random(seed=0),
    Random(seed=1),
    Random(seed=2, region=(1, 1), shortest=0.05),
]

every_field = pytest.mark.parametrize("case", FIELDS, ids=["line", "plane", "smooth"])
every_path = pytest.mark.parametrize(
    "path", PATHS, ids=[f"{type(path).__name__}-{index}" for index, path in enumerate(PATHS)]
)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def plus_noise(field: GaussianField, height: int, width: int, sigma: float) -> MultivariateNormal:
    """The field after noise of one level."""
    cov = field.covariance(height, width)
    noise = sigma**2 * torch.eye(len(cov), dtype=torch.float64)
    return MultivariateNormal(torch.full((len(cov),), field.mean).double(), cov + noise)


def prior_of(field: GaussianField) -> Prior:
    return Prior(mean=field.mean, std=math.sqrt(field.variance))


def samples(case, count: int, *, channels: int = 1, seed: int = 0) -> torch.Tensor:
    field, height, width = case
    shape = (count, channels, height, width)
    return field.sample(torch.randn(shape, generator=seeded(seed), dtype=torch.float64))


class Textbook:
    """mu + K (K + S)^-1 (x_t - mu), thousands of maps at once; also its error on another field."""

    def __init__(self, field: GaussianField, height: int, width: int) -> None:
        self.mean, self.cov = field.mean, field.covariance(height, width)

    def gain(self, sigma: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(self.cov + torch.diag_embed(sigma.square()), self.cov).mT

    def __call__(self, x_t, sigma, context=None):
        levels = sigma.expand(-1, 1, *x_t.shape[-2:]).flatten(1)
        centred = (x_t - self.mean).flatten(2)
        return self.mean + (centred @ self.gain(levels).mT).view(x_t.shape)

    def squared_error(self, sigma: torch.Tensor, truth: GaussianField, height: int, width: int):
        """E (x0 - D)^2 of every pixel: G takes K to (I - G) K (I - G)^T and adds G S G^T."""
        levels = sigma.expand(-1, 1, height, width).flatten(1)
        G = self.gain(levels)
        rest = torch.eye(len(self.cov)) - G
        cov = rest @ truth.covariance(height, width) @ rest.mT
        cov = cov + G * levels.square()[:, None] @ G.mT
        return cov.diagonal(dim1=1, dim2=2).view(-1, 1, height, width)


def by_quadrature(case, path, mmse) -> float:
    """The whole bound on a field's continuous samples, in nats a pixel."""
    field, height, width = case
    ends = prior_of(field).expected_kl(path.sigma_max)
    ends += density_decoder(torch.zeros(1, 1, 1, 1), path.sigma_min).item()
    return ends + path_integral(mmse, path, height, width)


def exact_mmse(case):
    field, height, width = case
    denoiser = GaussianDenoiser(field, patch_size=1)
    blank = torch.zeros(1, 1, height, width, dtype=torch.float64)
    return lambda sigma: denoiser.variance(blank.expand(len(sigma), -1, -1, -1), sigma)


def gap(case, path) -> float:
    """What prior and decoder cost beyond the entropy, by their closed forms, in nats a pixel.

    The decoder N(x_min, sigma_min^2) instead of the posterior: ln det(1 + sigma_min^2 K^-1) / 2.
    The prior, white instead of K + sigma_max^2: their divergence.
    """
    field, height, width = case
    clean, least = (plus_noise(field, height, width, s) for s in (0.0, path.sigma_min))
    decoder = (least.covariance_matrix.logdet() - clean.covariance_matrix.logdet()) / 2
    most = plus_noise(field, height, width, path.sigma_max)
    white = MultivariateNormal(most.loc, torch.diag(most.covariance_matrix.diagonal()))
    return (decoder + kl_divergence(most, white)).item() / (height * width)


@every_field
@pytest.mark.parametrize("sigma_min", [0.002, 0.0001])
@every_path
def test_every_path_gives_the_entropy_of_the_field(case, sigma_min, path):
    path = dataclasses.replace(path, sigma_min=sigma_min)
    field, height, width = case
    entropy = plus_noise(field, height, width, 0.0).entropy().item() / (height * width)
    bound = by_quadrature(case, path, exact_mmse(case))
    # Quadrature and rounding together; what is left of the bound are its two ends.
    assert bound - entropy == pytest.approx(gap(case, path), abs=1e-11)
    # sigma_min^2 over the field's smallest eigenvalues: 0.01 at least, and half of that.
    assert 0 < bound - entropy < 50 * sigma_min**2 + 1e-8


@every_path
def test_the_integral_of_a_wrong_denoiser_is_off_by_its_divergence(path):
    field, height, width = LINE
    wrong = GaussianField(columns_length=1.5, variance=1.7)
    model = Textbook(wrong, height, width)
    bound = path_integral(lambda s: model.squared_error(s, field, height, width), path, 1, 12)
    excess = bound - path_integral(exact_mmse(LINE), path, height, width)
    divergences = [
        kl_divergence(*(plus_noise(f, height, width, sigma) for f in (field, wrong))).item() / 12
        for sigma in (path.sigma_min, path.sigma_max)
    ]
    assert excess == pytest.approx(divergences[0] - divergences[1], abs=1e-10)
    assert excess > 0.05


def test_a_white_field_of_the_wrong_variance_costs_the_textbook_divergence():
    path, field = Joint(sigma_min=1e-4, sigma_max=1e3), GaussianField(columns="independent")

    def squared_error(sigma):
        gain = 2.0 / (2.0 + sigma.square())
        return ((1 - gain).square() + gain.square() * sigma.square()).expand(-1, 1, 2, 3)

    case = (field, 2, 3)
    excess = path_integral(squared_error, path, 2, 3) - path_integral(exact_mmse(case), path, 2, 3)
    # KL(N(0, 1) || N(0, 2)); the ends cut off less than 1e-8.
    assert excess == pytest.approx((0.5 - 1 - math.log(0.5)) / 2, abs=1e-7)


# Twelve pixels average little noise out, so there are many channels, independent of each other.
MANY = {"count": 600, "channels": 64}


def monte_carlo(case, path, *, count=3000, channels=1, draws=4, model=None, proposal=None) -> Terms:
    field, height, width = case
    denoiser = Textbook(model or field, height, width)
    x0 = samples(case, count, channels=channels)
    generator = seeded(1)
    if proposal is None:
        proposal = fitted_proposal(denoiser, x0[:256], path, generator=generator)
    return image_terms(
        denoiser,
        x0,
        path,
        generator=generator,
        draws=draws,
        decoder=density_decoder,
        prior=prior_of(field),
        proposal=proposal,
    )


def log_densities(case, count: int = 3000, channels: int = 1) -> torch.Tensor:
    """-ln p of the images of `monte_carlo`, in nats a pixel."""
    x0 = samples(case, count, channels=channels).flatten(2)
    return -plus_noise(*case, 0.0).log_prob(x0).mean(1) / x0.shape[-1]


def standard_scores(difference: torch.Tensor) -> float:
    return (difference.mean() / difference.std() * math.sqrt(len(difference))).item()


@pytest.mark.parametrize("path", [*PATHS[:3], *PATHS[4:]], ids=lambda path: type(path).__name__)
def test_drawn_at_random_every_path_gives_the_entropy(path):
    field, height, width = PLANE
    terms = monte_carlo(PLANE, path, draws=16, **MANY)
    result = Elbo.of(terms)
    entropy = plus_noise(field, height, width, 0.0).entropy().item() / 12
    expected = entropy + gap(PLANE, path)
    assert result.nats_per_dim == pytest.approx(expected, abs=3 * result.standard_error)
    assert result.standard_error < 0.014
    # The identity holds image by image too.
    difference = terms.nats - log_densities(PLANE, **MANY) - gap(PLANE, path)
    assert abs(standard_scores(difference)) < 3


@every_path
def test_the_exact_denoiser_of_the_house_gives_the_same_draws(path):
    field, height, width = SMOOTH
    x0 = samples(SMOOTH, 12, channels=3)
    house, textbook = (
        elbo(
            denoiser,
            x0,
            path,
            generator=seeded(4),
            draws=3,
            decoder=density_decoder,
            prior=prior_of(field),
            batch_size=5,
        )
        for denoiser in (GaussianDenoiser(field, patch_size=2), Textbook(field, height, width))
    )
    # Two ways to solve with K + S, whose condition number reaches 10^3.
    assert house.nats_per_dim == pytest.approx(textbook.nats_per_dim, abs=1e-8)
    assert house.standard_error == pytest.approx(textbook.standard_error, abs=1e-8)
    assert house.images == 12


@pytest.mark.parametrize("path", [Joint(), Wavefront(), Random()], ids=lambda p: type(p).__name__)
def test_a_wrong_denoiser_is_worse_by_its_divergence(path):
    field, height, width = LINE
    wrong = GaussianField(columns_length=1.0)
    terms = monte_carlo(LINE, path, draws=8, model=wrong, **MANY)
    divergence = kl_divergence(*(plus_noise(f, height, width, 0.002) for f in (field, wrong)))
    excess = terms.nats - log_densities(LINE, **MANY) - gap(LINE, path)
    error = excess.std().item() / math.sqrt(len(excess))
    assert excess.mean().item() == pytest.approx(divergence.item() / 12, abs=3 * error)
    assert excess.mean().item() > 10 * error


@pytest.mark.parametrize("path", [Joint(), Sequential()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("draws", [1, 3])
def test_no_proposal_biases_the_estimate(path, draws):
    skewed = torch.tensor([0.02, 0.4, 0.03, 0.1, 0.05, 0.2, 0.2], dtype=torch.float64)
    for proposal in (Proposal(skewed), Proposal.uniform()):
        terms = monte_carlo(LINE, path, draws=draws, proposal=proposal)
        difference = terms.nats - log_densities(LINE) - gap(LINE, path)
        assert abs(standard_scores(difference)) < 3


@pytest.mark.parametrize("path", [Joint(), Sequential(), Random()], ids=lambda p: type(p).__name__)
def test_a_fitted_proposal_lowers_the_variance(path):
    truth = log_densities(LINE, **MANY)
    fitted, uniform = (
        (monte_carlo(LINE, path, proposal=proposal, **MANY).nats - truth).var().item()
        for proposal in (None, Proposal.uniform())
    )
    # 0.19, 0.04 and 0.18 of it.
    assert fitted < 0.5 * uniform


def test_the_standard_error_is_the_spread_of_repeated_estimates():
    terms = monte_carlo(LINE, Wavefront(), count=16000, draws=2)
    parts = [part.split(8) for part in (terms.prior, terms.diffusion, terms.decoder)]
    estimates = [
        Elbo.of(Terms(prior=prior, diffusion=diffusion, decoder=decoder))
        for prior, diffusion, decoder in zip(*parts, strict=True)
    ]
    spread = np.var([estimate.nats_per_dim for estimate in estimates], ddof=1)
    claimed = np.mean([estimate.standard_error**2 for estimate in estimates])
    # 2,000 estimates: a relative standard error of sqrt(2 / 2000) = 0.032, and a third as much.
    assert claimed == pytest.approx(spread, rel=5 * 0.034)


def test_the_terms_and_their_sum_are_apart():
    terms = Terms(
        prior=torch.ones(4).double(),
        diffusion=torch.arange(4).double(),
        decoder=torch.zeros(4).double() - 2,
    )
    result = Elbo.of(terms)
    assert (result.prior, result.diffusion, result.decoder) == (1.0, 1.5, -2.0)
    assert result.nats_per_dim == 0.5
    assert result.bits_per_dim == pytest.approx(0.5 / math.log(2))
    # 0, 1, 2, 3: variance 5/3.
    assert result.standard_error == pytest.approx(math.sqrt(5 / 12))
    assert result.bits_standard_error == pytest.approx(math.sqrt(5 / 12) / math.log(2))
    assert result.images == 4


def test_one_image_has_no_standard_error():
    one = torch.ones(1, dtype=torch.float64)
    assert math.isnan(Elbo.of(Terms(prior=one, diffusion=one, decoder=one)).standard_error)


def test_the_prior_is_a_divergence_of_normals():
    x0 = torch.randn(3, 2, 4, 5, generator=seeded(), dtype=torch.float64)
    prior, sigma = Prior(mean=0.4, std=0.7), 1.5
    wide = Normal(0.4, math.hypot(sigma, 0.7))
    expected = kl_divergence(Normal(x0, sigma), wide).mean((1, 2, 3))
    torch.testing.assert_close(prior.kl(x0, sigma), expected)
    expected = math.log(math.hypot(sigma, 0.7) / sigma)
    assert prior.expected_kl(sigma) == pytest.approx(expected, rel=1e-12)


def test_the_density_decoder_is_the_entropy_of_its_noise():
    nats = density_decoder(torch.zeros(2, 1, 3, 3), 0.01)
    torch.testing.assert_close(nats, Normal(0.0, 0.01).entropy().double().expand(2))


@pytest.mark.parametrize("sigma", [0.001, 0.004, 0.1])
@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_the_decoder_of_bytes_is_the_sum_over_all_values(sigma, value):
    grid = np.arange(256) / 127.5 - 1
    z, step = np.linspace(grid[value] - 9 * sigma, grid[value] + 9 * sigma, 20001, retstep=True)
    density = np.exp(-((z - grid[value]) ** 2) / (2 * sigma**2)) / sigma / math.sqrt(2 * math.pi)
    # In multiples of the probability of `value` itself, the exponents divided by one another.
    with np.errstate(over="ignore"):
        odds = np.exp(((z - grid[value]) ** 2 - (z - grid[:, None]) ** 2) / (2 * sigma**2)).sum(0)
    finite = density > 1e-14
    expected = (density * np.log(np.where(finite, odds, 1.0)))[finite].sum() * step
    x0 = torch.full((1, 1, 1, 1), value / 127.5 - 1)
    # What the two grids leave out beyond 8 deviations, times exponents of up to 10^4.
    assert byte_decoder(x0, sigma).item() == pytest.approx(expected, abs=1e-8)


def test_the_decoder_of_bytes_takes_the_mean_over_an_image():
    x0 = torch.tensor([[-1.0, 1.0], [0.0, 0.0]]).view(2, 1, 1, 2)
    x0[1] = 1 / 255  # 128 / 127.5 - 1
    ends, middle = byte_decoder(x0, 0.01).tolist()
    assert middle > ends
    assert byte_decoder(x0[:1, ..., :1], 0.01).item() == pytest.approx(ends)


@pytest.mark.parametrize("wrong", [0.001, 1.2, -1 - 1 / 127.5])
def test_images_that_are_no_bytes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"takes values k / 127\.5 - 1 with k = 0 \.\.\. 255"):
        byte_decoder(torch.full((1, 1, 2, 2), wrong), 0.01)


def uniform_bytes(x_t, sigma, context=None):
    """E[x0 | x_t] where every value is one of 256, all alike."""
    values = (torch.arange(256) / 127.5 - 1).to(x_t)
    weights = (-((x_t[..., None] - values) / sigma[..., None]).square() / 2).softmax(-1)
    return weights @ values


@pytest.mark.parametrize(
    "path", [Joint(), Wavefront(sigma_min=0.02)], ids=lambda p: type(p).__name__
)
def test_bytes_that_nobody_can_predict_cost_eight_bits(path):
    x0 = torch.randint(256, (96, 3, 4, 4), generator=seeded()) / 127.5 - 1
    prior = Prior(std=math.sqrt((256**2 - 1) / 12) / 127.5)
    result = elbo(uniform_bytes, x0, path, generator=seeded(1), prior=prior, draws=16)
    # The decoder is exact for such pixels, and the prior's error is below 1e-9.
    assert result.bits_per_dim == pytest.approx(8.0, abs=3 * result.bits_standard_error)
    assert result.bits_standard_error < 0.06


def test_the_generator_is_the_only_randomness():
    field, height, width = LINE
    x0 = samples(LINE, 6)
    options = {"decoder": density_decoder, "draws": 2, "prior": prior_of(field)}
    results = []
    for seed, noise in ((1, 0), (1, 7), (2, 0)):
        torch.manual_seed(noise)
        model = Textbook(field, height, width)
        results.append(elbo(model, x0, Wavefront(), generator=seeded(seed), **options))
    assert results[0] == results[1] != results[2]


def test_a_joint_path_asks_for_one_level_an_image():
    shapes = []

    def denoiser(x_t, sigma, context=None):
        shapes.append(tuple(sigma.shape))
        return x_t / (1 + sigma.square())

    options = {"generator": seeded(), "draws": 3, "proposal": Proposal.uniform()}
    elbo(denoiser, torch.zeros(5, 1, 4, 8) - 1, Joint(), batch_size=4, **options)
    assert shapes == 3 * [(4, 1, 1, 1)] + 3 * [(1, 1, 1, 1)]


def test_a_proposal_is_a_density():
    proposal = Proposal(torch.tensor([0.25, 0.75], dtype=torch.float64))
    t, density = proposal.at(torch.tensor([0.0, 0.125, 0.25, 0.625, 1.0], dtype=torch.float64))
    assert t.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert density.tolist() == [0.5, 0.5, 1.5, 1.5, 1.5]


def test_a_fitted_proposal_is_the_root_mean_square_and_a_floor():
    t = torch.tensor([0.1, 0.2, 0.6, 0.9], dtype=torch.float64)
    values = torch.tensor([1.0, 7.0, 3.0, -3.0], dtype=torch.float64)
    proposal = Proposal.fitted(t, values, bins=2, floor=0.2)
    # Root mean squares of 5 and 3.
    expected = torch.tensor([0.1 + 0.8 * 5 / 8, 0.1 + 0.8 * 3 / 8], dtype=torch.float64)
    torch.testing.assert_close(proposal.probabilities, expected)
    nothing = Proposal.fitted(t, 0 * values, bins=2)
    torch.testing.assert_close(nothing.probabilities, torch.full((2,), 0.5).double())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda t: Proposal(t), "positive and sum to 1"),
        (lambda t: Proposal(torch.tensor([1.0, 0.0]).double()), "positive and sum to 1"),
        (lambda t: Proposal.fitted(t, t, bins=4), "each of the 4 bins needs a value"),
        (lambda t: Proposal.fitted(t, t, bins=1, floor=0.0), r"floor must be in \(0, 1\]"),
    ],
)
def test_what_is_no_proposal_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(torch.tensor([0.1, 0.6], dtype=torch.float64))


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        elbo(uniform_bytes, torch.zeros(1, 1, 1, 1) - 1, Joint(), generator=seeded(), draws=0)


PAGE = Path(__file__).parent.parent / "docs" / "elbo.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_oracle_of_the_page_prints_its_table(capsys):
    (code,) = (block for block in BLOCKS if "path_integral" in block)
    exec(code.replace("draws=32", "draws=8"), {})
    entropy, *rows = capsys.readouterr().out.splitlines()
    entropy = float(entropy.split()[1])
    assert len(rows) == 4
    for row in rows:
        quadrature, drawn, error = map(float, re.findall(r"\d+\.\d+", row))
        assert quadrature == pytest.approx(entropy, abs=1.1e-6)  # six digits are printed
        assert drawn == pytest.approx(entropy, abs=3 * error)
        assert f"{row.split()[0]:<12} quadrature {quadrature:.6f}" in PAGE.read_text()


def test_the_denoiser_of_the_page_can_be_asked(monkeypatch):
    (code,) = (block for block in BLOCKS if "load_denoiser" in block)
    monkeypatch.chdir(PAGE.parent.parent)
    # The pilot is 256 patches.
    monkeypatch.setattr("sampling.elbo.fitted_proposal", lambda *_, **__: Proposal.uniform())
    names = {}
    exec(code.replace('"test", 64', '"test", 2'), names)
    # 2.9 bits on 64 images; of two images eight uniform draws know it to a bit or so.
    assert 0 < names["bound"].bits_per_dim < 8
