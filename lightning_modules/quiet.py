"""What frameworks say to their own developers, which a start of training leaves out."""

import logging
import warnings

__all__ = ["quieten"]

MODULES = r"(lightning|torch)\b"
LOGGER = "lightning.pytorch.utilities.rank_zero"
# The second is said of every loader that Lightning does not know; ours goes on where it was.
NO_NEWS = (
    r"Precision .* is not supported by the model summary",
    r"You're resuming from a checkpoint that ended before the epoch ended",
)


def quieten() -> None:
    """Hides deprecations within Lightning and PyTorch, and advertisements; other words stay."""
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=MODULES)
    for message in NO_NEWS:
        warnings.filterwarnings("ignore", message=message, module=MODULES)
    logging.getLogger(LOGGER).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
