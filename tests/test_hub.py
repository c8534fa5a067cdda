"""Where pipelines come from, and what is said where they do not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DiffusionPipeline, UNet2DModel
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from denoisers.conditions import Conditions
from denoisers.pretrained.hub import load_pipeline
from denoisers.pretrained.model import PretrainedModel, load_pretrained, modules
from denoisers.pretrained.stand_ins import sd_pipeline
from tests.pretrained_stand_ins import (
    flux_pipeline,
    pixel_pipeline,
    sd3_pipeline,
    sdxl_pipeline,
    write_stand_ins,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Path]:
    """The folders of a model of pixels, one of latents and a flow; tests copy what they change."""
    return write_stand_ins(tmp_path_factory.mktemp("saved"))


@pytest.fixture(autouse=True)
def _no_connection(monkeypatch, tmp_path):
    """Whatever is looked for on the hub is not there, and nobody waits for it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def estimates(model: PretrainedModel) -> dict[str, Any]:
    """What is made of the same noise and the same prompt."""
    denoiser = model.denoiser
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(1, denoiser.channels, 8, 8, generator=generator)
    found: dict[str, Any] = {"levels": denoiser.levels.noise_schedule(5)}
    context = None
    if model.prompts is not None:
        text = model.prompts(["A lake, in winter."])
        context = Conditions(tokens=text.tokens, pooled=text.pooled)
        found["tokens"] = text.tokens
    with torch.no_grad():
        found["x0_hat"] = denoiser(x_t, torch.ones(1, 1, 1, 1), context)
    if model.autoencoder is not None:
        found["image"] = model.autoencoder.decode(x_t)
    return found


@pytest.mark.parametrize(
    "make", [pixel_pipeline, sd_pipeline, sdxl_pipeline, sd3_pipeline, flux_pipeline]
)
def test_what_was_saved_comes_back(make, tmp_path):
    pipeline = make()
    pipeline.save_pretrained(tmp_path)
    loaded = load_pipeline(str(tmp_path))
    assert type(loaded) is type(pipeline)
    if make is flux_pipeline:
        # Of patches a Flux says nothing, and the library takes those of the published one.
        loaded.default_sample_size = pipeline.default_sample_size
    models = [PretrainedModel.of(each) for each in (pipeline, loaded)]
    for before, after in zip(*(modules(each.pipeline).items() for each in models), strict=True):
        assert before[0] == after[0]
        for name, weight in before[1].state_dict().items():
            assert torch.equal(after[1].state_dict()[name], weight), name
    before, after = (estimates(each) for each in models)
    assert before.keys() == after.keys()
    for name, value in before.items():
        # Weights lie elsewhere in memory, and sums are added in another order.
        torch.testing.assert_close(after[name], value, atol=1e-5, rtol=1e-5)
    assert load_pretrained(str(tmp_path)).name == str(tmp_path)


def test_networks_compute_in_what_was_asked_for(saved):
    pipeline = load_pipeline(str(saved["latents"]), dtype=torch.bfloat16)
    assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {
        torch.bfloat16
    }
    assert load_pipeline(str(saved["latents"])).unet.dtype == torch.float32


def changed(folder: Path, **parts: list[str | None]) -> None:
    """Says of more parts in a pipeline's index."""
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | parts))


def test_what_judges_images_is_not_loaded(saved, tmp_path):
    folder = shutil.copytree(saved["latents"], tmp_path / "latents")
    # There are no files of theirs: to load them would fail.
    changed(
        folder,
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    pipeline = load_pipeline(str(folder))
    assert pipeline.safety_checker is None
    assert pipeline.feature_extractor is None


def test_what_looks_at_images_is_not_kept(saved, tmp_path):
    folder = shutil.copytree(saved["latents"], tmp_path / "latents")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    config = CLIPVisionConfig(**sizes, num_hidden_layers=1, image_size=8, patch_size=8)
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
    changed(folder, image_encoder=["transformers", "CLIPVisionModelWithProjection"])
    pipeline = load_pipeline(str(folder))
    assert pipeline.image_encoder is None
    assert "image_encoder" not in modules(pipeline)


@pytest.mark.parametrize("subfolder", ["", "scheduler"])
def test_a_network_and_its_scheduler_are_enough(subfolder, saved, tmp_path):
    pipeline = DDPMPipeline.from_pretrained(saved["pixels"])
    pipeline.unet.save_pretrained(tmp_path)
    pipeline.scheduler.save_pretrained(tmp_path / subfolder)
    loaded = load_pipeline(str(tmp_path))
    assert type(loaded) is DDPMPipeline
    assert loaded.scheduler.config.num_train_timesteps == 1000
    before, after = (estimates(PretrainedModel.of(each)) for each in (pipeline, loaded))
    assert torch.equal(after["x0_hat"], before["x0_hat"])


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("model_index.json", "model_index.json"),
        ("unet/diffusion_pytorch_model.safetensors", "no file named diffusion_pytorch_model"),
        ("unet/config.json", "config.json"),
        ("vae", "config.json"),
        ("scheduler", "scheduler_config.json"),
        ("text_encoder/model.safetensors", "model.safetensors"),
        # These load without a word of complaint, and then no prompt is understood.
        ("tokenizer", "the tokenizer knows .* of 514 words: its files are missing"),
        ("tokenizer/tokenizer.json", "the tokenizer knows .* of 514 words"),
    ],
)
def test_a_folder_that_is_not_whole_is_named(missing, said, saved, tmp_path):
    folder = shutil.copytree(saved["latents"], tmp_path / "latents")
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    rule = rf"{folder} must hold a pipeline as diffusers' save_pretrained writes it \(.*{said}"
    with pytest.raises(ValueError, match=rule) as error:
        load_pipeline(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["text_encoder_2", "text_encoder"])
