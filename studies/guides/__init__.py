"""What contexts do for canvases of one trained denoiser, at equal evaluations: one table."""
