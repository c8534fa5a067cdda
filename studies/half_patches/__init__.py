"""What a denoiser that was never trained on half-patches says of them, in every way to ask it."""
