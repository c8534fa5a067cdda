"""Two devices must share the stream of patches and end with the same weights."""

import itertools

import torch

from tests.tiny_training import (
    BATCH,
    STEPS,
    STEPS_PER_EPOCH,
    checkpoint,
    configuration,
    recorded,
    recording,
    run_apart,
)
from tests.tiny_training import write_configuration as written


def test_two_processes_share_the_stream_and_stay_equal(tmp_path):
    config = configuration(tmp_path)
    config["data"]["class_path"] = "tests.tiny_training.Numbered"
    config["data"]["init_args"]["patches_per_epoch"] = 2 * BATCH * STEPS_PER_EPOCH
    flags = ["--trainer.devices=2", "--trainer.strategy=ddp", *recording(tmp_path)]
    done = run_apart("fit", written(tmp_path, config), flags)
    assert done.returncode == 0, done.stderr
    shares = [recorded(tmp_path, rank) for rank in (0, 1)]
    assert [len(share) for share in shares] == [BATCH * STEPS] * 2
    assert sorted(itertools.chain(*shares)) == list(range(2 * BATCH * STEPS))
    weights = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    # Both step along the same averaged gradient, from the same weights.
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert all(bool(value.isfinite().all()) for value in weights[0].values())
    saved = checkpoint(tmp_path / "last.ckpt")
    assert saved["provenance"]["devices"] == 2
    assert all(torch.equal(saved["state_dict"][name], weights[0][name]) for name in weights[0])
