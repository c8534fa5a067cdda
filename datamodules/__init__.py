"""Where patches and reference crops come from."""