def test_every_tokenizer_is_looked_at(part, tmp_path):
    sdxl_pipeline().save_pretrained(tmp_path)
    shutil.rmtree(tmp_path / part.replace("text_encoder", "tokenizer"))
    with pytest.raises(ValueError, match=f"the {part.replace('text_encoder', 'tokenizer')} knows"):
        load_pipeline(str(tmp_path))


def test_weights_that_are_cut_short_are_refused(saved, tmp_path):
    folder = shutil.copytree(saved["latents"], tmp_path / "latents")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"{folder} must hold .*unet"):
        load_pipeline(str(folder))


def test_an_empty_folder_holds_no_pipeline(tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path} must hold a pipeline"):
        load_pipeline(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("nobody/nothing", "nobody/nothing"),
        ("nobody/nothing@fp16", "nobody/nothing --revision fp16"),
        ("nobody/nothing@refs/pr/3", "nobody/nothing --revision refs/pr/3"),
        # A branch may be called so, a model may not.
        ("nobody/nothing@v2@fp16", "nobody/nothing --revision v2@fp16"),
    ],
)
def test_a_model_that_is_not_here_is_named_with_how_to_bring_it(name, wanted, tmp_path):
    with pytest.raises(OSError, match="offline mode is enabled") as error:
        load_pipeline(name)
    said = str(error.value)
    assert said.startswith("the model nobody/nothing is no folder, is not whole in the cache ")
    assert str(tmp_path / "cache") in said
    assert f"`hf download {wanted} --local-dir FOLDER`" in said
    assert said.endswith("give denoiser=diffusers:FOLDER.")
    assert "\n" not in said


def without_connection(calls: list[str]) -> Callable[..., Any]:
    """Fails as the library does where a name cannot be resolved."""

    def load(name: str, **where: Any) -> Any:
        calls.append("cache" if where.get("local_files_only") else "hub")
        if "timeout" in where:
            raise ConnectionError("[Errno -2] Name or service not known")
        try:
            try:
                raise ConnectionError("[Errno -2] Name or service not known")
            except ConnectionError as cause:
                raise LocalEntryNotFoundError("Please check your connection") from cause
        except LocalEntryNotFoundError as cause:
            raise OSError(f"{name} does not appear to have a file named so.") from cause

    return load


def test_where_there_is_no_connection_it_is_tried_once_and_said_so(monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(DiffusionPipeline, "load_config", without_connection(calls))
    monkeypatch.setattr(UNet2DModel, "from_pretrained", without_connection(calls))
    asks = without_connection(calls)
    monkeypatch.setattr(HfApi, "model_info", lambda self, name, **where: asks(name, **where))
    with pytest.raises(OSError, match=r"could not be downloaded \(.*Name or service not known\)"):
        load_pipeline("nobody/nothing")
    # For a pipeline and for a network alone in the cache; the hub is asked once whether it has such
    # a model: a download would ask for every file, again and again.
    assert calls == ["cache", "cache", "hub"]


def cached(folder: Path, cache: Path, name: str, revision: str, commit: str) -> None:
    """Puts a pipeline into the cache as a download would."""
    model = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, model / "snapshots" / commit)
    (model / "refs").mkdir(exist_ok=True)
    (model / "refs" / revision).write_text(commit)


def test_a_model_in_the_cache_needs_no_connection_and_has_revisions(saved, tmp_path):
    cache = tmp_path / "cache"
    pixel_pipeline(seed=1).save_pretrained(tmp_path / "other")
    cached(saved["pixels"], cache, "some/model", "main", "a" * 40)
    cached(tmp_path / "other", cache, "some/model", "v2", "b" * 40)
    weights = {
        name: load_pipeline(name).unet.conv_in.weight
        for name in ("some/model", "some/model@v2", f"some/model@{'b' * 40}")
    }
    first, second = (pixel_pipeline(seed=seed).unet.conv_in.weight for seed in (0, 1))
    assert torch.equal(weights["some/model"], first)
    assert torch.equal(weights["some/model@v2"], second)
    assert torch.equal(weights[f"some/model@{'b' * 40}"], second)
    with pytest.raises(OSError, match=r"hf download some/model --revision v3 "):
        load_pipeline("some/model@v3")


