"""How much a point may take: fewer repeats, or no point at all."""

import math

from benchmarks.latency.records import Absence, LatencyResults

__all__ = ["LEAST_REPEATS", "expected_absence", "repeats_within", "slow_absence"]

LEAST_REPEATS = 3  # quartiles of fewer mean nothing


def repeats_within(asked: int, seconds: float, most_seconds: float) -> int:
    """Returns how often a run of that many seconds is repeated.

    >>> repeats_within(20, 1.0, 60.0), repeats_within(20, 6.0, 60.0), repeats_within(20, 40.0, 60.0)
    (20, 10, 3)
    """
    if asked * seconds <= most_seconds:
        return asked
    return min(asked, max(LEAST_REPEATS, math.floor(most_seconds / seconds)))


def slow_absence(strategy: str, width: int, seconds: float, most_seconds: float) -> Absence | None:
    """Returns why a point is left out whose warm-up run took that long; None if it is not."""
    if seconds <= most_seconds:
        return None
    reason = f"its warm-up run took {seconds:.3g} s, more than most_seconds={most_seconds:g}"
    return Absence(strategy, width, reason, failed=False, seconds=seconds)


def expected_absence(
    results: LatencyResults, strategy: str, width: int, most_seconds: float
) -> Absence | None:
    """Returns why a point is left out before anything of it was run; None if it is not.

    Seconds are expected to grow in proportion to the width, from the last one that is known.
    """
    known = [(point.width, point.latency.median) for point in results.line(strategy)]
    known += [
        (absence.width, absence.seconds)
        for absence in results.absences
        if absence.strategy == strategy and absence.seconds is not None
    ]
    narrower = max((pair for pair in known if pair[0] < width), default=None)
    if narrower is None:
        return None
    seconds = narrower[1] * width / narrower[0]
    if seconds <= most_seconds:
        return None
    reason = (
        f"a run would take about {seconds:.3g} s, from what it takes at {narrower[0]}, more than "
        f"most_seconds={most_seconds:g}"
    )
    return Absence(strategy, width, reason, failed=False, seconds=seconds)
