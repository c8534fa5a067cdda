"""Frozen image backbones, all of one token format."""
