"""How a command line becomes a plan: settings, strategies, and a record of both."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from patchcanvas.bundled import configurations, is_pretrained
from patchcanvas.cli.keys import nearest, validate_keys, validate_values
from sampling.solvers import Solver
from strategies.base import Strategy
from strategies.catalogue import names, strategy_class

__all__ = [
    "Command",
    "described",
    "normalised",
    "read",
    "read_settings",
    "read_single",
    "with_defaults_of_pretrained",
]

PRESETS = configurations("benchmarks")
DIFFUSERS = "sampling.diffusers_solver.Diffusers"
# What a short name stands for: a class path, and settings that go with it.
SHORT_NAMES = {
    "data": {
        "landscapes": ["datamodules.landscapes.Landscapes"],
        "photos": ["datamodules.photos.Photos"],
        "none": ["datamodules.nothing.Nothing"],
        "lhq": ["datamodules.lhq.Lhq"],
        "lsun_tower": ["datamodules.lsun_tower.LsunTower"],
    },
    "solver": {
        "heun": ["sampling.solvers.Heun"],
        "euler": ["sampling.solvers.Euler"],
        "ddim": [DIFFUSERS, "scheduler=ddim"],
        "dpmsolver++": [DIFFUSERS, "scheduler=dpmsolver++"],
        "deis": [DIFFUSERS, "scheduler=deis"],
    },
}


# Other words for the same thing.
SYNONYMS = {"preset": "config", "accelerator": "device"}
# Settings of the group `runtime` that may stand alone.
OF_RUNTIME = ("precision", "compile", "window_batch")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, read and checked.

    Args:
        settings: The settings that all strategies share.
        record: All settings as plain values; equal records make equal results.
        classes: The strategies to run, by name, in order.
        own: What single strategies were given, as `--setting=value`, by name.
    """

    settings: Any
    record: dict[str, Any]
    classes: dict[str, type[Strategy]] = dataclasses.field(default_factory=dict)
    own: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def build(self, name: str, *, solver: Solver, **defaults: Any) -> Strategy:
        """Builds a strategy from its own settings, and from those `defaults` that it has."""
        return built(self.classes[name], self.own.get(name, []), solver=solver, **defaults)


def with_defaults_of_pretrained(arguments: list[str]) -> list[str]:
    """Puts the preset of pretrained models first where one is named on the command line.

    >>> with_defaults_of_pretrained(["denoiser=diffusers:google/ddpm-church-256"])
    ['config=pretrained', 'denoiser=diffusers:google/ddpm-church-256']
    """
    # Also where the name stands apart: --denoiser diffusers:NAME.
    named = any(
        is_pretrained(word.removeprefix("--").removeprefix("denoiser=")) for word in arguments
    )
    return ["config=pretrained", *arguments] if named else arguments


def read(
    arguments: list[str],
    settings_class: type,
    *,
    prog: str,
    description: str,
    presets: Path | None = PRESETS,
) -> Command:
    """Reads a command line whose settings are those of a dataclass and of strategies.

    Args:
        arguments: The words after the program's name.
        settings_class: A dataclass with a field `strategy`.
        prog: The command, for the help.
        description: What it does, for the help.
        presets: Folder of what `config=NAME` stands for; None if there are only files.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    known_presets = {} if presets is None else {path.stem: path for path in presets.glob("*.yaml")}
    tokens = _tokens(arguments, settings_class, known_presets)
    shared, own = _sorted_out(tokens, {*names(), *_given_strategies(tokens)})
    description += f" The strategies are {', '.join(names())}."
    epilog = (
        f"Settings of single strategies: {', '.join(_own_settings())}. "
        "Their meaning stands in strategies/NAME.py."
    )
    settings, record = _read(
        shared, settings_class, prog, description, sorted(known_presets), epilog
    )
    chosen = names() if settings.strategy == "all" else settings.strategy.split(",")
    classes = {name: strategy_class(name) for name in chosen}
    stray = sorted(set(own) - set(classes))
    if stray:
        raise ValueError(f"{stray[0]} has settings of its own here, but is not among those to run.")
    return Command(settings, record | {"own": own}, classes, own)


def read_single(arguments: list[str], settings_class: type, **how: Any) -> Command:
    """Reads a command line as `read` does, of one strategy.

    Raises:
        ValueError: As `read` does, or if several strategies are asked for.
        SystemExit: After printing the help, if that is asked for.
    """
    command = read(arguments, settings_class, **how)
    if len(command.classes) != 1:
        raise ValueError(
            f"strategy must be one strategy, for one picture, got {command.settings.strategy}."
        )
    return command


def read_settings(
    arguments: list[str],
    settings_class: type,
    *,
    prog: str,
    description: str,
) -> Command:
    """Reads a command line of settings alone, without strategies or presets.

    Args:
        arguments: The words after the program's name.
        settings_class: A dataclass.
        prog: The command, for the help.
        description: What it does, for the help.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    tokens = _tokens(arguments, settings_class, {})
    return Command(*_read(tokens, settings_class, prog, description, []))


def _tokens(arguments: list[str], settings_class: type, presets: dict[str, Path]) -> list[str]:
    """Returns `--key=value` for every word, also where part of the key may be left out."""
    tokens = normalised(arguments, presets)
    if any(field.name == "runtime" for field in dataclasses.fields(settings_class)):
        return [_of_runtime(token) for token in tokens]
    return tokens


