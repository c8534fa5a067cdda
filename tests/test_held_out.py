"""The maps that validation asks about must be the ones it names."""

import torch

from lightning_modules.held_out import held_out_maps
from sampling.noise_levels.controlled import Controlled

LEVELS = Controlled(p_mean=-0.8, p_std=1.4, sigma_max=70.0)


def test_an_outpainting_knows_its_left_half():
    maps = held_out_maps(LEVELS, 8, 16, (0.1, 2.0))["outpainting"]
    assert maps.shape == (2, 1, 1, 8, 16)
    assert not maps[..., :8].any()
    assert (maps[0, ..., 8:] == 0.1).all()
    assert (maps[1, ..., 8:] == 2.0).all()


def test_a_wavefront_falls_towards_what_is_known():
    (row,) = held_out_maps(LEVELS, 4, 8, (0.5,))["wavefront"][0, 0, 0, :1]
    expected = torch.tensor([0.0, 0.0, 0.05, 0.05, 0.5, 0.5, 70.0, 70.0])
    torch.testing.assert_close(row, expected)  # one product in float32


def test_independent_regions_have_ordinary_levels_and_are_always_the_same():
    maps = [held_out_maps(LEVELS, 8, 12, (0.1, 1.0, 3.0))["independent"] for _ in range(2)]
    assert torch.equal(*maps)
    regions = maps[0][..., ::2, ::3]
    assert torch.equal(regions.repeat_interleave(2, -2).repeat_interleave(3, -1), maps[0])
    assert regions.unique().numel() == 3 * 16
    # 48 draws: their mean of logarithms lies within five standard errors, 5 * 1.4 / 7.
    assert abs(regions.log().mean() + 0.8) < 1.0
