"""What is done once is done once, and what is not needed is not imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.comparison import preparation
from benchmarks.comparison.plan import parse
from denoisers import checkpoint
from patchcanvas.model import load_model
from patchcanvas.runtime import DEFAULT_RUNTIME

ROOT = Path(__file__).parents[1]
# None of them is needed to say what the settings are.
HEAVY = {
    "diffusers",
    "lightning",
    "matplotlib",
    "open_clip",
    "tensorboard",
    "torch_fidelity",
    "torchmetrics",
    "torchvision",
    "transformers",
}
# Modules in all. It was 3,616; now 1,487, of which torch and what it imports are 1,199. The rest is
# room for other versions of these.
MOST = 1750

HELP = """
import json, sys
from {module} import main
try:
    main(["--help"])
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(module: str) -> list[str]:
    code = HELP.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "usage:" in done.stdout
    return json.loads(done.stderr.strip().splitlines()[-1])


@pytest.mark.parametrize(
    "module",
    ["benchmarks.run", "patchcanvas.generating.command", "patchcanvas.outpainting.command"],
)
def test_help_does_not_wait_for_what_it_does_not_need(module):
    found = imported(module)
    assert not HEAVY & set(found)
    assert len(found) <= MOST


def test_the_list_of_commands_imports_next_to_nothing():
    found = imported("patchcanvas.__main__")
    assert not {"numpy", "torch"} & set(found)


def test_weights_are_hashed_once_and_their_json_read_once(monkeypatch):
    hashed, read = [], []
    sha256_of, read_text = checkpoint.sha256_of, Path.read_text
    monkeypatch.setattr(
        checkpoint, "sha256_of", lambda path: hashed.append(path) or sha256_of(path)
    )
    monkeypatch.setattr(
        Path, "read_text", lambda path, **how: read.append(path.name) or read_text(path, **how)
    )
    model = load_model("landscapes", DEFAULT_RUNTIME)
    assert len(hashed) == 1
    assert read.count("landscapes.json") == 1
    assert model.description["weights_sha256"]


def test_a_comparison_checks_once_and_builds_its_features_once(monkeypatch, tmp_path):
    checked, built = [], []
    refuse, build = preparation.validate_fit, preparation.build_features
    monkeypatch.setattr(
        preparation,
        "validate_fit",
        lambda name, *rest: checked.append(name) or refuse(name, *rest),
    )
    monkeypatch.setattr(
        preparation, "build_features", lambda *asked, **how: built.append(1) or build(*asked, **how)
    )
    words = ["strategy=naive,diffcollage", "device=cpu", "loggers=[]", f"results={tmp_path}"]
    preparation.prepared(parse([*words, "budget=[8,16]"]), words)
    assert checked == ["naive", "diffcollage"]
    assert built == [1]
