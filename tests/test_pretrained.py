"""Pretrained models against the library that they come from, on small random ones."""

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DModel,
)
from diffusers.pipelines.ddim import pipeline_ddim

from datamodules.landscapes import Landscapes
from denoisers.checkpoint import load_denoiser
from denoisers.conditions import Conditions
from denoisers.contract import PURE_NOISE, PatchDenoiser
from denoisers.gaussian import GaussianDenoiser, GaussianField
from denoisers.guidance import Guided
from denoisers.precond import EDMPrecond
from denoisers.pretrained.adapter import PretrainedDenoiser, prediction_of
from denoisers.pretrained.levels import DiscreteLevels, FlowLevels, levels_of
from denoisers.pretrained.model import PretrainedModel
from denoisers.pretrained.networks import Network, PixelNetwork
from denoisers.pretrained.stand_ins import sd_pipeline
from sampling.diffusers_solver import Diffusers
from sampling.noise import CanvasNoise
from sampling.solvers import Euler, Heun
from strategies.canvas import Canvas
from strategies.direct import Direct
from strategies.multidiffusion import MultiDiffusion
from strategies.prompts import PromptContext
from tests.pretrained_stand_ins import flux_pipeline, pixel_pipeline, sd3_pipeline, sdxl_pipeline

SCHEDULES = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}


@pytest.fixture(scope="module")
def unet() -> UNet2DModel:
    return pixel_pipeline().unet.double()


@pytest.fixture(scope="module")
def sd() -> PretrainedModel:
    return PretrainedModel.of(sd_pipeline())


def level(sigma: float, like: torch.Tensor) -> torch.Tensor:
    return like.new_full((1, 1, 1, 1), sigma)


def told(model: PretrainedModel, *prompts: str) -> Conditions:
    text = model.prompts(prompts)
    return Conditions(tokens=text.tokens, pooled=text.pooled)


def denoiser_of(unet: UNet2DModel, **scheduler) -> tuple[PretrainedDenoiser, DDIMScheduler]:
    """A denoiser of pixels, and the library's own sampler with the same settings."""
    settings = {"clip_sample": False} | scheduler
    pipeline = pixel_pipeline(**settings)
    pipeline.register_modules(unet=unet, scheduler=DDPMScheduler(**settings))
    theirs = DDIMScheduler(**settings, set_alpha_to_one=False)
    theirs.set_timesteps(1000)
    return PretrainedModel.of(pipeline).denoiser, theirs


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", [*SCHEDULES, "zero_terminal"])
@torch.no_grad()
def test_the_estimate_is_the_librarys_at_every_timestep(unet, schedule, prediction):
    settings = SCHEDULES.get(schedule, SCHEDULES["scaled_linear"])
    zero_terminal = schedule == "zero_terminal"
    if zero_terminal and prediction == "epsilon":
        pytest.skip("refused, see below")
    denoiser, theirs = denoiser_of(
        unet, **settings, prediction_type=prediction, rescale_betas_zero_snr=zero_terminal
    )
    x_vp = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    sigma = denoiser.levels.sigmas.view(-1, 1, 1, 1)
    estimates = denoiser(x_vp * (1 + sigma.square()).sqrt(), sigma)
    every = torch.arange(1000)
    predictions = unet(x_vp.expand(1000, -1, -1, -1), every).sample
    for timestep, x0_hat in enumerate(estimates[:, None]):
        predicted = predictions[timestep, None]
        expected = theirs.step(predicted, timestep, x_vp).pred_original_sample
        # diffusers rounds sqrt(abar) to float32: 6e-8 of an estimate of size sigma, and a last
        # level of infinity is 1e6 here, whose x0 weighs 1e-6.
        atol = 1e-5 * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(x0_hat, expected, atol=atol, rtol=0)


@torch.no_grad()
def test_clipping_is_that_of_the_models_scheduler(unet):
    clipped, theirs = denoiser_of(unet, clip_sample=True, clip_sample_range=0.5)
    x_vp = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    sigma = float(clipped.levels.sigmas[700])
    x0_hat = clipped(x_vp * clipped.levels.start(sigma), level(sigma, x_vp))
    expected = theirs.step(unet(x_vp, 700).sample, 700, x_vp).pred_original_sample
    assert float(x0_hat.abs().max()) == 0.5
    torch.testing.assert_close(x0_hat, expected, atol=1e-5, rtol=0)


def test_a_last_timestep_of_no_signal_has_no_epsilon(unet):
    with pytest.raises(ValueError, match="says nothing at a last timestep of signal 0"):
        denoiser_of(unet, prediction_type="epsilon", rescale_betas_zero_snr=True)


