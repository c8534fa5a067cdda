"""Which code a result was made by: a hash of its source, and the commit it was at."""

import hashlib
import inspect
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["MAKING", "MEASURING", "STUDYING", "commit", "sha256_of_sources"]

ROOT = Path(__file__).resolve().parent.parent
# By what may be imported: what makes pixels, what measures them, what studies them.
MAKING = ("backbones", "datamodules", "denoisers", "patchcanvas", "sampling", "strategies")
MEASURING = (*MAKING, "benchmarks")
STUDYING = (*MEASURING, "lightning_modules", "studies")


def sha256_of_sources(
    classes: Iterable[type] = (), packages: Iterable[str] = MEASURING, root: Path = ROOT
) -> str:
    """Returns a hash of every Python file in packages of this project, and of those of `classes`.

    A commit does not tell two states of a changed file apart, nor does it know a user's module.

    Args:
        classes: Whose files count too, wherever they lie.
        packages: Whose files count, those of packages in them included.
        root: The folder that holds the packages.
    """
    ours = [path for package in packages for path in (root / package).rglob("*.py")]
    named = {path.relative_to(root).as_posix(): path for path in ours}
    for item in classes:
        path = Path(inspect.getfile(item)).resolve()
        if path not in ours:
            named[f"{item.__module__}.py"] = path
    digest = hashlib.sha256()
    for name, path in sorted(named.items()):
        digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def commit(root: Path = ROOT) -> str | None:
    """Returns the commit of this code, with `+` where files differ from it.

    None outside a repository of this project: one around the environment that it is installed in
    is another's.
    """

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
