"""Which images are kept from training: a function of each image's content and a seed."""

import hashlib
import os
from collections.abc import Iterable

from datamodules.patches import Split

__all__ = ["check_shares", "hashed", "split_by_content"]


def split_by_content(
    contents: Iterable[str], *, holdout: float, val_share: float, seed: int
) -> dict[str, Split]:
    """Gives every content to one split, whatever other contents there are.

    A hash of seed and content is a number in [0, 1): below `holdout` it is test, then for
    `val_share` val, then train. So shares are met on average, and an image stays where it is when
    others come and go. Where a split would have none, it is given the nearest number.

    Args:
        contents: Names of contents, such as hashes; equal ones are one.
        holdout: Share of test, in (0, 1).
        val_share: Share of val, in (0, 1).
        seed: Another seed is another choice.

    Raises:
        ValueError: If there are fewer than three contents.
    """
    place = {each: hashed("split", seed, each) / 2**128 for each in contents}
    if len(place) < 3:
        raise ValueError(
            "train, val and test need at least one image each, but there are only "
            f"{len(place)} different readable images: add some."
        )
    found: dict[str, Split] = {
        each: "test" if at < holdout else "val" if at < holdout + val_share else "train"
        for each, at in place.items()
    }
    ranked = sorted(place, key=place.__getitem__)
    if "test" not in found.values():
        found[ranked[0]] = "test"
    if "train" not in found.values():
        found[ranked[-1]] = "train"
    if "val" not in found.values():
        held = [each for each in ranked if found[each] == "test"]
        free = [each for each in ranked if found[each] == "train"]
        found[free[0] if len(free) > 1 else held[-1]] = "val"
    return found


def hashed(*key: str | int) -> int:
    """128 bits that depend on `key` alone, on every machine and in every version."""
    text = "\0".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=16).digest())


def check_shares(holdout: float, val_share: float) -> None:
    """Refuses shares of the images that leave a split empty.

    Raises:
        ValueError: If a share is not above 0, or both together are not below 1.
    """
    if not (holdout > 0 and val_share > 0 and holdout + val_share < 1):
        raise ValueError(
            "holdout and val_share must be above 0 and leave something to train on, "
            f"got {holdout} and {val_share}."
        )
