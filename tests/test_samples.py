import pytest
import torch

from benchmarks.comparison.samples import SampleFiles
from benchmarks.experiment.processes import runs_of
from patchcanvas.making import Batch


def batch(first: int, count: int) -> Batch:
    canvases = torch.arange(first, first + count, dtype=torch.uint8)
    return Batch(first, canvases.view(-1, 1, 1, 1).expand(-1, 3, 4, 8), 1.5, 1.25)


def test_what_was_written_is_read(tmp_path):
    files = SampleFiles(tmp_path / "samples")
    files.write(batch(5, 3))
    ((indices, path),) = files.finished(10).items()
    read = files.read(path)
    assert indices == read.indices == range(5, 8)
    assert torch.equal(read.canvases, batch(5, 3).canvases)
    assert (read.seconds, read.network_seconds) == (1.5, 1.25)


def test_half_written_and_damaged_files_do_not_count(tmp_path):
    files = SampleFiles(tmp_path)
    for first in (0, 2, 4):
        files.write(batch(first, 2))
    cut = tmp_path / "000002-000003.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    (tmp_path / "000006-000007.part").write_bytes(b"half")
    (tmp_path / "000008-000009.safetensors").write_bytes(b"")
    assert list(files.finished(10)) == [range(0, 2), range(4, 6)]


def test_a_file_that_holds_fewer_samples_than_it_says_does_not_count(tmp_path):
    files = SampleFiles(tmp_path)
    files.write(batch(0, 2))
    (tmp_path / "000000-000001.safetensors").rename(tmp_path / "000000-000002.safetensors")
    assert files.finished(10) == {}


def test_no_sample_counts_twice(tmp_path):
    files = SampleFiles(tmp_path)
    files.write(batch(0, 4))
    files.write(batch(2, 4))
    assert list(files.finished(10)) == [range(0, 4)]


def test_samples_beyond_the_count_are_left_out(tmp_path):
    files = SampleFiles(tmp_path)
    files.write(batch(0, 4))
    files.write(batch(4, 4))
    assert list(files.finished(6)) == [range(0, 4)]


@pytest.mark.parametrize("longest", [1, 3, 8, 32])
def test_runs_hold_every_number_once(longest):
    numbers = [*range(3, 20), *range(22, 23), *range(30, 47)]
    runs = runs_of(numbers, longest=longest)
    assert [number for run in runs for number in run] == numbers
    assert max(map(len, runs)) <= longest


def test_a_continued_run_makes_the_batches_of_an_uninterrupted_one():
    whole = runs_of(list(range(30)), longest=8)
    rest = runs_of(list(range(16, 30)), longest=8)
    assert rest == whole[2:]
