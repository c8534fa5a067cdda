"""What frameworks say to their own developers, which a start of training leaves out."""

import logging
import warnings

__all__ = ["quieten"]

MODULES = r"(lightning|torch)\b"
LOGGER = "lightning.pytorch.utilities.rank_zero"
NO_NEWS = r"Precision .* is not supported by the model summary"


def quieten() -> None:
    """Hides deprecations within Lightning and PyTorch, and advertisements; other words stay."""
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=MODULES)
    warnings.filterwarnings("ignore", message=NO_NEWS, module=MODULES)
    logging.getLogger(LOGGER).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