def _read(
    tokens: list[str],
    settings_class: type,
    prog: str,
    description: str,
    presets: list[str],
    epilog: str | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Returns the settings that words make, and all of them as plain values."""
    parser = ArgumentParser(prog=prog, description=description, epilog=epilog, exit_on_error=False)
    parser.add_argument(
        "--config",
        action="config",
        help=(f"A preset ({', '.join(presets)}) or a" if presets else "A")
        + " YAML file of settings; keys given here win.",
    )
    parser.add_class_arguments(settings_class, None)
    defaults = _classes_by_default(settings_class)
    parser.set_defaults(defaults)
    validate_keys(settings_class, tokens, defaults)
    validate_values(settings_class, tokens)
    try:
        config = parser.parse_args(tokens)
    except ArgumentError as error:
        raise ValueError(" ".join(str(error).split())) from error
    values = parser.instantiate(config)
    fields = dataclasses.fields(settings_class)
    settings = settings_class(**{field.name: values[field.name] for field in fields})
    return settings, yaml.safe_load(parser.dump(config, skip_validation=True))


def _classes_by_default(settings_class: type) -> dict[str, Any]:
    """Returns what fields hold whose class can be chosen, where nothing is said."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings_class):
        made = field.default_factory
        if isinstance(field.default, Solver):
            found[field.name] = described(field.default)
        elif inspect.isclass(made) and made.__module__ != "builtins":
            found[field.name] = {"class_path": f"{made.__module__}.{made.__qualname__}"}
    return found


def described(solver: Solver) -> dict[str, Any]:
    """Returns a solver as the class path and the settings that make it."""
    path = f"{type(solver).__module__}.{type(solver).__qualname__}"
    return {"class_path": path, "init_args": dataclasses.asdict(solver)}


def _own_settings() -> list[str]:
    """Returns the keys of all strategies but those that every strategy shares."""
    shared = {field.name for field in dataclasses.fields(Strategy)} - {"window"}
    return [
        f"{name}.{field.name}"
        for name in names()
        for field in dataclasses.fields(strategy_class(name))
        if field.name not in shared
    ]


def normalised(arguments: list[str], presets: dict[str, Path]) -> list[str]:
    """Returns `--key=value` for every way to write it, with short names spelt out.

    Raises:
        ValueError: If a word is none of them.
    """
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
    spelt_out = [part for token in tokens for part in _spelt_out(_common(token), presets)]
    # Files first and classes next, so that what is set below them holds in whatever order.
    ranks = {"--config": 0, "--data": 1, "--solver": 1}
    return sorted(spelt_out, key=lambda token: ranks.get(token.partition("=")[0], 2))


def _common(token: str) -> str:
    """Returns a token whose key has another name under that name."""
    key, equals, value = token.removeprefix("--").partition("=")
    if key == "accelerator" and value in ("gpu", "cuda"):
        value = "cuda"
    return f"--{SYNONYMS.get(key, key)}{equals}{value}"


def _of_runtime(token: str) -> str:
    key = token.removeprefix("--").partition("=")[0]
    return f"--runtime.{token.removeprefix('--')}" if key in OF_RUNTIME else token


def _spelt_out(token: str, presets: dict[str, Path]) -> list[str]:
    """Returns what a token with a short name stands for; other tokens as they are."""
    key, _, value = token.removeprefix("--").partition("=")
    if key == "config" and not Path(value).suffix:
        if value not in presets:
            hint = nearest(value, presets, otherwise=".")
            known = f"one of {', '.join(sorted(presets))}, or " if presets else ""
            raise ValueError(f"config must be {known}a YAML file, got {value!r}{hint}")
        return [f"--config={presets[value]}"]
    if key == "context" and not value.startswith("{"):
        return [f"--context.mode={value}"]
    if key not in SHORT_NAMES or "." in value:
        return [token]
    if value not in SHORT_NAMES[key]:
        hint = nearest(value, SHORT_NAMES[key], otherwise=".")
        known = ", ".join(SHORT_NAMES[key])
        raise ValueError(f"{key} must be one of {known}, or a class path, got {value!r}{hint}")
    class_path, *settings = SHORT_NAMES[key][value]
    return [f"--{key}={class_path}", *(f"--{key}.{setting}" for setting in settings)]


def _given_strategies(tokens: list[str]) -> list[str]:
    values = [token.partition("=")[2] for token in tokens if token.startswith("--strategy=")]
    return [name for value in values for name in value.split(",") if name]


def _sorted_out(tokens: list[str], owners: set[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the shared settings, and those of single strategies without their prefix."""
    shared: list[str] = []
    own: dict[str, list[str]] = {}
    for token in tokens:
        owner, _, rest = token.partition("=")[0].removeprefix("--").rpartition(".")
        if owner in owners:
            own.setdefault(owner, []).append(f"--{rest}={token.partition('=')[2]}")
        else:
            shared.append(token)
    return shared, own


def built(
    strategy: type[Strategy], tokens: list[str], *, solver: Solver, **defaults: Any
) -> Strategy:
    """Builds a strategy from its own settings, and from those `defaults` that it has.

    Raises:
        ValueError: If it has no such setting, with the nearest that it has, or a value is wrong.
    """
    known = [field.name for field in dataclasses.fields(strategy) if field.name != "solver"]
    for token in tokens:
        key = token.removeprefix("--").partition("=")[0]
        if key not in known:
            hint = nearest(key, known, otherwise=f"; it has {', '.join(known)}.")
            raise ValueError(f"{strategy.__name__} has no setting {key!r}{hint}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(strategy, None, skip={"solver"})
    parser.set_defaults({name: value for name, value in defaults.items() if name in known})
    try:
        own = parser.instantiate(parser.parse_args(tokens))
    except ArgumentError as error:
        raise ValueError(f"{strategy.__name__}: {' '.join(str(error).split())}") from error
    return strategy(**vars(own), solver=solver)
