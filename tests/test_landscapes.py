"""Landscapes must be reproducible to the last bit, and have no place from left to right."""

import pytest
import torch

from datamodules.landscapes import Landscapes

LANDSCAPES = Landscapes()
PANORAMAS = LANDSCAPES.crops("test", 300, 32, 192).double()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 16), (16, 32), (1, 1), (48, 200)])
def test_crops_have_the_size_asked_for(height, width):
    crop = LANDSCAPES.crop("train", 0, height, width)
    assert crop.dtype == torch.uint8
    assert crop.shape == (3, height, width)


def test_a_crop_depends_on_nothing_but_seed_split_and_index():
    first = [LANDSCAPES.crop("train", index, 32, 48) for index in range(20)]
    again = [Landscapes(batch_size=3).crop("train", index, 32, 48) for index in reversed(range(20))]
    assert torch.equal(torch.stack(first), torch.stack(again[::-1]))


@pytest.mark.parametrize("height", [16, 32, 40])
@pytest.mark.parametrize("width", [1, 7, 16, 32])
def test_a_short_crop_is_the_beginning_of_a_long_one(height, width):
    for index in range(30):
        short = LANDSCAPES.crop("val", index, height, width)
        assert torch.equal(short, LANDSCAPES.crop("val", index, height, 193)[:, :, :width])


def test_seeds_splits_and_indices_all_give_different_scenes():
    crops = [
        Landscapes(seed=seed).crop(split, index, 32, 32)
        for seed in (0, 1)
        for split in ("train", "val", "test")
        for index in range(50)
    ]
    assert len({crop.numpy().tobytes() for crop in crops}) == len(crops)


def test_every_column_has_the_same_mean_colour():
    # 300 scenes. The differences of two columns of one scene are averaged over scenes, so that
    # the palettes' spread, the same in both columns, drops out; each mean has its own standard
    # error. None of 36 differences (3 pairs, 3 colours, 4 bands of height) may exceed 4.5 of
    # them, which chance does for one seed in 4,000.
    bands = PANORAMAS.unflatten(2, (4, 8)).mean(3)
    for here, there in ((0, 95), (95, 191), (0, 191)):
        change = bands[..., here] - bands[..., there]
        standard_error = change.std(0) / len(change) ** 0.5
        assert (change.mean(0).abs() < 4.5 * standard_error).all()


def test_every_window_varies_as_much_as_any_other():
    # Variance along a window, averaged over rows and colours, against that of the first window
    # of the same scene: five of the standard errors that the 300 scenes themselves give.
    contrast = PANORAMAS.unflatten(3, (6, 32)).var(4).mean((1, 2))
    for window in range(1, 6):
        change = contrast[:, window] - contrast[:, 0]
        assert change.mean().abs() < 5 * change.std() / len(change) ** 0.5


def test_resolution_changes_a_scene_but_little():
    # Averaging 2 x 2 pixels of the finer picture differs at edges and in the finest octave only:
    # 0.9 to 1.9 grey levels a scene, measured. Two scenes differ by 46 on average.
    for index in range(10):
        coarse = LANDSCAPES.crop("train", index, 32, 64).float()
        fine = LANDSCAPES.crop("train", index, 64, 128).float()
        averaged = torch.nn.functional.avg_pool2d(fine, 2)
        assert (coarse - averaged).abs().mean() < 4


@pytest.mark.parametrize(("height", "width"), [(0, 32), (32, 0), (-1, 5)])
def test_empty_crops_are_refused(height, width):
    with pytest.raises(ValueError, match=f"at least 1, got {height} x {width}"):
        LANDSCAPES.crop("train", 0, height, width)


def test_the_description_names_class_and_seed():
    assert Landscapes(seed=3).description == {"class": "Landscapes", "seed": 3}
