"""README and docs: their commands are read, their Python runs, their links lead somewhere."""

import importlib
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jsonargparse import auto_parser
from PIL import Image as Picture

import patchcanvas as pc
from denoisers.pretrained.stand_ins import sd_pipeline
from patchcanvas.__main__ import COMMANDS
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.catalogue import strategy_class
from strategies.naive import Naive
from tests.doubles import IndependentPixels

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
COMMAND = re.compile(
    r"^    ((?:python -m|patchcanvas) .*)$|`((?:python -m|patchcanvas) [^`]+)`", re.MULTILINE
)
FILE = re.compile(r"(?<![\w/.])(?:configs|docs|checkpoints)/[\w./-]*\w")
# Stand for a user's own words, classes, or whatever the sentence is about.
OPEN = re.compile(r"…|--help|my_module|my_package|pytest|lightning_modules")
# What reads the words of a program, where that is not called `read_command` in its `settings`.
READERS = {
    "benchmarks.run": ("benchmarks.comparison.plan", "parse"),
    "benchmarks.latency": ("benchmarks.latency.plan", "read_command"),
    "benchmarks.oracle": ("benchmarks.oracle.plan", "read_command"),
    "benchmarks.inpainting": ("benchmarks.inpainting.__main__", "Inpainting.read_command"),
    "studies.guidance": ("studies.guidance.__main__", "Guidance.read_command"),
    "studies.schedules": ("studies.schedules", "Sweep.prepare"),
    "patchcanvas again": ("patchcanvas.again.settings", "read_settings"),
    "patchcanvas evaluate": ("benchmarks.evaluation.settings", "read_command"),
}
FUNCTIONS = {  # studies whose words are the arguments of a function
    "studies.guides": "study",
    "studies.context": "study",
    "studies.half_patches": "study",
    "studies.noise_levels": "study",
    "studies.noise_maps": "compare",
}
# Their words are folders of runs, or none.
WITHOUT = {
    "benchmarks.compare",
    "benchmarks.report",
    "benchmarks.evaluation",
    "studies.repeatability",
}


def commands() -> list[tuple[str, str, str]]:
    """The page, the program and the words of every command, each once."""
    found = {}
    for page in PAGES:
        text = page.read_text().partition("## Renamed")[0]  # whose commands are no more
        text = re.sub(r"\\\n\s+", " ", FENCED.sub("", text))
        for match in COMMAND.finditer(text):
            line = " ".join((match[1] or match[2]).split())
            if OPEN.search(line):
                continue
            words = line.removeprefix("python -m ").split(" ", 1)
            if words[0] == "patchcanvas":
                name, _, rest = (words[1:] or [""])[0].partition(" ")
                found[f"patchcanvas {name}", rest] = page.name
            else:
                found[words[0], "".join(words[1:])] = page.name
    return [(page, *command) for command, page in sorted(found.items())]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder that has what the commands name."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("DIR", "photos"):
        (folder / name).mkdir()
        for number in range(12):
            image = Picture.new("RGB", (1200, 1200), (20 * number, 0, 0))
            image.save(folder / name / f"{number}.png")
    for name in ("configs", "checkpoints", "docs"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("photo.jpg", "IMAGE", "mask.png", "MASK", "PICTURE", "PICTURE.png"):
        (folder / name).write_bytes((ROOT / "docs" / "outpainting_given.png").read_bytes())
    return folder


def reader(program: str) -> Callable[[list[str]], object]:
    if program in FUNCTIONS:
        module = importlib.import_module(f"{program}.__main__")
        return lambda words: auto_parser(getattr(module, FUNCTIONS[program])).parse_args(words)
    package = COMMANDS[program.split()[1]][0].rpartition(".")[0] if " " in program else program
    module, names = READERS.get(program, (f"{package}.settings", "read_command"))
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("page", "program", "words"), commands())
def test_a_command_of_the_documentation_is_understood(page, program, words, elsewhere, monkeypatch):
    monkeypatch.chdir(elsewhere)
    if program in WITHOUT:
        assert importlib.util.find_spec(program), page
    elif words or program.startswith(("benchmarks", "studies")):  # else a name in a sentence
        asked = shlex.split(words)
        reader(program)(asked)


