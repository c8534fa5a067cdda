"""Training of the shared denoiser. The mathematics lives in `denoisers` and `sampling`."""
