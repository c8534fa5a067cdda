import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tvF

from backbones.catalogue import build, named, names
from backbones.contract import Backbone, scaled
from backbones.downsampled import Downsampled
from backbones.pretrained import loaded, resized_by
from backbones.random_features import RandomFeatures
from backbones.stand_ins import save_clip, save_dino
from sampling.images import to_uint8

# Patches are dropped in training only: a network left in that mode would not go unseen.
TINY = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
        "patch_dropout": 0.5,
    },
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
NETWORKS = ["clip", "dino", "openclip"]
EVERY = ["downsampled", "random", *NETWORKS]
WITH_TEXT = ["clip", "openclip"]
PROMPTS = ["red", "a blue sky", "Cat!"]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # float32, and sums in another order


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Folders of random models, and what open_clip calls its own."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("backbones")
    save_clip(folder / "clip")
    save_dino(folder / "dino")
    open_clip = pytest.importorskip("open_clip")
    (folder / "Tiny-OpenClip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, _, _ = open_clip.create_model_and_transforms("Tiny-OpenClip")
    torch.save(network.state_dict(), folder / "openclip.pt")
    return {name: folder / name for name in ("clip", "dino", "openclip.pt")}


@pytest.fixture(scope="session")
def made(folders) -> dict[str, Backbone]:
    """One of each."""
    settings = {
        "clip": {"model": folders["clip"]},
        "dino": {"model": folders["dino"]},
        "openclip": {"model": "Tiny-OpenClip", "weights": folders["openclip.pt"]},
    }
    return {name: named(name)(**settings.get(name, {})) for name in EVERY}


def squashed(backbone: Backbone) -> Backbone:
    """The same backbone, shown all of an image."""
    description = backbone.description
    settings = description["init_args"] | {"fit": "squash"}
    return build({"class_path": description["class_path"], "init_args": settings})


def noise(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Coarse and fine noise, some of it beyond [-1, 1] as canvases are."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 1 + height // 9, 1 + width // 9, generator=generator)
    fine = torch.randn(count, 3, height, width, generator=generator)
    return 0.5 * F.interpolate(coarse, (height, width)) + 0.2 * fine


def png(image: torch.Tensor, folder: Path) -> Image.Image:
    """The picture that the harness would save of an image."""
    pixels = to_uint8(image[None])[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(folder / "image.png")
    with Image.open(folder / "image.png") as picture:
        return picture.copy()


def library_sees(name: str, backbone: Backbone, picture: Image.Image) -> torch.Tensor:
    """What the library of a backbone makes of a picture by itself."""
    if name == "openclip":
        open_clip = pytest.importorskip("open_clip")
        weights = backbone.description["init_args"]["weights"]
        _, _, preprocess = open_clip.create_model_and_transforms(
            "Tiny-OpenClip", pretrained=weights
        )
        return preprocess(picture)[None]
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(backbone.description["init_args"]["model"])
    return processor(images=picture, return_tensors="pt")["pixel_values"]


def shown(backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
    """What reaches the network's first layer."""
    first = next(m for m in backbone._network.modules() if isinstance(m, nn.Conv2d))
    seen: list[torch.Tensor] = []
    hook = first.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    backbone(images)
    hook.remove()
    return torch.cat(seen)


# The token format.


@pytest.mark.parametrize("name", EVERY)
def test_an_image_of_a_batch_has_the_tokens_that_it_has_alone(name, made, monkeypatch):
    backbone, images = made[name], noise(5, 40, 70)
    monkeypatch.setattr(Backbone, "chunk", 2)
    together = backbone(images)
    rows, columns = backbone.grid
    assert together.shape == (5, 1 + rows * columns, backbone.features)
    for k in range(5):
        torch.testing.assert_close(together[k : k + 1], backbone(images[k : k + 1]), **CLOSE)
    assert together.std(0).max() > 0.1  # and the images differ


@pytest.mark.parametrize("name", EVERY)
def test_local_tokens_lie_row_by_row(name, made):
    backbone = made[name]
    rows, columns = backbone.grid
    grey = torch.zeros(1, 3, 8 * rows, 8 * columns)
    for row, column in ((0, 2), (1, 0), (rows - 1, columns - 2)):
        spotted = grey.clone()
        spotted[..., 8 * row : 8 * (row + 1), 8 * column : 8 * (column + 1)] = 1
        # DINOv2's picture is cut at its border, so that its patches lie a little further in.
        change = (squashed(backbone) if name == "dino" else backbone)(spotted)
        change = (change - backbone(grey)).norm(dim=-1)[0, 1:]
        assert change.argmax().item() == row * columns + column


@pytest.mark.parametrize("name", EVERY)
def test_tokens_are_float32_and_carry_no_gradient(name, made):
    backbone, images = made[name], noise(2, 33, 47)
    expected = backbone(images)
    tokens = backbone(images.double().requires_grad_())
    assert tokens.dtype == torch.float32
    assert not tokens.requires_grad
    assert not tokens.is_inference()  # or no training step could keep them
    torch.testing.assert_close(tokens, expected, **CLOSE)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(backbone(images), expected)
        if backbone.has_text:
            assert backbone.text(["red"]).dtype == torch.float32


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_frozen_and_belongs_to_nobody(name, made):
    backbone = made[name]
    assert not any(weight.requires_grad for weight in backbone._network.parameters())
    owner = nn.Module()
    owner.backbone = backbone
    assert not list(owner.parameters())
    assert not owner.state_dict()


@pytest.mark.parametrize("name", ["random", *NETWORKS])
def test_it_moves_to_a_device(name, made):
    backbone = build(made[name].description)
    assert backbone.to("meta") is backbone
    weights = backbone._weights if name == "random" else dict(backbone._network.named_parameters())
    assert {weight.device.type for weight in weights.values()} == {"meta"}
    assert backbone.device == torch.device("meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", EVERY)
def test_tokens_on_a_gpu_are_those_on_a_cpu(name, made):
    images = noise(3, 40, 70)
    expected = made[name](images)
    tokens = build(made[name].description).to("cuda")(images)
    assert tokens.is_cuda
    # Resizing rounds to one level of 255 there or here.
    torch.testing.assert_close(tokens.cpu(), expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 1, 8, 8), (2, 4, 8, 8)])
def test_what_is_no_colour_image_is_refused(shape):
    with pytest.raises(ValueError, match=f"at least 1 image of 3 channels, got {shape[0]} of"):
        Downsampled()(torch.zeros(shape))


def test_text_without_a_text_tower_is_refused(made):
    for name in ("downsampled", "random", "dino"):
        with pytest.raises(ValueError, match="has no text tower; prompts need a backbone"):
            made[name].text(["red"])


@pytest.mark.parametrize("name", WITH_TEXT)
def test_prompts_are_a_list(name, made):
    for wrong in ("red", []):
        with pytest.raises(ValueError, match=r"a list of at least 1 prompt, got"):
            made[name].text(wrong)


# Mean colours.


@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 11), (2, 1), (5, 4)])
def test_mean_colours_of_cells(height, width):
    images = noise(2, height, width)
    tokens = Downsampled(grid=(4, 3))(images)
    pixels = images.double().numpy()
    # A cell begins in the pixel of its first edge and ends in that of its last.
    for row in range(4):
        for column in range(3):
            top, bottom = row * height // 4, -(-(row + 1) * height // 4)
            left, right = column * width // 3, -(-(column + 1) * width // 3)
            mean = pixels[:, :, top:bottom, left:right].mean((2, 3))
            np.testing.assert_allclose(tokens[:, 1 + 3 * row + column], mean, atol=1e-6)  # float32
    np.testing.assert_allclose(tokens[:, 0], pixels.mean((2, 3)), atol=1e-6)  # float32


