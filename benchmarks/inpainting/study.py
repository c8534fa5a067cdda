"""A run that completes photographs: from a command line to rows on disk.

What the benchmarks differ in is left to them: which rows there are, what is measured beside the
error and the Frechet distance, and what is written at the end.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import ClassVar

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.experiment.folder import Experiment, file_name
from benchmarks.experiment.held_out import hold_out
from benchmarks.experiment.pictures import write_pictures
from benchmarks.inpainting.completion import Completed, Completer
from benchmarks.inpainting.figures import mean_figure, psnr, squared_errors
from benchmarks.inpainting.masks import MaskName, different_masks, known_pixels
from benchmarks.inpainting.records import CompletionResults, CompletionRow, Figure
from benchmarks.inpainting.settings import CompletionSettings
from benchmarks.metrics.crops import square_crops
from benchmarks.metrics.features import FeatureNetwork, build_features
from benchmarks.metrics.frechet import frechet_with_interval
from benchmarks.metrics.reference import Reference, reference_of
from benchmarks.metrics.resampling import NORMAL_QUANTILE
from patchcanvas.accounting import NFECounter
from patchcanvas.budget import free_strategy, steps_within
from patchcanvas.cli.command_line import Command
from patchcanvas.cli.progress import progress_bars, report_line
from patchcanvas.environment import resolve_device
from patchcanvas.making import Pictures, as_known, tuned
from patchcanvas.model import Model, load_model
from patchcanvas.records import plain
from patchcanvas.sources import MEASURING
from strategies.base import Strategy
from strategies.canvas import Canvas

__all__ = ["REAL", "Advance", "Study", "Trial", "within"]

REAL = "real"
COLOURS = 3
Advance = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One way to complete photographs.

    Args:
        mask: Which pixels are given.
        name: What the row is called.
        strategy: Makes the others, with the steps that it gets.
    """

    mask: MaskName
    name: str
    strategy: Strategy

    @property
    def key(self) -> tuple[str, str]:
        """What tells trials apart."""
        return self.mask, self.name


def within(
    settings: CompletionSettings,
    strategy: Strategy,
    model: Model,
    canvas: Canvas,
    mask: MaskName,
) -> Strategy:
    """Returns the strategy on the model, with the most steps within the budget under a mask.

    Of random masks the mean cost over all that the run has is what stays within.

    Raises:
        ValueError: If even the fewest exceed it, or the strategy cannot make such a canvas.
    """
    known = different_masks(
        mask, canvas.height, canvas.width, count=settings.num_samples, seed=settings.seed
    )
    size = (len(known), canvas.channels, canvas.height, canvas.width)
    nothing = torch.zeros(size, dtype=torch.uint8)
    fitted = model.fitted(strategy, settings.runtime)
    steps = steps_within(
        free_strategy(fitted, model).with_steps,
        model.denoiser,
        canvas,
        settings.budget,
        known=as_known(nothing, known),
        gradient_weight=settings.gradient_weight,
    )
    return fitted.with_steps(steps)


