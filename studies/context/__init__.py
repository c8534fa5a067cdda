"""The five-way ablation of Trio Diffusion: trained, sampled, tabulated."""
