import json
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.metrics.clip import ClipImages
from benchmarks.metrics.consistency import Consistency
from benchmarks.metrics.resampling import bootstrap_counts

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
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
}


def noise(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def corner(images: torch.Tensor) -> torch.Tensor:
    """The first pixel of an image for its embedding."""
    return images[:, :, 0, 0].float()


def figure(metric: Consistency, canvases: torch.Tensor):
    metric.update(canvases, torch.arange(len(canvases)))
    return metric.compute()["consistency"]


def test_the_cosine_between_the_first_and_the_last_square():
    canvases = noise(3, 4, 11)
    first, last = canvases[..., 0, 0].double(), canvases[..., 0, 11 - 4].double()
    cosines = (first * last).sum(1) / first.norm(dim=1) / last.norm(dim=1)
    found = figure(Consistency(corner, side=4), canvases)
    assert found.value == pytest.approx(cosines.mean().item())


def test_of_a_tall_canvas_the_last_square_is_the_lowest():
    canvases = noise(2, 12, 5)
    first, last = canvases[..., 0, 0].double(), canvases[..., 12 - 4, 5 - 4].double()
    cosines = (first * last).sum(1) / first.norm(dim=1) / last.norm(dim=1)
    assert figure(Consistency(corner, side=4), canvases).value == pytest.approx(
        cosines.mean().item()
    )


def test_opposite_ends_are_not_cut_off_at_zero():
    signs = Consistency(lambda images: corner(images) - 127.5, side=2)
    canvases = torch.zeros(2, 3, 2, 4, dtype=torch.uint8)
    canvases[..., 2:] = 255
    found = figure(signs, canvases)
    assert (found.value, found.low) == (pytest.approx(-1), pytest.approx(-1))


def test_only_the_first_canvases_are_looked_at():
    canvases = noise(5, 4, 11)
    few = figure(Consistency(corner, side=4), canvases[:3])
    assert figure(Consistency(corner, side=4, limit=3), canvases) == few


def test_the_interval_is_a_bootstraps():
    canvases = noise(25, 4, 11)
    first, last = canvases[..., 0, 0].double(), canvases[..., 0, 7].double()
    cosines = (first * last).sum(1) / first.norm(dim=1) / last.norm(dim=1)
    means = bootstrap_counts(25, seed=4) @ cosines / 25
    found = figure(Consistency(corner, side=4, seed=4), canvases)
    assert found.low == pytest.approx(cosines.mean().item() - 1.959964 * means.std().item())


@pytest.mark.parametrize("size", [(4, 7), (3, 30)])
def test_squares_that_do_not_fit_apart_are_refused(size):
    metric = Consistency(corner, side=4)
    with pytest.raises(ValueError, match=f"must fit apart .* got {size[0]} x {size[1]} px"):
        metric.update(noise(2, *size), torch.arange(2))
    with pytest.raises(ValueError, match="at least 1 px, got 0"):
        Consistency(corner, side=0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of open_clip's with random weights, and the file of them."""
    open_clip = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("clip")
    (folder / "Tiny-CLIP.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, _, preprocess = open_clip.create_model_and_transforms("Tiny-CLIP")
    torch.save(network.state_dict(), folder / "weights.pt")
    return network.eval(), preprocess, folder / "weights.pt"


def test_clip_is_open_clips_network_behind_its_own_preprocessing(tiny):
    network, preprocess, weights = tiny
    clip = ClipImages("Tiny-CLIP", weights)
    images = noise(70, 20, 20)
    pictures = [Image.fromarray(np.moveaxis(image.numpy(), 0, -1)) for image in images]
    with torch.no_grad():
        expected = network.encode_image(torch.stack([preprocess(one) for one in pictures]))
    expected = expected / expected.norm(dim=1, keepdim=True)
    # float32, and batches that are split otherwise.
    torch.testing.assert_close(clip(images), expected, rtol=1e-4, atol=1e-5)
    assert clip(images).std(0).min() > 1e-3


def test_consistency_with_clip(tiny):
    clip = ClipImages("Tiny-CLIP", str(tiny[-1]))
    left = noise(4, 16, 16)
    repeated = figure(Consistency(clip, side=16), torch.cat([left, noise(4, 16, 8), left], dim=-1))
    assert repeated.value == pytest.approx(1, abs=1e-5)  # float32
    apart = figure(Consistency(clip, side=16), noise(4, 16, 40, seed=1))
    assert apart.value < 1 - 1e-3


def test_the_fingerprint_of_clip_is_that_of_its_weights(tiny, tmp_path):
    network, _, weights = tiny
    state = {name: weight.clone() for name, weight in network.state_dict().items()}
    state["visual.proj"][0, 0] += 1
    torch.save(state, tmp_path / "other.pt")
    prints = [ClipImages("Tiny-CLIP", path).fingerprint for path in (weights, weights)]
    assert prints[0] == prints[1] != ClipImages("Tiny-CLIP", tmp_path / "other.pt").fingerprint


def test_the_activation_is_part_of_clips_fingerprint(tiny, tmp_path):
    import open_clip

    (tmp_path / "Twin-CLIP.json").write_text(json.dumps(TINY))
    (tmp_path / "Twin-CLIP-quickgelu.json").write_text(json.dumps(TINY | {"quick_gelu": True}))
    open_clip.add_model_config(tmp_path)
    with pytest.warns(UserWarning, match="taken to be of GELU"):
        plain = ClipImages("Twin-CLIP", tiny[-1])
    quick = ClipImages("Twin-CLIP-quickgelu", tiny[-1])
    assert (plain.settings["activation"], quick.settings["activation"]) == ("GELU", "QuickGELU")
    assert plain.fingerprint != quick.fingerprint
    images = noise(2, 20, 20)
    assert not torch.equal(plain(images), quick(images))


def test_clip_that_cannot_be_had_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"one of open_clip.list_models\(\), got 'CLOP'"):
        ClipImages("CLOP", "openai")
    with pytest.raises(ValueError, match="a file or one of no tags, got 'nowhere'"):
        ClipImages("Tiny-CLIP", "nowhere")
    (tmp_path / "page.pt").write_bytes(b"<html>404</html>")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "wrong.pt")
    for name in ("page.pt", "wrong.pt"):
        with pytest.raises(ValueError, match=rf"{name} must hold the weights of Tiny-CLIP"):
            ClipImages("Tiny-CLIP", tmp_path / name)


def test_clip_without_a_connection_says_what_to_do(tiny, monkeypatch):
    import open_clip

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", offline)
    with pytest.raises(RuntimeError, match=r"laion2b_s34b_b79k of ViT-B-32.*no route.*local file"):
        ClipImages("ViT-B-32", "laion2b_s34b_b79k")


def test_without_open_clip_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModuleNotFoundError, match="pip install open_clip_torch"):
        ClipImages("ViT-B-32", "openai")


def test_a_point_of_one_direction_has_cosine_one():
    found = figure(Consistency(lambda images: torch.ones(len(images), 3), side=2), noise(3, 2, 4))
    assert math.isclose(found.value, 1)