def test_dynamic_thresholding_is_refused(unet):
    with pytest.raises(ValueError, match="thresholding"):
        denoiser_of(unet, thresholding=True)


def test_levels_between_timesteps_lie_on_a_line_in_log_sigma():
    levels = DiscreteLevels({"beta_schedule": "linear"})
    whole = torch.tensor([0, 1, 17, 500, 998, 999])
    for dtype in (torch.float32, torch.float64):
        assert levels.timestep(levels.sigmas[whole].to(dtype)).tolist() == whole.tolist()
    between = levels.sigmas[500].log() + 0.25 * (levels.sigmas[501] / levels.sigmas[500]).log()
    assert levels.timestep(between.exp()[None]).item() == pytest.approx(500.25, abs=1e-9)
    ends = torch.tensor([1e-9, 1e9])
    assert levels.timestep(ends).tolist() == [0, 999]


def test_the_noise_schedule_is_the_schedulers_spacing():
    settings = {"beta_schedule": "linear", "timestep_spacing": "leading", "steps_offset": 1}
    levels = DiscreteLevels(settings)
    assert torch.equal(levels.noise_schedule(4)[:-1], levels.sigmas[[751, 501, 251, 1]])
    assert levels.noise_schedule(4)[-1] == 0


def test_a_flows_levels_are_times():
    levels = FlowLevels({"num_train_timesteps": 1000, "shift": 1.0}, tokens=16)
    assert levels.timestep(torch.tensor([1.0, 3.0, PURE_NOISE])).tolist() == [500, 750, 1000]
    sigmas = levels.noise_schedule(3)
    assert sigmas[0] == PURE_NOISE
    # Times 1, 0.5005, 0.001: the scheduler's even spacing from the last to the first.
    assert sigmas[1].item() == pytest.approx(0.5005 / 0.4995, rel=1e-6)
    assert sigmas[-1] == 0


def test_schedulers_that_know_flows_among_others_name_their_shift_otherwise():
    shifted, other = FlowLevels({"shift": 3.0}, tokens=1), FlowLevels({"flow_shift": 3.0}, tokens=1)
    assert torch.equal(shifted.noise_schedule(5), other.noise_schedule(5))
    assert not torch.equal(shifted.noise_schedule(5), FlowLevels({}, tokens=1).noise_schedule(5))


@pytest.mark.parametrize("make", [sd3_pipeline, flux_pipeline])
@torch.no_grad()
def test_the_estimate_of_a_flow_is_the_line_back_from_its_velocity(make):
    pipeline = make()
    model = PretrainedModel.of(pipeline)
    denoiser, x_flow = model.denoiser, torch.randn(2, 4, 8, 8)
    context = told(model, "a cat", "a dog")
    for time in (1.0, 0.7, 0.2, 0.001):
        sigma = min(time / (1 - time), PURE_NOISE) if time < 1 else PURE_NOISE
        x0_hat = denoiser(x_flow * (1 + sigma), level(sigma, x_flow), context)
        text = model.prompts(["a cat", "a dog"])
        timestep = torch.full((2,), 1000 * time)
        velocity = denoiser.network(x_flow, timestep, text)
        # Float32, and 1e-6 of x_flow at pure noise.
        torch.testing.assert_close(x0_hat, x_flow - time * velocity, atol=1e-5, rtol=0)


class Disguised(Network):
    """Our own trained denoiser, as the network of a model of diffusers would predict."""

    takes_text, multiple, dtype = False, 8, torch.float64

    def __init__(self, denoiser: EDMPrecond, scheduler: Any) -> None:
        torch.nn.Module.__init__(self)
        self.denoiser, self.side, self.channels = denoiser, 32, 3
        self.abar = getattr(scheduler, "alphas_cumprod", None)

    def predict(self, x, timestep, text):
        if self.abar is None:
            time = (timestep / 1000).view(-1, 1, 1, 1)
            sigma = time / (1 - time)
            x0_hat = self.denoiser(x * (1 + sigma), sigma)
            return (x - (1 - time) * x0_hat) / time - x0_hat
        abar = self.abar[timestep.long()].double().view(-1, 1, 1, 1)
        x0_hat = self.denoiser(x / abar.sqrt(), (1 / abar - 1).sqrt())
        return (x - abar.sqrt() * x0_hat) / (1 - abar).sqrt()


