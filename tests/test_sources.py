"""Which code a result was made by."""

import shutil
import subprocess
from pathlib import Path

import pytest

from patchcanvas.sources import MEASURING, ROOT, STUDYING, commit, sha256_of_sources

FILES = sorted(
    path.relative_to(ROOT) for package in STUDYING for path in (ROOT / package).rglob("*.py")
)


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of all packages and of the README."""
    for path in (*FILES, Path("README.md")):
        (tmp_path / path.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def test_every_package_of_the_project_is_in_the_hash():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == set(STUDYING)


def test_a_change_of_any_file_changes_the_hash(tree):
    before = sha256_of_sources(packages=STUDYING, root=tree)
    assert len(FILES) > 250
    for path in FILES:
        file = tree / path
        content = file.read_bytes()
        file.write_bytes(content + b"#")
        # The file's own package alone is read again: all of them, 300 times over, takes a minute.
        package = path.parts[0]
        assert sha256_of_sources(packages=[package], root=tree) != sha256_of_sources(
            packages=[package]
        ), path
        file.write_bytes(content)
    assert sha256_of_sources(packages=STUDYING, root=tree) == before


def test_a_run_is_not_begun_anew_for_a_readme_or_a_study(tree):
    before = sha256_of_sources(packages=MEASURING, root=tree)
    (tree / "README.md").write_text("other words")
    (tree / "studies" / "harness.py").write_text("other = True")
    assert sha256_of_sources(packages=MEASURING, root=tree) == before


def test_a_file_that_moves_changes_the_hash(tree):
    before = sha256_of_sources(root=tree)
    (tree / "sampling" / "images.py").rename(tree / "strategies" / "images.py")
    assert sha256_of_sources(root=tree) != before


def test_a_class_of_a_user_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_users_module.py").write_text("class Mine:\n    pass\n")
    import a_users_module

    before = sha256_of_sources([a_users_module.Mine])
    assert before != sha256_of_sources()
    (tmp_path / "a_users_module.py").write_text("class Mine:\n    other = 1\n")
    assert sha256_of_sources([a_users_module.Mine]) != before


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_never_that_of_a_repository_around_the_package(tmp_path):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "one.py").write_text("")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "another project")
    assert commit(installed) is None
    clean = commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "two.py").write_text("")
    assert commit(tmp_path) == clean + "+"
