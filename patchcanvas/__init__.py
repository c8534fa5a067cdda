"""What one needs to make a canvas: a denoiser by name, conditioning, cost and provenance."""
