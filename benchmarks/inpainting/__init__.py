"""Inpainting: photographs of which a part is given, completed by strategies at equal cost."""
