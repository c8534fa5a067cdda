"""Our parallel strategies beside the panorama pipeline of diffusers: seconds, calls, defects."""