@pytest.mark.parametrize(
    "scheduler", [DDPMScheduler(), FlowMatchEulerDiscreteScheduler()], ids=["discrete", "flow"]
)
@torch.no_grad()
def test_our_own_denoiser_in_disguise_is_itself(scheduler):
    ours = load_denoiser("checkpoints/landscapes.safetensors").double()
    prediction = prediction_of(scheduler)
    levels = levels_of(scheduler, flow=prediction == "flow_prediction", tokens=1)
    disguised = PretrainedDenoiser(Disguised(ours, scheduler), levels, prediction)
    assert disguised.multiple == ours.multiple
    x0 = Landscapes().crops("test", 1, 32, 32).double() / 127.5 - 1
    eps = torch.randn_like(x0)
    for timestep in (1, 100, 500, 900):
        time = timestep / 1000
        sigma = time / (1 - time)
        if prediction == "epsilon":
            sigma = float(levels.sigmas[timestep])
        sigma = level(sigma, x0)
        x_t = x0 + sigma * eps
        # Float64, but for the levels that diffusers keeps in float32.
        torch.testing.assert_close(disguised(x_t, sigma), ours(x_t, sigma), atol=1e-5, rtol=0)


def test_where_nothing_is_noisy_nothing_changes(sd):
    x_t = torch.randn(2, 4, 8, 8)
    sigma = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    x0_hat = sd.denoiser(x_t, sigma)
    assert torch.equal(x0_hat[0], x_t[0])
    assert not torch.equal(x0_hat[1], x_t[1])


def test_an_adapter_is_a_denoiser_of_patches(sd):
    assert isinstance(sd.denoiser, PatchDenoiser)
    assert (sd.denoiser.patch_size, sd.denoiser.multiple, sd.denoiser.channels) == (8, 2, 4)
    assert sd.scale == 4
    with pytest.raises(ValueError, match="one noise level an image"):
        sd.denoiser(torch.randn(1, 4, 8, 8), torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="multiples of 2, got 7 x 8"):
        sd.denoiser(torch.randn(1, 4, 7, 8), torch.ones(1, 1, 1, 1))


def test_text_that_is_not_given_is_the_negative_prompt():
    model = PretrainedModel.of(sd_pipeline(), negative_prompt="blurred")
    x_t, sigma = torch.randn(2, 4, 8, 8), torch.ones(1, 1, 1, 1)
    context = told(model, "a cat", "a dog")
    given = torch.tensor([True, False])
    some = Conditions(tokens=context.tokens, given=given)
    negative = told(model, "blurred", "blurred")
    x0_hat = model.denoiser(x_t, sigma, some)
    torch.testing.assert_close(x0_hat[0], model.denoiser(x_t, sigma, context)[0])
    torch.testing.assert_close(x0_hat[1], model.denoiser(x_t, sigma, negative)[1])
    torch.testing.assert_close(model.denoiser(x_t, sigma), model.denoiser(x_t, sigma, negative))
    assert (x0_hat[1] - model.denoiser(x_t, sigma, context)[1]).abs().max() > 1e-4


def from_strategy(model: PretrainedModel, solver, noise: CanvasNoise, guidance: float):
    """A canvas of one window by our own solver, with one prompt, in latents."""
    side = model.denoiser.patch_size
    canvas = Canvas(height=side, width=side, channels=model.denoiser.channels)
    text = model.prompts(["a lake"]) if model.prompts else None
    context = PromptContext(tokens=text.tokens, pooled=text.pooled) if text else None
    denoiser = Guided(model.denoiser, guidance) if guidance != 1 else model.denoiser
    strategy = MultiDiffusion(solver=solver.fitted(model.denoiser))
    return strategy.generate(denoiser, canvas, noise, context=context)


def latents(model: PretrainedModel, noise: CanvasNoise) -> torch.Tensor:
    side = model.denoiser.patch_size
    return noise.draw("start", 0, (model.denoiser.channels, side, side))


