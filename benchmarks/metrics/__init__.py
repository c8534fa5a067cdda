"""Metrics: formulas, and the torchmetrics that gather what they need."""
