"""`python -m benchmarks.run strategy=all`: one denoiser, every strategy, one table."""

import sys

from rich.console import Console

from benchmarks.comparison.plan import parse
from patchcanvas.cli.entry import words_of

__all__ = ["main"]

GO_ON = "what was finished is kept; mend this and give the same command."


def main(arguments: list[str] | None = None) -> int:
    """Runs the harness.

    Returns:
        0 when every strategy has its row, 1 when one failed, 2 when nothing could be begun or the
        disk gave out, 130 when interrupted. Of several processes that come to an end together only
        the first says so; the others return 0, or the launcher would end the first.
    """
    arguments = words_of(arguments)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        plan = parse(arguments)
        settings = plan.settings
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    # Not before: --help and a wrong word need not wait for libraries that measure and draw.
    from benchmarks.comparison.preparation import prepared
    from benchmarks.comparison.rows import Comparison
    from benchmarks.experiment.processes import LostProcessError, SharedError
    from benchmarks.report.publishing import publish, validate_latency

    try:
        validate_latency(settings.latency)
        comparison = Comparison(prepared(plan, arguments))
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    processes = comparison.run.processes
    console = Console(stderr=True, soft_wrap=True, highlight=False, quiet=not processes.first)
    try:
        outcome = comparison.execute(
            console,
            lambda run: publish(
                run.results,
                run.experiment.path,
                shown=run.conditioner.pictured(min(settings.pictures, settings.num_samples)),
                latency=settings.latency,
                drawn=run.loggers.picture,
            ),
        )
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here.")
        return 130
    except SharedError as error:
        console.print(f"error: {error}: {GO_ON}", markup=False)
        outcome = 2
    # The others know nothing of these: they are not waited for, and notice that this one is gone.
    except (OSError, LostProcessError) as error:
        console.print(f"error: {error}: {GO_ON}", markup=False)
        return 2
    processes.close()
    return outcome if processes.first else 0


if __name__ == "__main__":
    sys.exit(main())
