import re
import shlex
import sys
from pathlib import Path

import torch

from benchmarks.comparison.plan import parse
from benchmarks.oracle.__main__ import planned, read_command
from denoisers.pretrained.stand_ins import sd_pipeline
from sampling.noise import CanvasNoise
from sampling.solvers import Heun
from strategies.canvas import Canvas
from strategies.catalogue import strategy_class
from strategies.naive import Naive
from tests.doubles import IndependentPixels

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_strategy_of_the_readme_is_naive_tiling(tmp_path, monkeypatch):
    (code,) = (block for block in BLOCKS if "class Tiles" in block)
    (tmp_path / "my_readme_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    solver, canvas = Heun(num_steps=4), Canvas(height=16, width=40)
    theirs, ours = (
        made(solver=solver).generate(IndependentPixels(16, multiple=8), canvas, CanvasNoise(0, [0]))
        for made in (strategy_class("my_readme_module.Tiles"), Naive)
    )
    sys.modules.pop("my_readme_module")
    assert torch.equal(theirs, ours)


def test_the_image_of_the_readme_is_outpainted(monkeypatch):
    (code,) = (block for block in BLOCKS if "Known.placed" in block)
    monkeypatch.chdir(ROOT)
    names = {}
    # Two steps are enough to see that it runs; the picture is another matter.
    exec(
        code.replace("AsyncPatch()", "AsyncPatch(solver=Heun(num_steps=2))"), {"Heun": Heun}, names
    )
    assert names["pixels"].shape == (1, 3, 32, 192)
    assert torch.equal(names["outpainted"][..., 72:120], names["image"])


def test_the_panorama_of_the_readme_is_made(tmp_path):
    (code,) = (block for block in BLOCKS if "load_pretrained" in block)
    sd_pipeline().save_pretrained(tmp_path)
    # A small random model in place of the trained one, here, in few steps and of its own size.
    for written, here in (
        ('"stabilityai/stable-diffusion-2-1-base", dtype=torch.float16', repr(str(tmp_path))),
        ('"cuda"', '"cpu"'),
        ("num_steps=25", "num_steps=2"),
        ("height=512, width=3072", "height=32, width=192"),
    ):
        assert written in code
        code = code.replace(written, here)
    names = {}
    exec(code, {}, names)
    assert names["pixels"].shape == (1, 3, 32, 192)
    assert names["pixels"].float().std() > 1


def test_the_oracle_understands_the_commands_of_the_readme():
    commands = re.findall(r"python -m benchmarks\.oracle ?([^`\n]*)", README)
    runnable = [shlex.split(c) for c in commands if "--help" not in c]
    assert len(runnable) >= 2
    for arguments in runnable:
        assert planned(read_command(arguments))


def test_the_harness_understands_the_commands_of_the_readme():
    commands = re.findall(r"python -m benchmarks\.run ([^`\n]+)", README)
    # Those that need a user's files or a user's class are left out, and the help.
    runnable = [shlex.split(c) for c in commands if not re.search("DIR|my_module|--help", c)]
    assert len(runnable) >= 3
    for arguments in runnable:
        assert parse(arguments).strategies


def test_every_folder_and_file_that_the_readme_names_is_there():
    named = set(re.findall(r"(?<![\w/])(?:configs|docs|checkpoints)/[\w./-]*\w", README))
    assert len(named) >= 4
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_set_up_commands_are_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"bench", "test"} <= targets
    assert set(re.findall(r"^    make ([a-z-]+)$", README, flags=re.MULTILINE)) == {"bench", "test"}


def test_no_page_has_a_gap_left_to_fill():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        assert "@@" not in page.read_text(), page
