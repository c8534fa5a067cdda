import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import nn

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


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """The smallest U-Net, of windows of 16 px, as if trained."""
    from tests.doubles import save_tiny

    return save_tiny(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


@pytest.fixture(scope="session")
def inception_network(tmp_path_factory) -> nn.Module:
    """torch-fidelity's Inception with random weights that keep an image's variance."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Random(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict):
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    empty = tmp_path_factory.mktemp("empty") / "empty.pth"
    torch.save({}, empty)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Random("inception", ["2048"], feature_extractor_weights_path=str(empty))


@pytest.fixture(scope="session")
def inception_weights(inception_network, tmp_path_factory) -> Path:
    """Random weights of Inception in torch-fidelity's format."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(inception_network.state_dict(), path)
    return path
