import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
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

# Commands that measure: none imports another.
PROGRAMS = ("comparison", "evaluation", "inpainting", "latency", "oracle")
# What the pages of a comparison may read.
REPORTED = {
    "benchmarks.latency.picture",
    "benchmarks.latency.records",
}

# Files and folders of `patchcanvas`: each imports what stands before it alone. `again` names the
# programs whose pictures it makes again, and imports none.
ORDER = (
    *(
        "files",
        "records",
        "sources",
        "accounting",
        "watched",
        "image_file",
        "mask_file",
        "plotting",
    ),
    *("environment", "bundled", "window_batch", "runtime", "model", "context", "timing", "budget"),
    *("making", "provenance", "pictures", "generated_image", "output", "cli", "picture_files"),
    *(
        "painting",
        "painting_command",
        "again",
        "generating",
        "outpainting",
        "streaming",
        "api",
        "__main__",
    ),
)

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


def units(package: str) -> dict[str, set[str]]:
    """What the files and folders of a package import of one another, by their names."""
    found: dict[str, set[str]] = {}
    for path in files(package):
        unit = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        names = [name.split(".") for name in imported(path)]
        others = {name[1] for name in names if name[0] == package and len(name) > 1}
        found.setdefault(unit, set()).update(others - {unit})
    return found


def layers(package: str) -> int:
    """How many units the longest chain of imports has.

    Raises:
        CycleError: If there is a circle.
    """
    graph, depths = units(package), {}
    for unit in TopologicalSorter(graph).static_order():
        depths[unit] = 1 + max((depths[other] for other in graph[unit]), default=0)
    return max(depths.values())


@pytest.mark.parametrize(("package", "most"), [("benchmarks", 6), ("studies", 6)])
def test_layers_inside_a_package_are_few_and_no_circle(package: str, most: int):
    assert 1 < layers(package) <= most


def test_programs_that_measure_do_not_import_one_another():
    found = {
        (program, name)
        for program in PROGRAMS
        for path in files(f"benchmarks/{program}")
        for name in imported(path)
        for other in {*PROGRAMS, "report", "compare", "run"} - {program}
        if f"{name}.".startswith(f"benchmarks.{other}.")
    }
    assert not found


def test_pages_read_what_programs_leave_behind():
    read = {name for path in files("benchmarks/report") for name in imported(path)}
    of_programs = {name for name in read if name.split(".")[1:2] and name.split(".")[1] in PROGRAMS}
    assert of_programs == REPORTED


def test_inside_patchcanvas_imports_run_one_way():
    found = units("patchcanvas")
    assert set(found) - {"__init__"} == set(ORDER), "a new file needs its place in the order"
    for unit, others in found.items():
        allowed = ORDER if unit == "__init__" else ORDER[: ORDER.index(unit)]
        assert others <= set(allowed), f"{unit} imports {others - set(allowed)}"
    for command in ("generating", "outpainting", "streaming"):
        others = set().union(*(found[other] for other in found if other not in ("__main__", "api")))
        assert command not in others
