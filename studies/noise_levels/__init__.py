"""What the sampler of training levels does to a denoiser: same network, same budget, one table."""
