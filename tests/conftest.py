import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch

# On two busy cores small tests are several times faster with one thread.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _jaxtyped(fn: Callable | None = None, *, typechecker: Callable) -> Callable:
    """The checks of `jaxtyping.jaxtyped` in one pass over the arguments instead of two.

    Its own wrapper binds every call to a signature, and checks the arguments once more with the
    result: for better messages, at a third of the time of tests that make many small calls. It is
    left where it is needed: where lengths of axes are named by arguments (`{height}`), and where
    what is made comes later.
    """
    if fn is None:
        return functools.partial(_jaxtyped, typechecker=typechecker)
    plain = inspect.isfunction(fn) and not inspect.isgeneratorfunction(fn)
    if not plain or "{" in str([*fn.__annotations__.values()]):
        return _THEIRS(fn, typechecker=typechecker)
    checked = typechecker(fn)

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return fn(*args, **kwargs)
        with _THEIRS("context"):  # an axis is of one length within one call
            return checked(*args, **kwargs)

    return wrapped


_THEIRS, jaxtyping.jaxtyped = jaxtyping.jaxtyped, _jaxtyped


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """What is known of folders of images goes to a folder of the tests, not to the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
