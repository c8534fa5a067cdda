"""Pictures from nothing but noise, and a prompt where the denoiser takes one."""