# Random features.


def test_random_features_are_the_network_that_they_say():
    backbone, images = RandomFeatures(features=10, grid=(2, 3), seed=1), noise(3, 13, 18)
    first = nn.Conv2d(3, 10, 3, padding=1, padding_mode="replicate")
    second = nn.Conv2d(10, 10, 3, padding=1, padding_mode="replicate", bias=False)
    first.weight.data, first.bias.data = backbone._weights["first"], backbone._weights["bias"]
    second.weight.data = backbone._weights["second"]
    halved = nn.AvgPool2d(2, ceil_mode=True)
    places = nn.Sequential(first, nn.ReLU(), halved, second, nn.ReLU())(images)
    assert places.shape[2:] == (7, 9)
    # 7 rows in 2 cells share the middle one.
    rows, columns = (slice(0, 4), slice(3, 7)), (slice(0, 3), slice(3, 6), slice(6, 9))
    cells = [places[..., row, column].mean((2, 3)) for row in rows for column in columns]
    expected = torch.stack([places.mean((2, 3)), *cells], dim=1)
    expected = expected - expected.mean(-1, keepdim=True)
    # The normalisation's own floor under the variance is 1e-5.
    expected = expected / (expected.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(backbone(images), expected, **CLOSE)


def test_random_filters_have_the_variance_that_keeps_the_scale():
    weights = RandomFeatures(features=64)._weights
    # 1,728 and 36,864 uniform weights: the standard error of a variance is 2.2 % and 0.5 %.
    assert weights["first"].var().item() == pytest.approx(2 / 27, rel=0.11)
    assert weights["second"].var().item() == pytest.approx(2 / (9 * 64), rel=0.025)
    assert weights["bias"].abs().max() > 0.5  # up to 0.5 * sqrt(3)
    for weight in weights.values():
        # The standard error of a mean is the deviation over the root of the count.
        assert weight.mean().abs() < 5 * weight.std() / weight.numel() ** 0.5


def test_random_features_tell_brightness_and_colour_at_any_size():
    backbone = RandomFeatures()
    for height, width in ((1, 1), (3, 50), (64, 64)):
        flat = torch.stack([torch.full((3, height, width), level) for level in (-1.0, 0.0, 1.0)])
        red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, height, width)
        tokens = backbone(torch.cat([flat, red]))[:, 0]
        apart = torch.cdist(tokens, tokens) + 100 * torch.eye(4)
        assert apart.min() > 1  # of a norm of 8


