"""Diffusion models of the `diffusers` library as denoisers of patches."""
