"""Which noise levels a denoiser is trained on: one file a sampler, all behind `NoiseLevels`."""