def test_there_are_commands_and_python_to_look_at():
    assert len(commands()) > 60
    assert len([code for _, _, code in blocks()]) > 8


def blocks() -> list[tuple[str, int, str]]:
    """The page, the number and the code of every block of Python."""
    return [
        (page.name, number, match[2])
        for page in PAGES
        for number, match in enumerate(FENCED.finditer(page.read_text()))
        if match[1] == "python"
    ]


@pytest.mark.parametrize(("page", "number", "code"), blocks())
def test_the_python_of_the_documentation_runs(page, number, code, tmp_path, monkeypatch):
    """In fewer steps and small, with a random model in place of a trained one."""
    if "class Tiles" in code or page in ("elbo.md", "evaluate.md"):
        return  # held by tests of their own
    sd_pipeline().save_pretrained(tmp_path / "model")
    for name in ("checkpoints", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    for written, here in (
        ("diffusers:stabilityai/stable-diffusion-2-1-base", "diffusers:model"),
        ("stabilityai/stable-diffusion-2-1-base", "model"),
        (', device="cuda", dtype="fp16"', ""),
        (", dtype=torch.float16", ""),
        ('"cuda"', '"cpu"'),
        ("num_steps=25", "num_steps=2"),
        ("num_steps=12", "num_steps=2"),
        ("height=512, width=3072", "height=32, width=192"),
        ("wrap_width=True, seed=0", "wrap_width=True, seed=0, num_steps=2"),
        ("size=(32, 192), seed=0", "size=(32, 192), seed=0, num_steps=2"),
        ("AsyncPatch()", "AsyncPatch(solver=Heun(num_steps=2))"),
    ):
        code = code.replace(written, here)
    exec(code, {"Heun": Heun})


def test_the_strategy_of_the_readme_is_naive_tiling(tmp_path, monkeypatch):
    (code,) = (code for _, _, code in blocks() if "class Tiles" in code)
    (tmp_path / "my_readme_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    solver, canvas = Heun(num_steps=4), Canvas(height=16, width=40)
    theirs, ours = (
        made(solver=solver).generate(IndependentPixels(), canvas, CanvasNoise(0, [0]))
        for made in (strategy_class("my_readme_module.Tiles"), Naive)
    )
    sys.modules.pop("my_readme_module")
    assert torch.equal(theirs, ours)


def test_every_folder_and_file_that_is_named_is_there():
    named = {
        name
        for page in PAGES
        for name in re.findall(
            r"(?<![\w/.])(?:configs|docs|checkpoints)/[\w./-]*\w", page.read_text()
        )
    }
    assert len(named) > 20
    for name in named:
        assert (ROOT / name).exists(), name


def test_every_link_leads_to_a_page_and_a_heading():
    headings = {page.name: anchors(page.read_text()) for page in PAGES}
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", page.read_text()):
            if target.startswith("http"):
                continue
            file, _, anchor = target.partition("#")
            path = (page.parent / file).resolve() if file else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in headings[path.name], f"{page.name}: {target}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_set_up_commands_are_targets_of_the_makefile():
    readme = PAGES[0].read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"bench", "test"} <= targets
    assert set(re.findall(r"^    make ([a-z-]+)$", readme, flags=re.MULTILINE)) == {"bench", "test"}
    assert len(readme.splitlines()) <= 200


def test_no_page_has_a_gap_left_to_fill():
    for page in PAGES:
        assert "@@" not in page.read_text(), page


def test_the_names_of_the_library_are_those_of_the_concepts():
    assert {"load_denoiser", "generate", "outpaint", "evaluate", "fid_plus"} <= set(dir(pc))
