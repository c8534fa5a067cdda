"""All that a comparison needs before it begins, checked: what is wrong is said before any work."""

import dataclasses
import itertools
import re
from pathlib import Path

from rich.console import Console

from benchmarks.comparison.loggers import Loggers, build_loggers, validate_loggers
from benchmarks.comparison.plan import Plan
from benchmarks.comparison.settings import Settings
from benchmarks.experiment.folder import Experiment
from benchmarks.experiment.held_out import hold_out
from benchmarks.experiment.processes import Processes, launched
from benchmarks.metrics.clip import ClipImages
from benchmarks.metrics.features import FeatureNetwork, build_features
from benchmarks.metrics.suite import drift_distance
from benchmarks.results.records import Results
from denoisers.contract import PatchDenoiser
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import steps_within
from patchcanvas.bundled import is_pretrained
from patchcanvas.context.choice import conditioner_of
from patchcanvas.context.conditioner import NO_CONTEXT, Conditioner
from patchcanvas.environment import resolve_device
from patchcanvas.making import tuned, validate_fit
from patchcanvas.model import Model, load_model
from strategies.async_patch import NeedsNoiseMapsError
from strategies.base import Strategy
from strategies.canvas import Canvas
from strategies.direct import Direct

__all__ = ["PATCHES", "Asked", "Prepared", "asked_for", "prepared", "squares"]

