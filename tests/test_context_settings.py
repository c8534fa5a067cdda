import pytest

from benchmarks.comparison.plan import parse
from patchcanvas.context.settings import ContextSettings


def context(*arguments: str) -> ContextSettings:
    return parse(["strategy=naive", *arguments]).settings.context


def test_a_mode_alone_is_short_for_a_setting_of_the_group():
    short, dashed = ["context=seed_image"], ["--context", "seed_image"]
    long = ["context.mode=seed_image"]
    assert context(*short) == context(*dashed) == context(*long)
    assert context(*short).mode == "seed_image"
    assert parse(short).record == parse(long).record


def test_the_short_form_leaves_the_other_settings_alone_in_whatever_order():
    settings = context("context.guidance=3", "context=text", "context.prompt=red hills, at dusk")
    assert settings == ContextSettings(mode="text", prompt="red hills, at dusk", guidance=3.0)


def test_contexts_are_part_of_the_record():
    one, other = (
        parse(["context=seed_image", f"context.guidance={scale}"]).record for scale in (1, 2)
    )
    assert one != other
    assert one["context"]["mode"] == "seed_image"


def test_by_default_the_denoiser_decides():
    assert context() == ContextSettings()
    assert context().mode == "auto"


def test_help_names_every_setting_of_the_group(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    for name in ContextSettings.__dataclass_fields__:
        assert f"--context.{name}" in text


SEED = "context=seed_image"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["context=sed_image"], "must be one of auto, none, .*did you mean 'seed_image'"),
        (["context.mode=seedles"], "did you mean 'seedless'"),
        (["context.guidence=2"], "did you mean 'context.guidance'"),
        ([SEED, "context.guide=imag"], "context.guide must be one of .*did you mean 'image'"),
        ([SEED, "context.guidance=-1"], "guidance must be a finite number from 0 up, got -1"),
        ([SEED, "context.guidance=.inf"], "guidance must be a finite number from 0 up, got inf"),
        ([SEED, "context.passes=0"], "passes must be at least 1, got 0"),
        ([SEED, "context.guide=image", "context.blur=0"], "blur must be above 0 px, got 0"),
        (["context=text"], "needs words: set context.prompt"),
        ([SEED, "context.prompt=hills"], "context.prompt=hills has no use without .*mode=text"),
        (["context=text", "context.prompt=x", "context.image=a.png"], "image=a.png has no use"),
        (["context=seedless", "context.to=a.png"], "to=a.png has no use without .*seed_image"),
        ([SEED, "context.keep_ends=true"], "keep_ends=true has no use without context.to=FILE"),
        ([SEED, "context.blur=2"], "context.blur=2.0 has no use without context.guide=image"),
        ([SEED, "context.passes=2"], "passes=2 has no use without .*context.guide=canvas"),
        (["context=seedless", "context.guidance=2"], "guidance=2.0 has no use without"),
        (["context=seedless", "context.backbone=here"], "backbone=here has no use without"),
        (["context=none", "context.guide=canvas"], "context.guide=canvas has no use without"),
        (["context=mismatched"], "set context.guide=image, got none"),
        (["context=autoregressive", "context.guide=plan"], "does not go with .*autoregressive"),
        (
            [SEED, "context.guide=plan", "context.to=a.png", "context.keep_ends=true"],
            "does not go with context.keep_ends",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as refused:
        parse(["strategy=naive", *arguments])
    assert "\n" not in str(refused.value)
