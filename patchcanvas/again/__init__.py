"""A picture made again, from what it says of itself."""
