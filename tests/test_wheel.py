"""What is installed from a wheel works from any folder, with nothing of the checkout beside it."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = {"tests"}


def packages() -> list[Path]:
    """The folders at the top that hold code."""
    return [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in LEFT_OUT]


def test_every_folder_of_code_is_a_package():
    # `only-packages` leaves any other out of the wheel without a word.
    for package in packages():
        for file in package.rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), file


def test_no_package_is_left_out_but_the_tests():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {path.strip("/") for path in wheel["exclude"]} == LEFT_OUT
    assert wheel["include"] == ["/*/**"]
    assert all((ROOT / source).exists() for source in wheel["force-include"])


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder that holds what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", str(ROOT), "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words], capture_output=True, text=True, timeout=300
    )
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("what builds a wheel (hatchling) is not here, nor is a connection to get it")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def run(installed, tmp_path):
    """Runs Python elsewhere, on what the wheel holds; all else is that of this environment."""

    def run(*words: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_every_file_of_code_is_in_the_wheel(installed):
    for package in packages():
        for file in package.rglob("*"):
            if file.is_file() and file.suffix in (".py", ".css", ".js", ".j2"):
                assert (installed / file.relative_to(ROOT)).is_file(), file
    assert not (installed / "tests").exists()


def test_every_configuration_is_in_the_wheel(installed):
    for file in (ROOT / "configs").rglob("*.yaml"):
        assert (installed / "patchcanvas" / file.relative_to(ROOT)).is_file(), file


def test_the_code_of_the_wheel_is_what_runs(installed, run):
    code = "import patchcanvas, benchmarks; print(patchcanvas.__file__, benchmarks.__file__)"
    assert [Path(path).parents[1] for path in run("-c", code).stdout.split()] == [installed] * 2


def test_a_picture_is_made_and_made_again(run, tmp_path):
    words = ["canvas.width=64", "solver.num_steps=4", "output=lake.png", "device=cpu"]
    done = run("-m", "patchcanvas", "generate", *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lake.png").is_file()
    done = run("-m", "patchcanvas", "again", "lake.png")
    assert done.returncode == 0, done.stderr


def test_the_comparison_says_what_it_can_and_finds_its_presets(run):
    done = run("-m", "benchmarks.run", "--help")
    assert done.returncode == 0, done.stderr
    assert "smoke" in done.stdout
    code = (
        "from benchmarks.comparison.plan import parse;"
        "from benchmarks.latency.plan import read_command;"
        "print(parse(['config=smoke']).settings.num_samples);"
        "print(read_command(['config=smoke']).settings.denoiser)"
    )
    assert run("-c", code).stdout.split() == ["8", "landscapes"]


def test_a_denoiser_that_is_not_in_the_wheel_is_missed_in_one_sentence(run):
    done = run("-m", "patchcanvas", "stream", "columns=8")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the denoiser landscapes_controlled")
    assert len(done.stderr.splitlines()) == 1
