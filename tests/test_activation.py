"""The activation of open_clip's models is the one that their weights were trained with."""

import warnings
from types import ModuleType

import pytest

from backbones.activation import activation, with_its_activation
from backbones.openclip import OpenClip
from benchmarks.metrics.clip import ClipImages

open_clip = pytest.importorskip("open_clip")


def quick_by_the_table() -> list[tuple[str, str]]:
    """Models and tags that the library's own table says were trained with QuickGELU."""
    return [
        (model, tag)
        for model in open_clip.list_models()
        for tag in open_clip.list_pretrained_tags_by_model(model)
        if open_clip.get_pretrained_cfg(model, tag).get("quick_gelu")
    ]


def test_the_table_has_those_that_were_built_wrongly():
    tags = {tag for model, tag in quick_by_the_table() if model == "ViT-B-32"}
    assert tags >= {"openai", "laion400m_e31", "laion400m_e32", "metaclip_400m", "metaclip_fullcc"}


@pytest.mark.parametrize(("model", "tag"), quick_by_the_table())
def test_weights_of_quickgelu_get_a_model_of_it(model, tag):
    found = with_its_activation(open_clip, model, tag)
    assert activation(open_clip, found) == "QuickGELU"
    assert found.removesuffix("-quickgelu") == model.removesuffix("-quickgelu")
    # The same network otherwise, of which there are such weights.
    own, other = (dict(open_clip.get_model_config(name)) for name in (found, model))
    assert own | {"quick_gelu": None} == other | {"quick_gelu": None}
    assert tag in open_clip.list_pretrained_tags_by_model(found)


def test_all_other_weights_get_the_model_that_was_named():
    quick = set(quick_by_the_table())
    for model in open_clip.list_models():
        for tag in open_clip.list_pretrained_tags_by_model(model):
            if (model, tag) not in quick:
                assert with_its_activation(open_clip, model, tag) == model


class AskedError(Exception):
    """A model was asked for."""


@pytest.mark.parametrize(
    ("model", "tag", "expected"),
    [
        ("ViT-B-32", "openai", "ViT-B-32-quickgelu"),
        ("ViT-B-32", "metaclip_fullcc", "ViT-B-32-quickgelu"),
        ("ViT-B-32-quickgelu", "openai", "ViT-B-32-quickgelu"),
        ("ViT-L-14", "dfn2b", "ViT-L-14-quickgelu"),
        ("ViT-B-32", "laion2b_s34b_b79k", "ViT-B-32"),
    ],
)
@pytest.mark.parametrize("kind", [ClipImages, OpenClip])
def test_that_model_is_built(kind, model, tag, expected, monkeypatch):
    def build(name, pretrained, **settings):
        assert (name, pretrained) == (expected, tag)
        raise AskedError

    monkeypatch.setattr(open_clip, "create_model_and_transforms", build)
    with pytest.raises(AskedError):
        kind(model, tag)


@pytest.mark.parametrize(
    ("model", "warned"),
    [("ViT-B-32", True), ("ViT-B-32-quickgelu", False), ("ViT-B-16-SigLIP", False)],
)
def test_of_a_file_the_models_name_is_taken_at_its_word(model, warned, tmp_path):
    file = tmp_path / "weights.pt"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert with_its_activation(open_clip, model, file) == model
    assert bool(said) == warned
    if warned:
        assert "taken to be of GELU" in str(said[0].message)
        assert "need the model ViT-B-32-quickgelu" in str(said[0].message)


def test_weights_without_a_model_of_their_activation_are_refused():
    library = ModuleType("open_clip")
    library.get_model_config = lambda model: {}
    library.list_models = lambda: ["ViT-X"]
    library.list_pretrained_tags_by_model = lambda model: ["theirs"]
    library.get_pretrained_cfg = lambda model, tag: {"quick_gelu": True}
    with pytest.raises(
        ValueError, match="theirs were trained with QuickGELU, and open_clip has no"
    ):
        with_its_activation(library, "ViT-X", "theirs")