def test_golden_random_weights_are_the_same_on_every_machine():
    # Whole numbers times one constant: no rounding that a processor could choose.
    assert RandomFeatures().fingerprint.startswith("5938e86cec030afe")
    assert RandomFeatures(seed=1).fingerprint != RandomFeatures().fingerprint


def test_sizes_that_cannot_be_are_refused():
    for kind in (Downsampled, RandomFeatures):
        for grid in ((0, 4), (4, -1), (4,)):
            with pytest.raises(ValueError, match="rows and columns, both at least 1, got"):
                kind(grid=grid)
    with pytest.raises(ValueError, match="features must be at least 2, got 1"):
        RandomFeatures(features=1)


# The learned ones: what the network is shown.


@pytest.mark.parametrize("size", [(40, 100), (97, 41), (20, 25), (32, 32)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_shown_what_the_library_makes_of_a_png(name, size, made, tmp_path):
    images = noise(2, *size)
    expected = [library_sees(name, made[name], png(image, tmp_path)) for image in images]
    assert torch.equal(shown(made[name], images), torch.cat(expected))


@pytest.mark.parametrize("size", [(40, 100), (97, 41), (20, 25)])
@pytest.mark.parametrize("name", NETWORKS)
def test_squashing_shows_all_of_the_image(name, size, made, tmp_path):
    images, backbone = noise(2, *size), squashed(made[name])
    side = 56 if name == "dino" else 32
    pixels = to_uint8(images)
    pictures = [png(image, tmp_path).resize((side, side), Image.BICUBIC) for image in images]
    by_pillow = torch.stack([tvF.pil_to_tensor(picture) for picture in pictures])
    by_torch = tvF.resize(pixels, [side, side], InterpolationMode.BICUBIC, antialias=True)
    resized = by_pillow if name == "openclip" else by_torch
    # Normalised as each was trained: [CLIP]'s figures, ImageNet's for DINOv2.
    means, deviations = (
        ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        if name == "dino"
        else ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    )
    expected = resized.double() / 255 - torch.tensor(means, dtype=torch.double).view(3, 1, 1)
    expected = expected / torch.tensor(deviations, dtype=torch.double).view(3, 1, 1)
    torch.testing.assert_close(shown(backbone, images).double(), expected, **CLOSE)
    assert backbone.fingerprint != made[name].fingerprint


def test_another_fit_is_refused():
    for name in NETWORKS:
        with pytest.raises(ValueError, match="fit must be 'crop' or 'squash', got 'pad'"):
            named(name)(fit="pad")


# The learned ones: the tokens.


def test_clips_global_token_points_where_the_library_does(made, tmp_path):
    backbone, images = made["clip"], noise(3, 40, 100)
    shown = torch.cat([library_sees("clip", backbone, png(image, tmp_path)) for image in images])
    expected = backbone._network.get_image_features(shown).pooler_output
    torch.testing.assert_close(backbone(images)[:, 0], scaled(expected), **CLOSE)


@pytest.mark.parametrize("place", [1, 7, 16])
def test_clips_local_tokens_are_put_where_the_library_puts_the_first(place, made):
    backbone, images = made["clip"], noise(2, 32, 32)
    seen = shown(backbone, images)
    expected = backbone(images)[:, place]

    def rolled(module, given, found):
        found.last_hidden_state = found.last_hidden_state.roll(-place, dims=1)
        return found

    hook = backbone._network.vision_model.encoder.register_forward_hook(rolled)
    pooled = backbone._network.get_image_features(seen).pooler_output
    hook.remove()
    torch.testing.assert_close(expected, scaled(pooled), **CLOSE)


def test_clips_text_tokens_point_where_the_library_does(made, folders):
    from transformers import AutoTokenizer

    tokenizer, backbone = AutoTokenizer.from_pretrained(folders["clip"]), made["clip"]
    tokens = backbone.text(PROMPTS)
    assert not tokens.requires_grad
    for prompt, token in zip(PROMPTS, tokens, strict=True):
        alone = tokenizer([prompt], return_tensors="pt")
        expected = backbone._network.get_text_features(**alone).pooler_output
        torch.testing.assert_close(token, scaled(expected), **CLOSE)


def test_open_clips_tokens_are_its_own(made, tmp_path):
    open_clip = pytest.importorskip("open_clip")
    backbone, images = made["openclip"], noise(3, 40, 100)
    pictures = [png(image, tmp_path) for image in images]
    shown = torch.cat([library_sees("openclip", backbone, picture) for picture in pictures])
    network = backbone._network
    network.visual.output_tokens = True
    with torch.no_grad():
        pooled, local = network.visual(shown)
        network.visual.output_tokens = False
        torch.testing.assert_close(network.encode_image(shown), pooled)
        texts = network.encode_text(open_clip.get_tokenizer("Tiny-OpenClip")(PROMPTS))
    expected = torch.cat([pooled[:, None], local @ network.visual.proj], dim=1)
    torch.testing.assert_close(backbone(images), scaled(expected), **CLOSE)
    torch.testing.assert_close(backbone.text(PROMPTS)[:, 0], scaled(texts), **CLOSE)


def test_dinos_tokens_are_its_normalised_last_hidden_state(made, tmp_path):
    backbone, images = made["dino"], noise(2, 64, 90)
    seen = torch.cat([library_sees("dino", backbone, png(image, tmp_path)) for image in images])
    before: list[torch.Tensor] = []
    norm = backbone._network.layernorm
    hook = norm.register_forward_pre_hook(lambda module, given: before.append(given[0]))
    backbone._network(seen)
    hook.remove()
    # A new layer norm has no weights of its own to undo, so it says what the network's must.
    expected = scaled(F.layer_norm(before[0], (64,), eps=1e-6))
    torch.testing.assert_close(backbone(images), expected, **CLOSE)


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_of_images_and_texts_have_one_scale(name, made):
    backbone = made[name]
    found = [backbone(noise(3, 40, 40))]
    if backbone.has_text:
        found.append(backbone.text(PROMPTS))
    for tokens in found:
        torch.testing.assert_close(tokens.square().mean(-1), torch.ones(tokens.shape[:2]), **CLOSE)


def test_tokens_of_another_scale_keep_their_direction():
    tokens = torch.tensor([[3.0, -4.0], [0.003, -0.004], [0.0, 0.0]])
    expected = torch.tensor([[0.6, -0.8], [0.6, -0.8], [0.0, 0.0]]) * 2**0.5
    torch.testing.assert_close(scaled(tokens), expected)


@pytest.mark.parametrize("name", WITH_TEXT)
def test_prompts_that_would_be_cut_are_refused(name, made):
    backbone = made[name]
    # A stand-in spells a letter a token; open_clip's tokenizer has a token for `red`.
    longest = ["r" * 75] if name == "clip" else [" ".join(["red"] * 10)]
    too_long = ["r" * 76] if name == "clip" else [" ".join(["red"] * 11)]
    assert backbone.text(longest).shape == (1, 1, backbone.features)
    with pytest.raises(ValueError, match=r"at most (77|12) tokens with its start and end, got"):
        backbone.text([*PROMPTS, *too_long])


# Descriptions.


@pytest.mark.parametrize("name", EVERY)
def test_a_description_makes_the_backbone_again(name, made):
    description = json.loads(json.dumps(made[name].description))
    assert list(description) == ["class_path", "init_args", "fingerprint"]
    assert len(bytes.fromhex(description["fingerprint"])) == 32
    again, images = build(description), noise(2, 30, 50)
    assert type(again) is named(name)
    assert again.description == made[name].description
    assert torch.equal(again(images), made[name](images))
    wrong = description | {"fingerprint": "0" * 64}
    with pytest.raises(ValueError, match=r"the fingerprint 0{64}, but the weights and"):
        build(wrong)


def test_a_description_may_be_short():
    assert build({"class_path": "downsampled"}).grid == (4, 4)
    found = build({"class_path": "random", "init_args": {"features": 8, "grid": [1, 2]}})
    assert (found.features, found.grid) == (8, (1, 2))


def test_names():
    assert sorted(EVERY) == names()
    assert named("backbones.downsampled.Downsampled") is named("downsampled") is Downsampled
    with pytest.raises(ValueError, match=r"one of clip, .* got 'dinno'; did you mean 'dino'\?"):
        named("dinno")


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ({"init_args": {}}, "must have a class_path, got"),
        ({"class_path": "random", "init_arg": {}}, "no 'init_arg'; did you mean 'init_args'"),
        ({"class_path": "random", "init_args": {"sed": 1}}, "no setting 'sed'; did you mean 'seed"),
        ({"class_path": "torch.nn.Linear"}, "derived from backbones.contract.Backbone"),
        ({"class_path": "backbones.contract.scaled"}, "derived from backbones.contract.Backbone"),
        ({"class_path": "backbones.contract.Backbone"}, "not be abstract: it lacks encode, move"),
        ({"class_path": "backbones.nowhere.Clip"}, "cannot be imported: No module named"),
    ],
)
def test_descriptions_of_no_backbone_are_refused(description, complaint):
    with pytest.raises(ValueError, match=complaint):
        build(description)


