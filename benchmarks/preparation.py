"""All that a comparison needs before it begins, checked: what is wrong is said before any work."""

import dataclasses
import itertools
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.accounting import Metered
from benchmarks.budget import steps_within
from benchmarks.command_line import Plan
from benchmarks.context.choice import telling_of
from benchmarks.context.telling import UNTOLD, Telling
from benchmarks.environment import (
    autocast_dtype,
    describe_environment,
    device_name,
    resolve_device,
    sha256_of_sources,
)
from benchmarks.folder import RunFolder
from benchmarks.latency.records import RECORD as LATENCY_RECORD
from benchmarks.loggers import Loggers, build_loggers, refuse_missing
from benchmarks.metrics.clip import ClipImages
from benchmarks.metrics.features import FeatureNetwork, build_features
from benchmarks.metrics.ruler import drift_distance
from benchmarks.processes import Processes, launched
from benchmarks.records import Results
from benchmarks.window_batch import Memory, with_batch
from denoisers.checkpoint import describe_checkpoint, load_denoiser
from denoisers.contract import PatchDenoiser
from denoisers.precond import EDMPrecond
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["Prepared", "prepared"]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run, ready to begin or to go on.

    Args:
        plan: What was asked for.
        strategies: What is compared, by the names of their rows.
        budgets: What rows were given in place of equal steps, by their names.
        processes: Who shares the work.
        denoiser: The shared denoiser, under the meter.
        canvas: What every strategy makes.
        telling: What it is told.
        features: The network behind FID+.
        clip: Embeds squares for their consistency, if that is asked for.
        folder: Where everything goes.
        results: What is known so far.
        loggers: Who else is told.
    """

    plan: Plan
    strategies: dict[str, Strategy]
    budgets: dict[str, float]
    processes: Processes
    denoiser: Metered
    canvas: Canvas
    telling: Telling
    features: FeatureNetwork
    clip: ClipImages | None
    folder: RunFolder
    results: Results
    loggers: Loggers


def prepared(plan: Plan, arguments: list[str]) -> Prepared:
    """Checks all that can be checked before the work; starts the processes; finds the folder.

    Raises:
        ValueError: If something does not fit.
        OSError: If a file is missing or the folder cannot be written.
        RuntimeError: If the weights of a feature network cannot be had.
    """
    settings = plan.settings
    device = resolve_device(settings.device)
    denoiser = load_denoiser(settings.denoiser)
    canvas = canvas_of(denoiser, plan)
    telling = telling_of(
        settings.context,
        denoiser,
        canvas,
        settings.data,
        # Behind the real canvases, so that those say how near a scene comes by chance.
        first=settings.num_reference + settings.num_samples,
        count=settings.num_samples,
    )
    strategies, budgets = within_budgets(plan, denoiser, canvas, telling)
    for name, strategy in strategies.items():
        try:
            strategy.borders(denoiser, canvas)
            telling.refuse_misfits(strategy, denoiser, canvas)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    side = min(canvas.height, canvas.width)
    settings.data.crop("test", 0, side, side)
    refuse_other_split(describe_checkpoint(settings.denoiser), settings.data.description)
    if settings.latency is not None and not (settings.latency / LATENCY_RECORD).is_file():
        raise FileNotFoundError(
            f"latency must be the folder of a run of benchmarks.latency, with a "
            f"{LATENCY_RECORD}, got {settings.latency}."
        )
    # On the CPU first, so that what is missing is said once and before other processes start.
    build_features(settings.features, weights=settings.features_weights)
    clip = build_clip(plan, "cpu")
    refuse_missing(settings.loggers)
    processes = launched(
        device,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        arguments=arguments,
    )
    features = build_features(
        settings.features,
        weights=settings.features_weights,
        # random_conv computes in float64, which MPS has not.
        device="cpu" if device.type == "mps" else processes.device,
    )
    if processes.device.type == "cuda":
        clip = build_clip(plan, processes.device)
    fresh = fresh_results(
        plan, arguments, processes, features, canvas, denoiser.patch_size, telling
    )
    folder, results = processes.once(
        lambda: locked_folder(fresh, settings.results, set(strategies))
    )
    processes.once(lambda: settings.data.write_manifest(folder.path / "manifest.json"))
    loggers = build_loggers(settings.loggers if processes.first else [], folder.path)
    return Prepared(
        plan,
        strategies,
        budgets,
        processes,
        Metered(tuned(denoiser.to(processes.device), plan, memory_of(plan, processes.device))),
        canvas,
        telling.to(processes.device),
        features,
        clip,
        folder,
        results,
        loggers,
    )


def locked_folder(fresh: Results, root: Path, strategies: set[str]) -> tuple[RunFolder, Results]:
    """Finds or makes the folder, and keeps other runs out of it."""
    folder, results = RunFolder.for_run(fresh, root, strategies)
    folder.lock()
    return folder, results


def within_budgets(
    plan: Plan, denoiser: EDMPrecond, canvas: Canvas, telling: Telling = UNTOLD
) -> tuple[dict[str, Strategy], dict[str, float]]:
    """Returns the strategies by the names of their rows, and the budgets of those that have one.

    Raises:
        ValueError: If a budget is below what a strategy's fewest steps take.
    """
    if plan.settings.budgets is None:
        return plan.strategies, {}
    strategies, budgets = {}, {}
    for budget, (name, strategy) in itertools.product(
        plan.settings.budgets, plan.strategies.items()
    ):

        def stepped(steps: int, strategy: Strategy = strategy) -> Strategy:
            solver = dataclasses.replace(strategy.solver, num_steps=steps)
            return dataclasses.replace(strategy, solver=solver)

        try:
            steps = steps_within(stepped, denoiser, canvas, budget, telling)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        strategies[f"{name}@{budget:g}"] = stepped(steps)
        budgets[f"{name}@{budget:g}"] = budget
    return strategies, budgets


def build_clip(plan: Plan, device: torch.device | str) -> ClipImages | None:
    """Returns what embeds squares, if that is asked for."""
    settings = plan.settings
    if settings.clip is None:
        return None
    return ClipImages(settings.clip, settings.clip_weights, device=device)


def memory_of(plan: Plan, device: torch.device) -> Memory:
    """Returns what is known of how much this device holds of this denoiser."""
    settings = plan.settings
    weights = describe_checkpoint(settings.denoiser)["weights_sha256"][:16]
    key = f"{device_name(device)}; weights {weights}; {settings.precision}"
    return Memory(settings.cache_folder / "window_batch.json", key)


def canvas_of(denoiser: EDMPrecond, plan: Plan) -> Canvas:
    """Returns the canvas that is asked for, with the defaults that depend on the denoiser."""
    size = plan.settings.canvas
    height = denoiser.patch_size if size.height is None else size.height
    width = 6 * height if size.width is None else size.width
    return Canvas(
        height=height,
        width=width,
        channels=denoiser.channels,
        wrap_height=size.wrap_height,
        wrap_width=size.wrap_width,
    )


def refuse_other_split(checkpoint: dict[str, Any], data: dict[str, Any]) -> None:
    """Checks that images the denoiser was trained on are cut and split as they were in training.

    Otherwise they would be compared at another scale, or with images that training has seen.

    Raises:
        ValueError: If the content is the same and anything else differs.
    """
    trained = (checkpoint["provenance"] or {}).get("data") or {}
    if "content" not in data or trained.get("content") != data["content"]:
        return
    for name, value in trained.items():
        if name != "root" and data.get(name) != value:
            raise ValueError(
                f"the denoiser was trained on these very images with {name}={value}, but they are "
                f"compared with {name}={data.get(name)}: the reference would be images at another "
                f"scale or that training has seen; give data the settings of the training."
            )


def tuned(denoiser: EDMPrecond, plan: Plan, memory: Memory) -> PatchDenoiser:
    """Sets precision and gates, compiles and sizes the calls, as asked for."""
    denoiser.autocast_dtype = autocast_dtype(plan.settings.precision)
    if plan.settings.context.gate is not None:
        for gate in denoiser.network.gates.values():
            gate.fill_(plan.settings.context.gate)
    if plan.settings.compile:
        denoiser.network.compile()
    return with_batch(denoiser, plan.settings.window_batch, memory)


def fresh_results(
    plan: Plan,
    arguments: list[str],
    processes: Processes,
    features: FeatureNetwork,
    canvas: Canvas,
    strip: int,
    telling: Telling = UNTOLD,
) -> Results:
    """Returns the record of a run that has not begun."""
    settings = plan.settings
    data = type(settings.data).__name__.lower()
    return Results(
        name=settings.name or f"{data}-{settings.strategy.replace(',', '-')}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks.run", *arguments]),
        settings=plan.record | {"told": telling.description},
        environment=describe_environment(processes.device)
        | {"sources": sha256_of_sources(map(type, plan.strategies.values()))},
        denoiser=describe_checkpoint(settings.denoiser),
        data=settings.data.description,
        features=features.description,
        num_samples=settings.num_samples,
        num_reference=settings.num_reference,
        canvas=(canvas.height, canvas.width),
        drift_distance=drift_distance(canvas.width, strip),
    )
