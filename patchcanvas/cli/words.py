"""The one word of a command line that may stand without its name."""

import re
from pathlib import Path

__all__ = ["named"]

SETTING = re.compile(r"--|-h$|[A-Za-z_][\w.]*=")


def named(arguments: list[str], name: str) -> list[str]:
    """Returns the words with `name=` before the first that is neither a setting nor its value.

    A word with `=` that is a file with an ending, `photo=1.png`, is no setting.

    >>> named(["--to", "64x32", "photo.jpg", "seed=3"], "image")
    ['--to=64x32', 'image=photo.jpg', 'seed=3']
    """
    words: list[str] = []
    unnamed = name
    for word in arguments:
        if words and words[-1].startswith("--") and not re.search("=|^--help$", words[-1]):
            words[-1] += f"={word}"
        elif unnamed and (not SETTING.match(word) or is_file(word)):
            words.append(f"{unnamed}={word}")
            unnamed = ""
        else:
            words.append(word)
    return words


def is_file(word: str) -> bool:
    """Whether a word is the name of a file with an ending of letters."""
    path = Path(word)
    return path.suffix[1:].isalpha() and path.is_file()
