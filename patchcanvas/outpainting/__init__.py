"""Image in, image out: what is missing of a picture is painted, and what is there stays."""
