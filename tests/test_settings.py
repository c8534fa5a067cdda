import dataclasses

import pytest
import yaml

from benchmarks.comparison.plan import parse
from benchmarks.comparison.settings import Settings
from patchcanvas.cli.command_line import PRESETS
from strategies.catalogue import names
from strategies.diffcollage import DiffCollage


def test_a_bare_command_runs_every_strategy_on_landscapes():
    plan = parse([])
    assert list(plan.strategies) == names()
    assert plan.settings.data.description["class"] == "Landscapes"


def test_both_ways_to_write_a_setting_mean_the_same():
    plain, dashed, apart = (
        parse(arguments).record
        for arguments in (
            ["num_samples=7", "canvas.width=384", "data.seed=3"],
            ["--num_samples=7", "--canvas.width=384", "--data.seed=3"],
            ["--num_samples", "7", "--canvas.width", "384", "--data.seed", "3"],
        )
    )
    assert plain == dashed == apart
    assert plain["num_samples"] == 7


def test_a_strategy_has_settings_of_its_own_and_shares_the_rest():
    plan = parse(["strategy=diffcollage,naive", "diffcollage.overlap=8"])
    collage, naive = plan.strategies["diffcollage"], plan.strategies["naive"]
    assert isinstance(collage, DiffCollage)
    assert collage.overlap == 8
    assert collage.solver is naive.solver is plan.settings.solver


def test_other_words_mean_the_same():
    assert parse(["preset=smoke", "accelerator=gpu"]).record == (
        parse(["config=smoke", "device=cuda"]).record
    )


@pytest.mark.parametrize(
    ("written", "value"), [("auto", "auto"), ("16", 16)], ids=["auto", "a number"]
)
def test_the_window_batch_is_a_word_or_a_number(written, value):
    assert parse([f"window_batch={written}"]).settings.runtime.window_batch == value


def test_lists_are_written_in_brackets():
    settings = parse(["budget=[32,64.5]", "loggers=[csv,tensorboard]"]).settings
    assert settings.budget == [32, 64.5]
    assert settings.loggers == ["csv", "tensorboard"]


def test_other_settings_of_a_strategy_are_another_run():
    wide, narrow = (
        parse(["strategy=diffcollage", f"diffcollage.overlap={overlap}"]).record
        for overlap in (8, 16)
    )
    assert wide != narrow


@pytest.mark.parametrize("name", ["ddim", "dpmsolver++", "deis"])
def test_other_solvers_have_short_names(name):
    plan = parse(["solver.num_steps=9", f"solver={name}"])
    assert plan.settings.solver.scheduler == name
    assert plan.settings.solver.num_steps == 9


def test_a_setting_may_stand_before_the_class_or_preset_that_it_belongs_to(tmp_path):
    with pytest.raises((ValueError, OSError), match=str(tmp_path)):
        parse([f"data.root={tmp_path}", "data=photos"])  # an empty folder, and no other complaint
    assert parse(["num_samples=33", "config=smoke"]).settings.num_samples == 33


def test_a_strategy_of_ones_own_has_settings_too():
    plan = parse(["strategy=strategies.naive.Naive", "strategies.naive.Naive.window=16"])
    assert plan.strategies["strategies.naive.Naive"].window == 16


# Those that need no data of the user's; tests/test_presets.py has the others.
READY = [path for path in sorted(PRESETS.glob("*.yaml")) if "data" not in path.read_text()]


@pytest.mark.parametrize("preset", READY, ids=lambda path: path.stem)
def test_presets_build_and_later_keys_win(preset):
    content = yaml.safe_load(preset.read_text())
    plan = parse([f"config={preset.stem}", "num_samples=33"])
    assert plan.settings.num_samples == 33
    assert plan.settings.num_reference == content["num_reference"]
    assert plan.settings.solver.num_steps == content["solver"]["init_args"]["num_steps"]


def test_the_default_preset_is_the_default():
    assert parse(["config=default"]).record == parse([]).record


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as left:
        parse(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(Settings):
        assert f"--{field.name}" in text, field.name
    assert all(name in text for name in names())
    assert "diffcollage.overlap" in text
    assert "(required" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["strategy=difcollage"], "did you mean 'diffcollage'"),
        (["stratgy=all"], "no setting 'stratgy'; did you mean 'strategy'"),
        (["canvas.widht=9"], "did you mean 'canvas.width'"),
        (["strategy=diffcollage", "diffcollage.overlp=8"], "did you mean 'overlap'"),
        (["strategy=naive", "diffcollage.overlap=8"], "not among those to run"),
        (["data=photo"], "did you mean 'photos'"),
        (["data=photos"], "root"),
        (["data=photos", "data.root=/no/such/folder"], "/no/such/folder"),
        (["data.sed=1"], "did you mean 'data.seed'"),
        (["solver.num_stps=1"], "did you mean 'solver.num_steps'"),
        (["solver=ddmi"], "did you mean 'ddim'"),
        (["solver.num_steps=1"], "num_steps must be at least 2, got 1"),
        (["num_samples=0"], "num_samples must be at least 3, got 0"),
        (["num_samples=many"], "num_samples"),
        (["batch_size=0"], "batch_size must be at least 1, got 0"),
        (["precision=fp8"], "precision"),
        (["config=smok"], "config must be one of default, .*did you mean 'smoke'"),
        (["config=/no/such/file.yaml"], "file.yaml"),
        (["diffcollage"], "written key=value, got 'diffcollage'"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(arguments, message):
    with pytest.raises((ValueError, OSError), match=message) as refused:
        parse(arguments)
    assert "\n" not in str(refused.value)
