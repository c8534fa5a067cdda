"""Every setting of the harness, and how it is read from the command line."""

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from benchmarks.environment import Precision
from datamodules.patches import PatchData
from sampling.solvers import Heun, Solver
from strategies.base import Strategy
from strategies.catalogue import names, strategy_class

__all__ = ["CanvasSize", "Plan", "Settings", "parse"]

PRESETS = Path(__file__).parent.parent / "configs" / "benchmarks"
DEFAULT_SOLVER = Heun(num_steps=18, churn=18.0)
DATA_SHORT_NAMES = {
    "landscapes": "datamodules.landscapes.Landscapes",
    "photos": "datamodules.photos.Photos",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CanvasSize:
    """The size of what is generated.

    Args:
        height: Pixels from top to bottom; by default the denoiser's patch size.
        width: Pixels from left to right; by default 6 times the height, as in the paper's FID+.
    """

    height: int | None = None
    width: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A comparison of strategies on one denoiser.

    Args:
        strategy: Name of a strategy, several with commas between, or `all`; or the dotted path of
            a class of your own. A strategy's own settings are `name.setting=value`, for example
            diffcollage.overlap=8.
        denoiser: Weights of the shared denoiser, a .safetensors file with its .json beside it.
        data: Real images to compare with: `landscapes` (procedural), `photos` with
            data.root=FOLDER, or the dotted path of a class of your own.
        canvas: Size of the canvases, in pixels.
        num_samples: Canvases of each strategy; 500 or more for figures worth quoting.
        num_reference: Real crops that FID+ compares with.
        batch_size: Canvases generated at a time.
        seed: Seeds the starting noise and the places of the crops.
        solver: The way from noise to image, the same for every strategy.
        max_batch: Most windows in one network call, when memory is short; null for no limit.
        features: Network behind FID+: `random_conv` needs no weights; `inception` is the field's
            and needs a download or features_weights.
        features_weights: Local file with the weights of `inception`.
        device: `auto` (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps.
        precision: What the network computes in: fp32, bf16 or fp16.
        compile: Whether torch.compile compiles the network; slow to start, then faster on a GPU.
        latency_repeats: Timed runs of one canvas, after one warm-up run.
        pictures: Canvases of each strategy written as PNG.
        results: Folder of the runs; each gets a folder of its own in there.
        name: Name of the run; by default made of the data and the strategy.
    """

    strategy: str = "all"
    denoiser: Path = Path("checkpoints/landscapes.safetensors")
    data: PatchData
    canvas: CanvasSize = CanvasSize()
    num_samples: int = 64
    num_reference: int = 2000
    batch_size: int = 8
    seed: int = 0
    solver: Solver = DEFAULT_SOLVER
    max_batch: int | None = None
    features: Literal["random_conv", "inception"] = "random_conv"
    features_weights: Path | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    compile: bool = False
    latency_repeats: int = 3
    pictures: int = 4
    results: Path = Path("results")
    name: str | None = None

    def __post_init__(self) -> None:
        for name, least, reason in (
            ("num_samples", 2, "a covariance needs two canvases"),
            ("num_reference", 2, "a covariance needs two crops"),
            ("batch_size", 1, "there is nothing to generate otherwise"),
            ("latency_repeats", 1, "there is no median of nothing"),
            ("pictures", 1, "the contact sheet needs one"),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}: {reason}.")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a command line asks for.

    Args:
        settings: The settings of the comparison.
        strategies: The strategies to run, by name, in order.
        record: All settings as plain values; equal records make equal results.
    """

    settings: Settings
    strategies: dict[str, Strategy]
    record: dict[str, Any]


def parse(arguments: list[str]) -> Plan:
    """Reads a command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    parser = _parser()
    shared, own = _sorted_out(_normalised(arguments))
    _refuse_unknown_keys(parser, shared)
    config = _parsed(parser, shared)
    chosen = names() if config.strategy == "all" else config.strategy.split(",")
    classes = {name: strategy_class(name) for name in chosen}
    stray = sorted(set(own) - set(classes))
    if stray:
        raise ValueError(f"{stray[0]} has settings of its own here, but is not among those to run.")
    values = parser.instantiate(config)
    settings = Settings(**{field.name: values[field.name] for field in _fields()})
    built = {
        name: _built(strategy, settings, own.get(name, [])) for name, strategy in classes.items()
    }
    record = yaml.safe_load(parser.dump(config, skip_validation=True))
    return Plan(settings, built, record | {"own": own})


def _fields() -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(Settings)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m benchmarks.run",
        description="Runs strategies on one shared denoiser and compares what comes out. "
        "Write settings as key=value, for example: strategy=diffcollage num_samples=500 "
        "solver.num_steps=40.",
        exit_on_error=False,
    )
    parser.add_argument(
        "--config",
        action="config",
        help="A preset (smoke, default, paper) or a YAML file of settings; later keys win.",
    )
    parser.add_class_arguments(Settings, None)
    parser.set_defaults(
        {
            "data": {"class_path": DATA_SHORT_NAMES["landscapes"]},
            "solver": {
                "class_path": "sampling.solvers.Heun",
                "init_args": dataclasses.asdict(DEFAULT_SOLVER),
            },
        }
    )
    return parser


def _normalised(arguments: list[str]) -> list[str]:
    """Returns `--key=value` for every way to write it, with short names spelt out."""
    tokens: list[str] = []
    for token in arguments:
        if tokens and tokens[-1].startswith("--") and not re.search("=|^--help$", tokens[-1]):
            tokens[-1] += "=" + token
        elif re.match(r"[A-Za-z_][\w.]*=", token):
            tokens.append("--" + token)
        elif token.startswith("--") or token == "-h":
            tokens.append("--help" if token == "-h" else token)
        else:
            raise ValueError(f"settings are written key=value, got {token!r}.")
    return [_spelt_out(token) for token in tokens]


def _spelt_out(token: str) -> str:
    key, _, value = token.partition("=")
    if key == "--data":
        value = DATA_SHORT_NAMES.get(value, value)
        if "." not in value:
            near = difflib.get_close_matches(value, DATA_SHORT_NAMES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            known = ", ".join(DATA_SHORT_NAMES)
            raise ValueError(f"data must be one of {known}, or a class path, got {value!r}{hint}")
        return f"--data={value}"
    if key == "--config" and not Path(value).suffix:
        preset = PRESETS / f"{value}.yaml"
        if not preset.is_file():
            known = ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))
            raise ValueError(f"config must be one of {known}, or a YAML file, got {value!r}.")
        return f"--config={preset}"
    return token


def _sorted_out(tokens: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the shared settings, and those of single strategies without their prefix."""
    shared: list[str] = []
    own: dict[str, list[str]] = {}
    for token in tokens:
        owner, _, rest = token.removeprefix("--").partition(".")
        if rest and owner in names():
            own.setdefault(owner, []).append("--" + rest)
        else:
            shared.append(token)
    return shared, own


def _refuse_unknown_keys(parser: ArgumentParser, tokens: list[str]) -> None:
    """Refuses unknown keys; what lies below a class's key is left to the class itself."""
    known = [
        option.removeprefix("--")
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    ]
    for token in tokens:
        key = token.removeprefix("--").partition("=")[0]
        if key in known or key.partition(".")[0] in ("data", "solver"):
            continue
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; --help lists them."
        raise ValueError(f"there is no setting {key!r}{hint}")


def _parsed(parser: ArgumentParser, tokens: list[str]) -> Namespace:
    try:
        return parser.parse_args(tokens)
    except ArgumentError as error:
        raise ValueError(_one_line(error)) from error


def _built(strategy: type[Strategy], settings: Settings, tokens: list[str]) -> Strategy:
    """Builds a strategy from the shared settings and its own."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(strategy, None, skip={"solver"})
    parser.set_defaults({"max_batch": settings.max_batch})
    try:
        own = parser.instantiate(parser.parse_args(tokens))
    except ArgumentError as error:
        raise ValueError(f"{strategy.__name__}: {_one_line(error)}") from error
    return strategy(**vars(own), solver=settings.solver)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
