"""The picture of the train-sampling gap must show the maps that sampling really visits."""

import pytest
import torch
from PIL import Image

from sampling.noise_levels.shared import Shared
from sampling.solvers import Heun
from studies.noise_maps.__main__ import compare, samplers
from studies.noise_maps.figures import figures_of, seen_share, trained_maps
from studies.noise_maps.visited import CONVEYOR, SCHEDULES, visited_maps

LEVELS = Shared(p_mean=-0.8, p_std=1.4)
STEPS = 3


def test_a_joint_schedule_visits_equal_levels_then_half_clean_ones():
    maps = visited_maps("joint", patch_size=16, num_steps=STEPS, strips=1)
    # Four patches are seven half-overlapping windows: the first, three turns of both sides; Heun
    # takes 2 * 3 - 1 evaluations, of one window at first and of two afterwards.
    assert maps.shape == (5 * (1 + 3 * 2), 1, 16, 16)
    sigmas = Heun(num_steps=STEPS).sigmas().float()
    visited = sigmas[[0, 1, 1, 2, 2]]
    # Heun looks at the end of a step as well: levels 0, 1; 1, 2; then 2 alone.
    torch.testing.assert_close(maps[:5, 0, 0, 0], visited)
    assert all((level == level[0, 0]).all() for level in maps[:5, 0])
    for level in maps[5:, 0]:
        clean = level == 0
        assert clean.sum() == 128
        assert level[~clean].unique().numel() == 1


@pytest.mark.parametrize("schedule", [*SCHEDULES, CONVEYOR])
def test_levels_are_those_of_the_noise_schedule(schedule):
    maps = visited_maps(schedule, patch_size=16, num_steps=STEPS, strips=1, blocks=3)
    # The leaps of a dual loop end on levels of the finer schedule, of twice the steps.
    sigmas = Heun(num_steps=2 * STEPS if schedule == "dual_loop" else STEPS).sigmas().float()
    distance = (maps.unique()[:, None] - sigmas).abs().amin(1)
    assert distance.max() < 1e-5  # of levels up to 80 in float32
    assert (maps == 0).any()


def test_figures_are_those_of_the_corruption():
    levels = LEVELS.sigma_of(torch.tensor([0.2, 0.8]).view(1, 1, 1, 2)).expand(1, 1, 4, 2)
    constant = LEVELS.sigma_of(torch.full((1, 1, 1, 1), 0.4))
    figures = figures_of(LEVELS, levels)[0].tolist()
    # Levels pass through float32: corruptions to 1e-7.
    assert figures == pytest.approx([0.5, 0.3, 0.2, 0.8], abs=1e-6)
    assert figures_of(LEVELS, constant)[0].tolist() == pytest.approx([0.4, 0, 0.4, 0.4], abs=1e-6)
    assert figures_of(LEVELS, torch.zeros(1, 1, 1, 1))[0].tolist() == [0, 0, 0, 0]


def test_ordinary_training_shows_equal_levels_alone():
    figures = trained_maps(LEVELS, 100, patch_size=16)
    assert figures.shape == (100, 4)
    assert torch.equal(figures[:, 0], figures[:, 3])
    assert not figures[:, 1].any()


def test_what_is_seen_is_counted():
    trained = torch.zeros(200, 4, dtype=torch.float64)
    trained[:2] = 0.5  # one in a hundred
    trained[2] = 1.0  # one in two hundred
    visited = torch.tensor([[0.0] * 4, [0.55] * 4, [1.0] * 4, [0.5, 0.5, 0.5, 0.61]]).double()
    assert seen_share(visited, trained) == 0.5


def test_controlled_levels_are_the_ones_that_show_what_sampling_visits():
    chosen = samplers(-0.8, 1.4, 4)
    visited = figures_of(LEVELS, visited_maps("wavefront", patch_size=32, strips=1))
    shares = {
        name: seen_share(visited, trained_maps(levels, 2000)) for name, levels in chosen.items()
    }
    assert shares["controlled"] > 0.9
    assert all(share < 0.6 for name, share in shares.items() if name != "controlled")


def test_the_command_draws_a_picture_and_a_table(tmp_path, capsys):
    assert compare(output=tmp_path / "deep" / "gap.png", count=32, num_steps=2) == 0
    with Image.open(tmp_path / "deep" / "gap.png") as picture:
        assert min(picture.size) > 500
    table = (tmp_path / "deep" / "gap.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    assert {line.split("|")[1].strip() for line in table.splitlines()[2:]} == {
        f"`{name}`" for name in samplers(-0.8, 1.4, 4)
    }


def test_bad_input_is_said_in_a_sentence(tmp_path, capsys):
    assert compare(output=tmp_path / "gap.png", count=0) == 2
    assert compare(output=tmp_path / "gap.png", p_std=0.0) == 2
    said = capsys.readouterr().out
    assert "need count >= 1" in said
    assert "p_std > 0" in said
    assert not list(tmp_path.iterdir())
