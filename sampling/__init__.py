"""Noise levels, solvers and reproducible noise. Nothing here knows of canvases."""
