"""All that is needed before a picture is made from nothing, checked."""

from datamodules.nothing import Nothing
from patchcanvas.cli.command_line import Command
from patchcanvas.context.choice import conditioner_of
from patchcanvas.generating.settings import PROGRAM
from patchcanvas.painting import LoadedDenoiser, Painting, maker_and_facts
from strategies.canvas import Known

__all__ = ["prepared"]


def prepared(
    command: Command,
    arguments: list[str],
    *,
    loaded: LoadedDenoiser | None = None,
    known: Known | None = None,
    inputs: dict[str, str] | None = None,
) -> Painting:
    """Loads the denoiser, and checks that it goes with what is asked for.

    Args:
        command: What was asked for.
        arguments: The words that asked for it.
        loaded: The denoiser, where it is loaded already.
        known: Pixels that are given, one canvas for all samples.
        inputs: SHA-256 of what the given pixels are, by name.

    Raises:
        ValueError: If something does not fit.
        OSError: If a file is missing.
        RuntimeError: If a backbone needs a package that is not installed.
    """
    settings = command.settings
    loaded = loaded or LoadedDenoiser.of(settings)
    loaded.lead_away_from(settings.context.negative_prompt)
    model = loaded.model
    if model.channels != 3:
        raise ValueError(
            f"pictures are RGB: the denoiser must have 3 channels, got {model.channels}."
        )
    canvas = model.canvas(settings.canvas)
    conditioner = conditioner_of(
        settings.context, model, canvas, Nothing(), first=0, count=settings.num_samples
    )
    maker, facts = maker_and_facts(
        PROGRAM, command, arguments, loaded, canvas, conditioner, known=known, inputs=inputs or {}
    )
    return Painting(settings, maker, facts)
