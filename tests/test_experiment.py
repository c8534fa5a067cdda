"""What every measuring program promises of its folder and its record, shown of a toy."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from rich.console import Console

from benchmarks.experiment.folder import Experiment, new_folder
from benchmarks.experiment.record import Record
from benchmarks.inpainting.records import CompletionResults
from benchmarks.latency.records import LatencyResults
from benchmarks.oracle.records import OracleResults
from benchmarks.results.records import Results
from patchcanvas.files import lock, unlock
from patchcanvas.records import RecordError, read_record, write_record
from studies.peers.records import PeerResults

# What each begins with beside what made it.
PROGRAMS = {
    Results: {
        **{"denoiser": {}, "data": {}, "features": {}, "num_samples": 4, "num_reference": 8},
        **{"canvas": [16, 64], "drift_distance": None},
    },
    LatencyResults: {"denoiser": {}, "patch_size": 16, "height": 16, "steps": 2, "load": 0.5},
    OracleResults: {"cases": []},
    CompletionResults: {"denoiser": {}, "data": {}, "features": {}, "canvas": [16, 16]},
    PeerResults: {"peer": {}, "denoiser": {}, "load": None},
}
ROOT = Path(__file__).parent.parent
LAST = "last.txt"


@dataclasses.dataclass
class Toy(Record):
    """Figures by name."""

    FILE: ClassVar[str] = "toy.json"

    size: tuple[int, int] = (1, 2)
    rows: dict[str, float] = dataclasses.field(default_factory=dict)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)


def fresh(**settings) -> Toy:
    made = Toy("toy", "now", "python -m toy", settings, {"sources": "a", "commit": "c"})
    return dataclasses.replace(made, settings={"seed": 0} | settings)


def opened(root: Path, record: Toy | None = None) -> Experiment[Toy]:
    return Experiment.opened(
        record or fresh(), root, complete=lambda found: set(found.rows) == {"a", "b"}, last=LAST
    )


def finish(experiment: Experiment[Toy]) -> None:
    experiment.record.rows = {"a": 1.0, "b": 2.0}
    experiment.write()
    (experiment.path / LAST).write_text("done")


# Which folder


def test_an_interrupted_run_is_gone_on_with(tmp_path):
    with opened(tmp_path) as first:
        first.record.rows["a"] = 1.5
        first.write()
    with opened(tmp_path) as second:
        assert second.path == first.path
        assert second.record.rows == {"a": 1.5}
        assert second.record.size == (1, 2)


def test_a_finished_run_is_not_gone_on_with(tmp_path):
    with opened(tmp_path) as first:
        finish(first)
    with opened(tmp_path) as second:
        assert second.path != first.path
        assert second.record.rows == {}


def test_without_its_last_file_a_run_is_not_finished(tmp_path):
    with opened(tmp_path) as first:
        finish(first)
    (first.path / LAST).unlink()
    with opened(tmp_path) as second:
        assert second.path == first.path


def test_the_newest_of_several_is_gone_on_with(tmp_path):
    for stamp in ("20200101-000000", "20210101-000000"):
        (tmp_path / f"{stamp}-toy").mkdir()
        write_record(tmp_path / f"{stamp}-toy" / "toy.json", fresh())
    with opened(tmp_path) as found:
        assert found.path.name == "20210101-000000-toy"


@pytest.mark.parametrize(
    "other",
    [
        fresh(seed=1),
        fresh(more=True),
        dataclasses.replace(fresh(), environment={"sources": "b", "commit": "c"}),
    ],
    ids=["another value", "another setting", "another version of the code"],
)
def test_another_run_has_another_folder(tmp_path, other):
    with opened(tmp_path) as first, opened(tmp_path, other) as second:
        assert first.path != second.path


def test_what_only_says_how_does_not_count(tmp_path):
    environment = {"sources": "a", "commit": "d", "threads": 7}
    later = dataclasses.replace(fresh(results="elsewhere"), environment=environment, created="then")
    with opened(tmp_path) as first:
        pass
    with opened(tmp_path, later) as second:
        assert second.path == first.path


def test_settings_count_as_a_file_holds_them(tmp_path):
    with opened(tmp_path, fresh(sizes=(1, 2), place=Path("x"))) as first:
        pass
    with opened(tmp_path, fresh(sizes=[1, 2], place="x")) as second:
        assert second.path == first.path


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path):
    assert len({new_folder(tmp_path, "toy") for _ in range(3)}) == 3


def test_a_root_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(OSError, match="results"):
        opened(tmp_path / "results")


# Two at once


def test_the_same_run_is_refused_while_it_goes_on_and_not_afterwards(tmp_path):
    with opened(tmp_path) as first, pytest.raises(ValueError, match="another name="):
        opened(tmp_path)
    with opened(tmp_path) as second:
        assert second.path == first.path


def test_a_failure_lets_others_in(tmp_path):
    with pytest.raises(KeyboardInterrupt), opened(tmp_path):
        raise KeyboardInterrupt
    opened(tmp_path).close()


def test_the_lock_is_the_processes_and_ends_with_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.test_experiment import opened;"
        "opened(Path(sys.argv[1])); print('in', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(ValueError, match="another name="):
            opened(tmp_path)
        other.kill()
    opened(tmp_path).close()


def test_the_record_is_read_again_under_the_lock(tmp_path, monkeypatch):
    first = opened(tmp_path)
    first.close()

    def late(folder: Path) -> None:
        lock(folder)
        first.record.rows["a"] = 1.0  # of whoever had the lock before
        first.write()

    monkeypatch.setattr("benchmarks.experiment.folder.lock", late)
    with opened(tmp_path) as second:
        assert second.record.rows == {"a": 1.0}


def test_what_was_finished_meanwhile_is_not_gone_on_with(tmp_path, monkeypatch):
    first, calls = opened(tmp_path), []
    first.close()

    def late(folder: Path) -> None:
        lock(folder)
        if not calls:
            finish(first)
        calls.append(folder)

    monkeypatch.setattr("benchmarks.experiment.folder.lock", late)
    with opened(tmp_path) as second:
        assert second.path != first.path
    lock(first.path)  # others may enter what was looked at
    unlock(first.path)


# What others have left


def left_behind(root: Path, content: str | None, name: str = "toy") -> None:
    """A record as another run has left it; without content one that cannot be read."""
    path = root / f"20200101-000000-{name}" / "toy.json"
    path.parent.mkdir(parents=True)
    if content is None:
        path.mkdir()  # unreadable for everyone, root included
    else:
        path.write_text(content)


@pytest.mark.parametrize("content", ["{", "", "\x00", '{"name": "to'])
def test_a_damaged_record_that_may_be_ones_own_is_said_and_passed_over(tmp_path, content):
    left_behind(tmp_path, content)
    with pytest.warns(UserWarning, match=r"toy\.json is damaged") as said:
        opened(tmp_path).close()
    assert len(said) == 1


def test_an_unreadable_record_is_said_and_passed_over(tmp_path):
    left_behind(tmp_path, None)
    with pytest.warns(UserWarning, match=r"toy\.json cannot be read") as said:
        opened(tmp_path).close()
    assert len(said) == 1


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"name": "old", "rows": []}'])
def test_a_record_of_another_program_or_version_is_passed_over(tmp_path, content):
    left_behind(tmp_path, content)
    opened(tmp_path).close()


def test_a_damaged_record_of_another_run_is_passed_over(tmp_path):
    left_behind(tmp_path, "{", name="other")
    opened(tmp_path).close()


# Pieces of the work


def attempt(experiment: Experiment[Toy], error: BaseException | None) -> float | None:
    def make() -> float:
        if error is not None:
            raise error
        return 1.0

    return experiment.attempt(
        "my.Own, b = 2",
        make,
        failed=lambda reason: experiment.record.failures.update(a=reason),
        console=Console(stderr=True),
        place="at 8",
    )


def test_a_failure_is_kept_and_goes_no_further(tmp_path, capsys):
    with opened(tmp_path) as experiment:
        for word in ("bad", "worse"):
            assert attempt(experiment, ArithmeticError(word)) is None
    found = read_record(Toy, experiment.path / "toy.json")
    assert found.failures == {"a": "ArithmeticError: worse"}
    trace = (experiment.path / "my.Own-b-2.error.txt").read_text()
    assert trace.index("at 8") < trace.index("ArithmeticError: bad") < trace.index("worse")
    assert "my.Own, b = 2 failed at 8: bad\n" in capsys.readouterr().err
    with opened(tmp_path) as again:
        assert again.path == experiment.path
        assert attempt(again, None) == 1.0


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_what_every_piece_would_meet_goes_up(tmp_path, error):
    with opened(tmp_path) as experiment, pytest.raises(type(error)):
        attempt(experiment, error)
    assert read_record(Toy, experiment.path / "toy.json").failures == {}


# The programs' records


def test_a_record_says_what_made_it(tmp_path):
    begun = Toy.begun(
        "a.program",
        ["x=a b"],
        name="n",
        settings={"seed": 3},
        device=torch.device("cpu"),
        packages=["sampling"],
        size=(3, 4),
    )
    assert begun.command == "python -m a.program 'x=a b'"
    assert {"device", "threads", "versions", "commit", "sources"} <= set(begun.environment)
    assert (begun.size, begun.rows) == ((3, 4), {})
    write_record(tmp_path / "toy.json", begun)
    assert read_record(Toy, tmp_path / "toy.json") == begun


def test_every_program_has_a_record_of_its_own():
    assert len({kind.FILE for kind in PROGRAMS}) == len(PROGRAMS)
    for kind in PROGRAMS:
        assert {"settings", "environment"} <= set(kind.AGREE)
        assert {"results", "commit"} <= kind.IGNORED
        assert "sources" not in kind.IGNORED


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_programs_record_comes_back_and_unknown_keys_are_refused(kind, tmp_path):
    made_by = {"name": "n", "created": "now", "command": "c", "settings": {}, "environment": {}}
    content = made_by | PROGRAMS[kind]
    path = tmp_path / kind.FILE
    path.write_text(json.dumps(content))
    record = read_record(kind, path)
    write_record(path, record)
    assert read_record(kind, path) == record
    path.write_text(json.dumps(content | {"surprise": 1}))
    with pytest.raises(RecordError, match="surprise"):
        read_record(kind, path)
    path.write_text(json.dumps(content | {"name": 3}))
    with pytest.raises(RecordError, match="name: "):
        read_record(kind, path)
    del content["settings"]
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="settings: ") as wrong:
        read_record(kind, path)
    assert not wrong.value.broken
    assert str(path) in str(wrong.value)
