import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "backbones",
    "benchmarks",
    "datamodules",
    "denoisers",
    "lightning_modules",
    "patchcanvas",
    "sampling",
    "strategies",
    "studies",
    "tests",
}

# What each folder may import of the house beside itself.
MAY_IMPORT = {
    "denoisers": set(),
    "backbones": {"denoisers"},
    "sampling": {"denoisers"},
    "strategies": {"denoisers", "sampling"},
    "datamodules": set(),
    "lightning_modules": {"backbones", "denoisers", "sampling"},
    "patchcanvas": {"backbones", "datamodules", "denoisers", "sampling", "strategies"},
    "benchmarks": {
        "backbones",
        "datamodules",
        "denoisers",
        "patchcanvas",
        "sampling",
        "strategies",
    },
    "studies": {
        "backbones",
        "benchmarks",
        "datamodules",
        "denoisers",
        "patchcanvas",
        "sampling",
        "strategies",
    },
}

# The two files that may import one folder more, and why.
EXCEPTIONS = {
    "lightning_modules/previews.py": {"strategies"},  # strips of the training in progress
    "lightning_modules/serving.py": {"datamodules"},  # where Lightning is handed the data
}

# The mathematics is usable without Lightning.
WITHOUT_LIGHTNING = {"backbones", "denoisers", "sampling", "strategies"}


def imported(path: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} imports relative to itself"
            yield node.module


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} has moved: this test would pass whatever it imports"
    return found


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_imports_run_one_way(folder: str):
    for path in files(folder):
        relative = path.relative_to(ROOT).as_posix()
        allowed = MAY_IMPORT[folder] | EXCEPTIONS.get(relative, set()) | {folder}
        for name in imported(path):
            package = name.split(".")[0]
            assert package not in PACKAGES - allowed, f"{relative} imports {name}"


@pytest.mark.parametrize("folder", sorted(WITHOUT_LIGHTNING))
def test_the_mathematics_does_not_import_lightning(folder: str):
    for path in files(folder):
        for name in imported(path):
            package = name.split(".")[0]
            assert package not in {"lightning", "pytorch_lightning"}, f"{path.name} imports {name}"


@pytest.mark.parametrize("relative", sorted(EXCEPTIONS))
def test_exceptions_are_still_needed(relative: str):
    packages = {name.split(".")[0] for name in imported(ROOT / relative)}
    assert EXCEPTIONS[relative] <= packages


def test_every_python_file_of_the_house_is_in_a_known_layer():
    # A `photos` or `runs` folder holds no code of ours; a new package needs a row above.
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} == set(MAY_IMPORT)


@pytest.mark.parametrize("folder", sorted(PACKAGES))
def test_no_file_is_named_for_everything_and_nothing(folder: str):
    names = {path.stem for path in files(folder)}
    assert not names & {"util", "utils", "helpers", "misc", "common"}
