"""What the harness tells a denoiser beside the noisy image: seed images, prompts, guides, plans."""