@dataclasses.dataclass
class Study(abc.ABC):
    """A run, ready to begin or to go on.

    Args:
        settings: What was asked for.
        trials: What is to be measured, in order.
        photographs: The held-out images.
        completer: Completes them.
        features: The network behind the Frechet distance.
        experiment: Where everything goes, and what is known so far.
    """

    settings: CompletionSettings
    trials: list[Trial]
    photographs: Pictures
    completer: Completer
    features: FeatureNetwork
    experiment: Experiment[CompletionResults]
    _reference: Reference | None = None

    PROGRAM = ""  # the command, without `python -m`
    PACKAGES: ClassVar[tuple[str, ...]] = MEASURING  # whose code it rests on
    PICTURE = ""  # the file that is written last

    @property
    def results(self) -> CompletionResults:
        """What is known so far."""
        return self.experiment.record

    @classmethod
    @abc.abstractmethod
    def read_command(cls, arguments: list[str]) -> Command:
        """Reads the command line.

        Raises:
            ValueError: If a key or value is wrong, with the nearest valid name.
        """

    @classmethod
    @abc.abstractmethod
    def planned(cls, command: Command, model: Model, canvas: Canvas) -> list[Trial]:
        """Returns all trials, each with the steps that it gets.

        Raises:
            ValueError: If one cannot be built as asked, or exceeds the budget.
        """

    @abc.abstractmethod
    def figures_of(self, trial: Trial, images: Pictures, advance: Advance) -> dict[str, Figure]:
        """Returns what is measured of completed images beside what all benchmarks measure."""

    def figures_of_photographs(self, mask: MaskName) -> dict[str, Figure]:
        """Returns the same of the photographs themselves, where that means something."""
        return {}

    def images_of(self, trial: Trial) -> int:
        """Returns how many images a trial completes, for the progress bar."""
        return len(self.photographs)

    @abc.abstractmethod
    def document(self) -> str:
        """Returns all tables in Markdown, and what must be read with them."""

    @abc.abstractmethod
    def draw(self) -> None:
        """Writes the pictures, `PICTURE` last."""

    @classmethod
    def prepare(cls, arguments: list[str]) -> "Study":
        """Checks all that can be checked before the work; finds or makes the folder.

        Raises:
            ValueError: If something does not fit, or the weights of a feature network cannot be
                had.
            OSError: If a file is missing or the folder cannot be written.
        """
        command = cls.read_command(arguments)
        settings = command.settings
        device = resolve_device(settings.device)
        settings.runtime.validate_device(device)
        model = load_model(settings.denoiser, settings.runtime)
        if model.channels != COLOURS:
            raise ValueError(
                f"denoiser must make photographs of {COLOURS} channels, got one of "
                f"{model.channels}: take one that was trained on colours."
            )
        hold_out(settings.data, model.description, model.trained_on)
        height = model.patch if settings.canvas.height is None else settings.canvas.height
        width = height if settings.canvas.width is None else settings.canvas.width
        canvas = Canvas(height=height, width=width, channels=model.channels)
        trials = cls.planned(command, model, canvas)
        photographs = settings.data.crops(
            "test", settings.num_samples, height, width, first=settings.num_reference
        )
        features = _features(settings, device)
        fresh = CompletionResults.begun(
            cls.PROGRAM,
            arguments,
            name=settings.name,
            settings=command.record,
            device=device,
            classes=command.classes.values(),
            packages=cls.PACKAGES,
            denoiser=model.description,
            data=settings.data.description,
            features=features.description,
            canvas=(height, width),
        )
        masks = dict.fromkeys(trial.mask for trial in trials)
        keys = {trial.key for trial in trials} | {(mask, REAL) for mask in masks}
        metered = NFECounter(tuned(model, settings, device))
        completer = Completer(metered, canvas, settings.seed, device, settings.batch_size)
        experiment = Experiment.opened(
            fresh,
            settings.results,
            complete=lambda found: {row.key for row in found.rows} >= keys,
            last=cls.PICTURE,
        )
        return cls(settings, trials, photographs, completer, features, experiment)

    def execute(self, console: Console) -> int:
        """Fills the tables row by row; a finished row is on disk before the next begins."""
        with self.experiment:
            return self._execute(console)

    def _execute(self, console: Console) -> int:
        path, results = self.experiment.path, self.results
        console.print(f"writing to {path}", markup=False)
        results.failures = {}
        longest = max(len(" ".join(trial.key)) for trial in self.trials)
        with progress_bars(console, longest=longest) as progress:
            self._reference = self._measured_reference(progress)
            self._note_reference(self._reference.sha256)
            for mask in dict.fromkeys(trial.mask for trial in self.trials):
                self._put_photographs(mask, progress)
                for trial in self.trials:
                    if trial.mask == mask:
                        self._attempt(trial, progress)
        document = self.document()
        (path / "table.md").write_text(document)
        self.draw()
        Console(soft_wrap=True, highlight=False).print(document, markup=False)
        console.print(f"picture: {path / self.PICTURE}", markup=False)
        return 1 if results.failures else 0

    def known(self, mask: MaskName) -> torch.Tensor:
        """Returns which pixels of every photograph are given."""
        height, width = self.results.canvas
        indices = range(len(self.photographs))
        return known_pixels(mask, height, width, indices=indices, seed=self.settings.seed)

    def frechet(self, images: Pictures) -> Figure:
        """Returns the Frechet distance of one square of every image to the reference."""
        squares = square_crops(images, torch.arange(len(images)), seed=self.settings.seed)
        assert self._reference is not None, "it is measured first"
        found = frechet_with_interval(
            self.features(squares).cpu(), self._reference.features, seed=self.settings.seed
        )
        return Figure(found.value, (found.high - found.value) / NORMAL_QUANTILE)

    def _measured_reference(self, progress: Progress) -> Reference:
        settings, (height, width) = self.settings, self.results.canvas
        task = progress.add_task("reference", total=settings.num_reference)
        return reference_of(
            settings.data,
            self.features,
            count=settings.num_reference,
            side=min(height, width),
            cache=settings.cache_folder,
            advance=lambda crops: progress.advance(task, crops),
        )

    def _note_reference(self, sha256: str) -> None:
        """Puts the hash of the reference on record.

        Raises:
            OSError: If finished rows were compared with other crops.
        """
        noted = self.results.reference_sha256
        if noted not in (None, sha256):
            raise OSError(
                f"reference crops must be those that finished rows were compared with "
                f"({noted[:12]}), got others ({sha256[:12]}), so images of the data have changed"
            )
        self.results.reference_sha256 = sha256

    def _put_photographs(self, mask: MaskName, progress: Progress) -> None:
        if self.results.row(mask, REAL) is not None:
            return
        figures = {"fid": self.frechet(self.photographs)} | self.figures_of_photographs(mask)
        self._put(self._row(mask, REAL, self.photographs, figures), progress)

    def _attempt(self, trial: Trial, progress: Progress) -> None:
        """Adds a row if it is not there, or the reason why there is none."""
        if self.results.row(*trial.key) is not None:
            return
        name = " ".join(trial.key)
        task = progress.add_task(name, total=self.images_of(trial))

        def measured() -> None:
            self._put(self._measured(trial, lambda count: progress.advance(task, count)), progress)

        self.experiment.attempt(
            name,
            measured,
            failed=lambda reason: self.results.failures.update({name: reason}),
            console=progress.console,
        )

    def _measured(self, trial: Trial, advance: Advance) -> CompletionRow:
        known = self.known(trial.mask)
        made = self.completer(trial.strategy, self.photographs, known, advance=advance)
        errors = squared_errors(made.images, self.photographs, ~known)
        figures = {"psnr": mean_figure(psnr(errors)), "fid": self.frechet(made.images)}
        figures |= self.figures_of(trial, made.images, advance)
        return self._row(*trial.key, made.images, figures, trial.strategy, made)

    def _row(
        self,
        mask: str,
        name: str,
        images: Pictures,
        figures: dict[str, Figure],
        strategy: Strategy | None = None,
        made: Completed | None = None,
    ) -> CompletionRow:
        return CompletionRow(
            mask=mask,
            name=name,
            settings={} if strategy is None else plain(strategy),
            steps=0 if strategy is None else strategy.solver.num_steps,
            evaluations=0.0 if made is None else made.spent.evaluations,
            gradients=0.0 if made is None else made.spent.gradients,
            seconds=0.0 if made is None else made.seconds,
            figures=figures,
            pictures=write_pictures(
                self.experiment.path, file_name(mask, name), images[: self.settings.pictures]
            ),
        )

    def _put(self, row: CompletionRow, progress: Progress) -> None:
        self.results.rows.append(row)
        self.experiment.write()
        report_line(progress, row.line)


def _features(settings: CompletionSettings, device: torch.device) -> FeatureNetwork:
    """Returns the feature network.

    Raises:
        ValueError: If it cannot be had.
    """
    try:
        return build_features(
            settings.features,
            weights=settings.features_weights,
            # random_conv computes in float64, which MPS has not.
            device="cpu" if device.type == "mps" else device,
        )
    except RuntimeError as error:
        raise ValueError(str(error)) from error
