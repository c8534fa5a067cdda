"""Input guidance: what its weight and its weak branch make of the texture of a generated half."""