# Weights.


def rewritten(source: Path, target: Path, file: str, change) -> Path:
    """A copy of a model's folder with one JSON file changed."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    settings = json.loads((target / file).read_text())
    change(settings)
    (target / file).write_text(json.dumps(settings))
    return target


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", lambda found: found["vision_config"].update(hidden_act="gelu")),
        ("config.json", lambda found: found["text_config"].update(num_attention_heads=8)),
        ("preprocessor_config.json", lambda found: found.update(image_mean=[0.5, 0.5, 0.5])),
        ("tokenizer.json", lambda found: found["model"]["vocab"].update({"a": 1, "b": 0})),
    ],
)
def test_the_fingerprint_is_that_of_what_makes_the_tokens(file, change, made, folders, tmp_path):
    copy = rewritten(folders["clip"], tmp_path / "copy", file, lambda found: None)
    other = rewritten(folders["clip"], tmp_path / "other", file, change)
    fingerprint = made["clip"].fingerprint
    assert build({"class_path": "clip", "init_args": {"model": copy}}).fingerprint == fingerprint
    assert build({"class_path": "clip", "init_args": {"model": other}}).fingerprint != fingerprint


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_image_processors_of_one_name_have_fingerprints_of_their_own(
    name, made, folders, monkeypatch
):
    transformers = pytest.importorskip("transformers")
    found = transformers.AutoImageProcessor.from_pretrained

    def by_pillow(model, **settings):
        return found(model, backend="pil", **settings)

    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", by_pillow)
    other = named(name)(folders[name])
    assert made[name].seen_by["preprocessing"]["resized_by"] == "torchvision"
    assert other.seen_by["preprocessing"]["resized_by"] == "pil"
    assert other.fingerprint != made[name].fingerprint
    images = noise(2, 100, 130)
    apart = (shown(other, images) - shown(made[name], images)).abs().max()
    # They round otherwise on the way: by one level of 256 over the deviation of a channel, 0.015.
    assert 1e-3 < apart < 0.1


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (SimpleNamespace(backend="pil"), "pil"),
        (SimpleNamespace(backend="torchvision"), "torchvision"),
        (type("CLIPImageProcessorFast", (), {})(), "torchvision"),  # before there were backends
        (type("CLIPImageProcessor", (), {})(), "pil"),
    ],
)
def test_what_a_processor_resizes_with(processor, expected):
    assert resized_by(processor) == expected


def test_other_weights_have_another_fingerprint(made, tmp_path, folders):
    save_dino(tmp_path / "dino", seed=1)
    assert named("dino")(tmp_path / "dino").fingerprint != made["dino"].fingerprint
    state = torch.load(folders["openclip.pt"])
    state["text_projection"][0, 0] += 1
    torch.save(state, tmp_path / "other.pt")
    other = named("openclip")("Tiny-OpenClip", tmp_path / "other.pt")
    assert other.fingerprint != made["openclip"].fingerprint


def test_weights_in_half_precision_are_computed_in_float32(made, folders, tmp_path):
    from safetensors.torch import load_file, save_file

    half = rewritten(
        folders["clip"], tmp_path / "half", "config.json", lambda found: found.update(dtype="half")
    )
    weights = load_file(half / "model.safetensors")
    weights = {name: weight.half() for name, weight in weights.items()}
    save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
    backbone, images = named("clip")(half), noise(3, 40, 40)
    assert backbone(images).dtype == backbone.text(["red"]).dtype == torch.float32
    # Half precision keeps 11 bits of a weight.
    torch.testing.assert_close(backbone(images), made["clip"](images), rtol=0, atol=0.02)


def test_folders_that_hold_something_else_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    with pytest.raises(ValueError, match="must be a model of type clip, got dinov2"):
        named("clip")(folders["dino"])
    with pytest.raises(ValueError, match="must hold a model as transformers' save_pretrained"):
        named("dino")(tmp_path)
    lacking = rewritten(folders["clip"], tmp_path / "lacking", "config.json", lambda found: None)
    weights = load_file(lacking / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, lacking / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1, such as visual_projection\.weight"):
        named("clip")(lacking)
    (lacking / "model.safetensors").write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match="must hold a model as transformers' save_pretrained"):
        named("clip")(lacking)
    larger = rewritten(
        folders["clip"],
        tmp_path / "larger",
        "preprocessor_config.json",
        lambda found: found.update(crop_size={"height": 48, "width": 40}),
    )
    with pytest.raises(ValueError, match="32 x 32 px that its network takes, got 48 x 40 px"):
        named("clip")(larger)


def test_the_cache_is_asked_before_the_hub():
    asked: list[bool] = []

    def load(model: str, local_files_only: bool = False) -> str:
        asked.append(local_files_only)
        if local_files_only:
            raise OSError("not in the cache")
        return f"{model} from the hub"

    assert loaded(load, "some/model") == "some/model from the hub"
    assert asked == [True, False]
    assert loaded(lambda model, local_files_only: model, "some/model") == "some/model"


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_a_model_that_cannot_be_downloaded(name, monkeypatch):
    transformers = pytest.importorskip("transformers")

    def offline(*args, **kwargs):
        raise OSError("We couldn't connect to the hub.\nCheck your connection.")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(OSError, match=r"(vit|dinov2)-base.*connect to the hub\); give a local"):
        named(name)()


def test_open_clip_models_that_cannot_be_had(folders, tmp_path, monkeypatch):
    open_clip = pytest.importorskip("open_clip")
    kind = named("openclip")
    with pytest.raises(ValueError, match=r"one of open_clip.list_models\(\), got 'ViT-B-31'"):
        kind("ViT-B-31")
    with pytest.raises(ValueError, match="a file or one of no tags, got 'nowhere'"):
        kind("Tiny-OpenClip", "nowhere")
    for page in (tmp_path / "page.pt", tmp_path / "page.safetensors"):
        page.write_bytes(b"<html>404</html>")
        with pytest.raises(ValueError, match=rf"{page.name} must hold the weights of Tiny-OpenCl"):
            kind("Tiny-OpenClip", page)

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    with monkeypatch.context() as patched:
        patched.setattr(open_clip, "get_tokenizer", offline)
        with pytest.raises(OSError, match="tokenizer of Tiny-OpenClip could not be downloaded"):
            kind("Tiny-OpenClip", folders["openclip.pt"])
    monkeypatch.setattr(open_clip, "create_model_and_transforms", offline)
    with pytest.raises(OSError, match=r"laion2b_s34b_b79k of ViT-B-32.*no route.*local file"):
        kind()


def test_open_clip_models_without_a_class_token_are_refused(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    pooled = TINY | {"vision_cfg": TINY["vision_cfg"] | {"pool_type": "avg"}}
    (tmp_path / "Pooled-OpenClip.json").write_text(json.dumps(pooled))
    open_clip.add_model_config(tmp_path)
    network, _, _ = open_clip.create_model_and_transforms("Pooled-OpenClip")
    torch.save(network.state_dict(), tmp_path / "pooled.pt")
    with pytest.raises(ValueError, match="whose embedding is its class token, got Pooled-OpenClip"):
        named("openclip")("Pooled-OpenClip", tmp_path / "pooled.pt")


@pytest.mark.parametrize("name", NETWORKS)
def test_without_the_library_it_says_what_to_install(name, monkeypatch):
    for library in ("transformers", "open_clip"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install patchcanvas\[clip\]"):
        named(name)()