@pytest.mark.parametrize(
    ("name", "theirs"), [("ddim", DDIMScheduler), ("dpmsolver++", DPMSolverMultistepScheduler)]
)
@pytest.mark.parametrize("make", [sd_pipeline, sdxl_pipeline])
def test_a_canvas_of_one_window_is_what_the_pipeline_makes(make, name, theirs):
    model = PretrainedModel.of(make())
    noise = CanvasNoise(0, [0, 1])
    made = from_strategy(model, Diffusers(num_steps=7, scheduler=name), noise, guidance=5.0)
    pipeline = make()
    pipeline.scheduler = theirs.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        ["a lake"] * 2,
        num_inference_steps=7,
        guidance_scale=5.0,
        latents=latents(model, noise),
        output_type="latent",
        **({} if make is sd_pipeline else {"height": 32, "width": 32}),
    ).images
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("clip", [False, True])
def test_pixels_of_one_window_are_what_the_ddim_pipeline_makes(clip, monkeypatch):
    pixels = pixel_pipeline(clip_sample=clip)
    model, noise = PretrainedModel.of(pixels), CanvasNoise(0, [0])
    made = from_strategy(model, Diffusers(num_steps=7, scheduler="ddim"), noise, guidance=1.0)
    pipeline = DDIMPipeline(pixels.unet, pixels.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    monkeypatch.setattr(pipeline_ddim, "randn_tensor", lambda *_, **__: latents(model, noise))
    # A clipped estimate implies other noise than was predicted: ours goes by the one it implies.
    images = pipeline(num_inference_steps=7, use_clipped_model_output=True, output_type="np")
    expected = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    torch.testing.assert_close((made / 2 + 0.5).clamp(0, 1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("make", "guidance"), [(sd3_pipeline, 4.0), (flux_pipeline, 1.0)])
def test_a_flow_of_one_window_is_what_the_pipeline_makes(make, guidance):
    pipeline = make()
    model, noise = PretrainedModel.of(pipeline), CanvasNoise(0, [0])
    made = from_strategy(model, Euler(num_steps=7), noise, guidance)
    pipeline.set_progress_bar_config(disable=True)
    given, settings = latents(model, noise), {"height": 32, "width": 32}
    if make is flux_pipeline:
        given = pipeline._pack_latents(given, 1, 4, 8, 8)
    else:
        settings["guidance_scale"] = guidance
    expected = pipeline(
        "a lake", num_inference_steps=7, latents=given, output_type="latent", **settings
    ).images
    if make is flux_pipeline:
        expected = pipeline._unpack_latents(expected, 32, 32, 4)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("make", [sd_pipeline, sdxl_pipeline, sd3_pipeline])
def test_image_k_of_a_guided_batch_is_image_k_alone(make):
    model = PretrainedModel.of(make())
    together = from_strategy(model, Heun(num_steps=3), CanvasNoise(0, [0, 1, 2]), guidance=5.0)
    for index in range(3):
        alone = from_strategy(model, Heun(num_steps=3), CanvasNoise(0, [index]), guidance=5.0)
        # Batches of other sizes round differently; pairs mixed up would differ by order 1.
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-3, rtol=0)


def test_a_solver_that_starts_above_what_the_model_knows_is_refused(sd):
    strategy, canvas = Direct(), Canvas(height=8, width=8, channels=4)
    with pytest.raises(ValueError, match=r"levels up to 14\.6.*take solver\.fitted\(denoiser\)"):
        strategy.generate(sd.denoiser, canvas, CanvasNoise(0, [0]))
    fitted = Heun(levels="karras").fitted(sd.denoiser)
    assert fitted.sigma_max == sd.denoiser.levels.sigma_max
    assert fitted.sigma_min == sd.denoiser.levels.sigma_min
    assert Heun().fitted(sd.denoiser).levels is sd.denoiser.levels
    ours = GaussianDenoiser(GaussianField(), patch_size=8)
    assert Heun().fitted(ours) == Heun()


def test_churn_of_a_fitted_solver_stays_within_the_levels(sd):
    solver = Heun(num_steps=10, churn=10.0, levels="karras").fitted(sd.denoiser)
    assert solver.s_max * (1 + solver.gamma) == pytest.approx(sd.denoiser.levels.sigma_max)


def test_networks_that_take_more_than_images_and_text_are_refused():
    model = UNet2DModel(sample_size=16, in_channels=7, out_channels=3, block_out_channels=(32,) * 4)
    pipeline = pixel_pipeline()
    pipeline.register_modules(unet=model)
    with pytest.raises(ValueError, match="takes 7 channels and predicts 3"):
        PretrainedModel.of(pipeline)


def test_classes_are_told():
    model = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        num_class_embeds=3,
    )
    x, timestep = torch.randn(1, 3, 8, 8), torch.tensor([5.0])
    first, last = (PixelNetwork(model, label)(x, timestep, None) for label in (0, 2))
    assert not torch.allclose(first, last)
    for label in (None, 3):
        with pytest.raises(ValueError, match="a class from 0 to 2"):
            PixelNetwork(model, label)


@pytest.mark.parametrize("make", [sd_pipeline, sd3_pipeline])
def test_what_has_no_classes_is_given_none(make):
    with pytest.raises(ValueError, match="label must be left out, got 3"):
        PretrainedModel.of(make(), label=3)


def test_the_hash_is_that_of_weights_and_configuration():
    first, again, other = (PretrainedModel.of(pixel_pipeline(seed)) for seed in (0, 0, 1))
    sha256 = first.description()["weights_sha256"]
    assert sha256 == again.description()["weights_sha256"]
    assert sha256 != other.description()["weights_sha256"]
