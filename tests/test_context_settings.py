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
    settings = context(
        "context.guidance_scale=3", "context=text", "context.prompt=red hills, at dusk"
    )
    assert settings == ContextSettings(mode="text", prompt="red hills, at dusk", guidance_scale=3.0)


def test_contexts_are_part_of_the_record():
    one, other = (
        parse(["context=seed_image", f"context.guidance_scale={scale}"]).record for scale in (1, 2)
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
        (["context.mode=seedles"], "did you mean 'unconditional'"),
        (["context.guidance_scal=2"], "did you mean 'context.guidance_scale'"),
        ([SEED, "context.guide=imag"], "context.guide must be one of .*did you mean 'image'"),
        (
            [SEED, "context.guidance_scale=-1"],
            "guidance_scale must be a finite number from 0 up, got -1",
        ),
        (
            [SEED, "context.guidance_scale=.inf"],
            "guidance_scale must be a finite number from 0 up, got inf",
        ),
        (
            [SEED, "context.refinement_iterations=0"],
            "refinement_iterations must be at least 1, got 0",
        ),
        ([SEED, "context.guide=image", "context.blur=0"], "blur must be above 0 px, got 0"),
        (["context=text"], "needs words: set context.prompt"),
        ([SEED, "context.prompt=hills"], "context.prompt=hills has no use without .*mode=text"),
        (["context=text", "context.prompt=x", "context.image=a.png"], "image=a.png has no use"),
        (
            ["context=unconditional", "context.interpolate_to=a.png"],
            "interpolate_to=a.png has no use without .*seed_image",
        ),
        (
            [SEED, "context.fixed_ends=true"],
            "fixed_ends=true has no use without context.interpolate_to=FILE",
        ),
        ([SEED, "context.blur=2"], "context.blur=2.0 has no use without context.guide=image"),
        (
            [SEED, "context.refinement_iterations=2"],
            "refinement_iterations=2 has no use without .*context.guide=canvas",
        ),
        (
            ["context=unconditional", "context.guidance_scale=2"],
            "guidance_scale=2.0 has no use without",
        ),
        (["context=unconditional", "context.backbone=here"], "backbone=here has no use without"),
        (["context=none", "context.guide=canvas"], "context.guide=canvas has no use without"),
        (["context=swapped_reference"], "set context.guide=image, got none"),
        (["context=autoregressive", "context.guide=plan"], "does not go with .*autoregressive"),
        (
            [SEED, "context.guide=plan", "context.interpolate_to=a.png", "context.fixed_ends=true"],
            "does not go with context.fixed_ends",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as refused:
        parse(["strategy=naive", *arguments])
    assert "\n" not in str(refused.value)
