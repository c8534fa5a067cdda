"""What is made again, and where things lie now: every setting, and the command line."""

import dataclasses
from pathlib import Path

from patchcanvas.cli import command_line as cli
from patchcanvas.cli.words import named

__all__ = ["AgainSettings", "read_settings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgainSettings:
    """A picture that is to be made again, and where things lie now.

    Args:
        picture: A PNG by benchmarks.run or `patchcanvas outpaint`; the first word without `=` is
            short for it.
        output: The PNG to write; by default beside the picture, its name with `-again`.
        overwrite: Whether a file may be written over that carries no record.
        device: Where it is made; by default as it was the first time.
        denoiser: Where the denoiser lies now.
        image: Where the image lies now that was continued.
        mask: Where its mask lies now.
        root: Where the photographs lie now that a run was told of, its data.root.
    """

    picture: Path | None = None
    output: Path | None = None
    overwrite: bool = False
    device: str | None = None
    denoiser: str | None = None
    image: Path | None = None
    mask: Path | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        if self.picture is None:
            raise ValueError("picture must be a PNG: patchcanvas again PICTURE.png.")
        if self.output is not None and self.output.suffix.lower() != ".png":
            raise ValueError(f"output must be a file that ends in .png, got {self.output}.")

    @property
    def source(self) -> Path:
        """The picture that is made again."""
        assert self.picture is not None, "checked above"
        return self.picture

    @property
    def file(self) -> Path:
        """Where the picture goes."""
        return self.output or self.source.with_name(f"{self.source.stem}-again.png")

    def words(self, **names: str) -> list[str]:
        """Returns where things lie now, as words of another command.

        Args:
            names: What the other command calls them.
        """
        values = {theirs: getattr(self, own) for own, theirs in names.items()}
        return [f"{theirs}={value}" for theirs, value in values.items() if value is not None]


def read_settings(arguments: list[str]) -> AgainSettings:
    """Reads the command line; `key=value` and `--key=value` are the same thing.

    Raises:
        ValueError: If a key or value is wrong, with the nearest valid name.
        SystemExit: After printing the help, if that is asked for.
    """
    command = cli.read_settings(
        named(arguments, "picture"),
        AgainSettings,
        prog="patchcanvas again",
        description="Makes a picture again from the record in its PNG, and says whether it is the "
        "same bit for bit. PICTURE is the first word without =. Files are looked for where they "
        "lay the first time, unless it is said where they lie now.",
    )
    return command.settings
