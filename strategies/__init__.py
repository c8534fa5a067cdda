"""Ways to make a canvas with a denoiser of patches: one file a strategy."""