def test_a_folder_may_have_an_at_sign_in_its_name(saved, tmp_path):
    folder = shutil.copytree(saved["pixels"], tmp_path / "church@256")
    assert type(load_pipeline(str(folder))) is DDPMPipeline


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "../none"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ValueError, match=f"a folder or owner/model, got {name}: no folder"):
        load_pipeline(name)


def in_variant(pipeline: DiffusionPipeline, folder: Path, *variants: str) -> None:
    """Saves a pipeline whose weights are there in variants alone."""
    for variant in variants:
        pipeline.to(torch.float16 if variant == "fp16" else torch.float32)
        pipeline.save_pretrained(folder, variant=variant)
    pipeline.to(torch.float32)


@pytest.mark.parametrize("where", ["folder", "cache", "hub"])
@pytest.mark.parametrize("make", [pixel_pipeline, sd_pipeline, sdxl_pipeline])
def test_weights_in_a_variant_alone_load_by_themselves(make, where, tmp_path, monkeypatch):
    pipeline, folder = make(), tmp_path / "model"
    in_variant(pipeline, folder, "fp16")
    assert not list(folder.rglob("diffusion_pytorch_model.safetensors"))
    name = str(folder)
    if where == "cache":
        cached(folder, tmp_path / "cache", "some/model", "main", "a" * 40)
        name = "some/model"
    elif where == "hub":
        name = served(folder, "some/model", monkeypatch)
    loaded = load_pipeline(name)
    for part, module in modules(loaded).items():
        for key, weight in module.state_dict().items():
            assert weight.dtype in (torch.float32, torch.int64)
            saved = getattr(pipeline, part).state_dict()[key]
            torch.testing.assert_close(weight, saved.half().to(weight.dtype), msg=f"{part}.{key}")


def served(folder: Path, name: str, monkeypatch) -> str:
    """Has the library find a model on the hub, and not in the cache; what it downloads is there."""
    load, config, network = (
        DiffusionPipeline.from_pretrained,
        DiffusionPipeline.load_config,
        UNet2DModel.from_pretrained,
    )

    def from_hub(way: Callable[..., Any]) -> Callable[..., Any]:
        def found(asked: str, **where: Any) -> Any:
            if str(asked) != name:
                return way(asked, **where)
            if where.pop("local_files_only", False):
                raise OSError("not in the cache")
            return way(str(folder), **where)

        return found

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", from_hub(load))
    monkeypatch.setattr(DiffusionPipeline, "load_config", from_hub(config))
    monkeypatch.setattr(UNet2DModel, "from_pretrained", from_hub(network))
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    siblings = [SimpleNamespace(rfilename=file) for file in files]
    monkeypatch.setattr(
        HfApi, "model_info", lambda self, asked, **where: SimpleNamespace(siblings=siblings)
    )
    return name


def test_a_network_alone_may_come_in_a_variant(saved, tmp_path):
    pipeline = DDPMPipeline.from_pretrained(saved["pixels"])
    pipeline.unet.half().save_pretrained(tmp_path, variant="fp16")
    pipeline.scheduler.save_pretrained(tmp_path)
    assert type(load_pipeline(str(tmp_path))) is DDPMPipeline


def test_one_part_may_come_in_a_variant_and_others_not(saved, tmp_path):
    folder = shutil.copytree(saved["latents"], tmp_path / "latents")
    for file in (folder / "unet").glob("*.safetensors"):
        file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    before, after = (load_pipeline(str(name)) for name in (saved["latents"], folder))
    assert torch.equal(before.unet.conv_in.weight, after.unet.conv_in.weight)
    assert torch.equal(before.vae.encoder.conv_in.weight, after.vae.encoder.conv_in.weight)


def test_a_variant_beside_whole_weights_is_not_taken_in_their_place(saved, tmp_path):
    folder = shutil.copytree(saved["latents"], tmp_path / "latents")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"{folder} must hold .*unet"):
        load_pipeline(str(folder))


def test_of_several_variants_the_one_with_more_digits_is_taken(tmp_path):
    pipeline = pixel_pipeline()
    in_variant(pipeline, tmp_path, "fp16", "fp32")
    loaded = load_pipeline(str(tmp_path))
    assert torch.equal(loaded.unet.conv_in.weight, pipeline.unet.conv_in.weight)


def test_a_file_is_no_pretrained_model(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"another program in one file .*from_single_file"):
        load_pipeline(str(file))