PATCHES = "patches"  # the row of squares that the denoiser makes by itself


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run, ready to begin or to go on.

    Args:
        plan: What was asked for.
        arguments: The words that asked for it.
        strategies: What is compared, by the names of their rows.
        budgets: What rows were given in place of equal steps, by their names.
        processes: Who shares the work.
        model: The shared denoiser and what belongs to it.
        denoiser: The denoiser under the meter.
        canvas: What every strategy makes.
        conditioner: What it is told.
        features: The network behind FID+.
        clip: Embeds squares for their consistency, if that is asked for.
        experiment: Where everything goes, and what is known so far.
        loggers: Who else is told.
    """

    plan: Plan
    arguments: list[str]
    strategies: dict[str, Strategy]
    budgets: dict[str, float]
    processes: Processes
    model: Model
    denoiser: NFECounter
    canvas: Canvas
    conditioner: Conditioner
    features: FeatureNetwork
    clip: ClipImages | None
    experiment: Experiment[Results]
    loggers: Loggers

    @property
    def results(self) -> Results:
        """What is known so far."""
        return self.experiment.record


@dataclasses.dataclass(frozen=True)
class Asked:
    """All that the canvases of a plan depend on, checked.

    Args:
        model: The shared denoiser and what belongs to it, on the CPU.
        canvas: What every strategy makes.
        conditioner: What it is told.
        strategies: What is compared, by the names of their rows.
        budgets: What rows were given in place of equal steps, by their names.
    """

    model: Model
    canvas: Canvas
    conditioner: Conditioner
    strategies: dict[str, Strategy]
    budgets: dict[str, float]


def asked_for(plan: Plan) -> Asked:
    """Loads the denoiser and checks that every strategy can make such canvases with it.

    Raises:
        ValueError: If something does not fit.
        OSError: If a file is missing.
        RuntimeError: If a backbone needs a package that is not installed.
    """
    settings = plan.settings
    if is_pretrained(settings.denoiser):
        Console(stderr=True, soft_wrap=True).print(f"loading {settings.denoiser}", markup=False)
    model = load_model(
        settings.denoiser,
        settings.runtime,
        negative_prompt=settings.context.negative_prompt,
        label=settings.context.label,
        gate=settings.context.gate,
    )
    if model.channels != 3:
        raise ValueError(
            f"canvases are RGB: the denoiser must make 3 channels, got {model.channels}."
        )
    if settings.real is not None:
        hold_out(settings.real, model.description, model.trained_on)
    canvas = model.canvas(settings.canvas)
    conditioner = conditioner_of(
        settings.context,
        model,
        canvas,
        settings.real,
        # Behind the real canvases, so that those say how near a scene comes by chance.
        first=settings.num_reference + settings.num_samples,
        count=settings.num_samples,
    )
    fitted = {name: model.fitted(s, settings.runtime) for name, s in plan.strategies.items()}
    fitting = those_that_fit(
        fitted, model, canvas, conditioner, forgiving=settings.strategy == "all"
    )
    strategies, budgets = within_budgets(
        fitting, settings.budget, model.denoiser, canvas, conditioner
    )
    return Asked(model, canvas, conditioner, strategies, budgets)


def squares(model: Model, canvas: Canvas, settings: Settings) -> tuple[Strategy, Canvas]:
    """Returns what makes squares of one patch by the denoiser alone, and their size."""
    square = Canvas(height=model.patch, width=model.patch, channels=canvas.channels)
    return model.fitted(Direct(solver=settings.solver), settings.runtime), square


def prepared(plan: Plan, arguments: list[str]) -> Prepared:
    """Checks all that can be checked before the work; starts the processes; finds the folder.

    Raises:
        ValueError: If something does not fit.
        OSError: If a file is missing or the folder cannot be written.
        RuntimeError: If the weights of a feature network cannot be had.
    """
    settings = plan.settings
    device = resolve_device(settings.device)
    settings.runtime.validate_device(device)
    asked = asked_for(plan)
    model, canvas, conditioner = asked.model, asked.canvas, asked.conditioner
    strategies, budgets = asked.strategies, asked.budgets
    if settings.real is not None:
        side = min(canvas.height, canvas.width)
        settings.real.crop("test", 0, side, side)
    # On the CPU first, so that what is missing is said once and before other processes start.
    features = build_features(settings.features, weights=settings.features_weights)
    clip = build_clip(plan)
    validate_loggers(settings.loggers)
    processes = launched(
        device,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        arguments=arguments,
    )
    if processes.device.type == "cuda":  # random_conv computes in float64, which MPS has not
        features.to(processes.device)
        clip = None if clip is None else clip.to(processes.device)
    fresh = fresh_results(
        plan, arguments, processes, features, canvas, model, strategies, conditioner
    )
    experiment = processes.once(
        lambda: Experiment.opened(
            fresh,
            settings.results,
            complete=lambda found: complete(found, set(strategies)),
            last="report.html",
        )
    )
    real = settings.real
    if real is not None:
        processes.once(lambda: real.write_manifest(experiment.path / "manifest.json"))
    loggers = build_loggers(settings.loggers if processes.first else [], experiment.path)
    return Prepared(
        plan,
        arguments,
        strategies,
        budgets,
        processes,
        model,
        NFECounter(tuned(model, settings, processes.device)),
        canvas,
        conditioner.to(processes.device),
        features,
        clip,
        experiment,
        loggers,
    )


def complete(results: Results, strategies: set[str]) -> bool:
    """Whether every strategy has its row, and nothing has failed."""
    return {row.strategy for row in results.rows} == strategies and not results.failures


def those_that_fit(
    strategies: dict[str, Strategy],
    model: Model,
    canvas: Canvas,
    conditioner: Conditioner,
    *,
    forgiving: bool,
) -> dict[str, Strategy]:
    """Returns the strategies, each checked once against denoiser, canvas and what is told.

    Args:
        strategies: By name.
        model: The denoiser.
        canvas: What is made.
        conditioner: What is told.
        forgiving: Whether those are left out, and named, that need noise maps where the denoiser
            takes none: `strategy=all` cannot mean them.

    Raises:
        ValueError: If one does not fit; it begins with its name.
    """
    kept = {}
    for name, strategy in strategies.items():
        try:
            validate_fit(name, strategy, model, canvas, conditioner)
        except ValueError as error:
            if not (forgiving and isinstance(error.__cause__, NeedsNoiseMapsError)):
                raise
            said = f"{name} left out: {error.__cause__}"
            Console(stderr=True, soft_wrap=True).print(said, markup=False)
        else:
            kept[name] = strategy
    return kept


def within_budgets(
    strategies: dict[str, Strategy],
    budgets: list[float] | None,
    denoiser: PatchDenoiser,
    canvas: Canvas,
    conditioner: Conditioner = NO_CONTEXT,
) -> tuple[dict[str, Strategy], dict[str, float]]:
    """Returns the strategies by the names of their rows, and the budgets of those that have one.

    Raises:
        ValueError: If a budget is below what a strategy's fewest steps take.
    """
    if budgets is None:
        return strategies, {}
    found, budgeted = {}, {}
    for budget, (name, strategy) in itertools.product(budgets, strategies.items()):
        small = strategy.denoised(canvas)
        try:
            steps = steps_within(strategy.core.with_steps, denoiser, small, budget, conditioner)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        found[f"{name}@{budget:g}"] = strategy.with_steps(steps)
        budgeted[f"{name}@{budget:g}"] = budget
    return found, budgeted


def build_clip(plan: Plan) -> ClipImages | None:
    """Returns what embeds squares, if that is asked for."""
    settings = plan.settings
    if settings.clip is None or settings.clip_weights is None:
        return None
    return ClipImages(settings.clip, settings.clip_weights)


def fresh_results(
    plan: Plan,
    arguments: list[str],
    processes: Processes,
    features: FeatureNetwork,
    canvas: Canvas,
    model: Model,
    strategies: dict[str, Strategy],
    conditioner: Conditioner = NO_CONTEXT,
) -> Results:
    """Returns the record of a run that has not begun."""
    settings = plan.settings
    return Results.begun(
        "benchmarks.run",
        arguments,
        name=settings.name or f"{content_of(plan)}-{settings.strategy.replace(',', '-')}",
        settings=plan.record | {"conditioning": conditioner.description},
        device=processes.device,
        classes=[type(one.core) for one in strategies.values()],
        denoiser=model.description,
        data={} if settings.real is None else settings.real.description,
        features=features.description,
        num_samples=settings.num_samples,
        num_reference=0 if settings.real is None else settings.num_reference,
        canvas=(canvas.height, canvas.width),
        drift_distance=drift_distance(canvas.width, model.patch),
    )


def content_of(plan: Plan) -> str:
    """Returns what canvases show, in a word: the data they are compared with, or the model."""
    settings = plan.settings
    if settings.real is not None:
        return type(settings.real).__name__.lower()
    return re.sub(r"[^\w.]+", "-", Path(settings.denoiser).name)
