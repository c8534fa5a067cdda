"""An endless strip, written to disk as it grows."""
