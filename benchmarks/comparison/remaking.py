"""How a canvas of a comparison is made again."""

import dataclasses

from benchmarks.comparison.plan import parse
from benchmarks.comparison.preparation import PATCHES, asked_for, squares
from patchcanvas.accounting import NFECounter
from patchcanvas.again.remaking import Remake, Settings, parse_again
from patchcanvas.again.settings import AgainSettings
from patchcanvas.budget import network_calls
from patchcanvas.environment import resolve_device
from patchcanvas.making import Maker, tuned
from patchcanvas.provenance import (
    SEEDS,
    Provenance,
    described_denoiser,
    described_strategy,
    hashes_of_regions,
    surroundings,
)

__all__ = ["remake"]

NOTHING = {"class_path": "datamodules.nothing.Nothing", "init_args": {}}


def remake(origin: Provenance, settings: AgainSettings) -> Remake:
    """Returns what makes a canvas of a comparison again."""
    asked_again, shown = settings_of_row(origin), SEEDS in origin.inputs
    where = {"device": "device", "denoiser": "denoiser"} | ({"root": "data.root"} if shown else {})
    plan = parse_again(asked_again, settings.words(**where), parse)
    asked, device = asked_for(plan), resolve_device(plan.settings.device)
    if origin.row == PATCHES:
        strategy, canvas = squares(asked.model, asked.canvas, plan.settings)
        conditioner = asked.conditioner.facts
    else:
        (strategy,), canvas = asked.strategies.values(), asked.canvas
        conditioner = asked.conditioner
    seeds = asked.conditioner.seeds
    now = dataclasses.replace(
        origin,
        strategy=described_strategy(strategy),
        conditioning=conditioner.description,
        denoiser=described_denoiser(asked.model.description),
        inputs=hashes_of_regions(plan.settings.context)
        | ({SEEDS: seeds.sha256} if shown and seeds is not None else {}),
        environment=surroundings(device, strategy),
    )
    calls = network_calls(strategy, asked.model, canvas, conditioner)
    maker = Maker(
        strategy,
        NFECounter(tuned(asked.model, plan.settings, device)),
        canvas,
        origin.seed,
        device,
        conditioner.to(device),
        calls=calls,
    )
    return Remake(maker, lambda canvas: canvas, now)


def settings_of_row(origin: Provenance) -> Settings:
    """Returns the settings of a comparison with that row alone, and with images only if told of."""
    name, _, budget = origin.row.partition("@")
    settings = dict(origin.settings)
    if origin.row == PATCHES:
        name = "direct"
    settings["strategy"], own = name, settings["own"]
    settings["own"] = {name: own[name]} if name in own and origin.row != PATCHES else {}
    budgets = settings.get("budget") or []
    settings["budget"] = [each for each in budgets if f"{each:g}" == budget] or None
    if SEEDS not in origin.inputs:
        settings["data"] = NOTHING
    return settings
