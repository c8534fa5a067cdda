"""The harness: one denoiser, every strategy, one suite."""
