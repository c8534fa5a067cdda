"""What a training says of itself when it cannot begin or go on."""

__all__ = ["TrainingError"]


class TrainingError(ValueError):
    """A training that cannot begin or go on; the message says why and what to do.

    The command line prints it alone, without a traceback.
    """
