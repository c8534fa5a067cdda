"""One frame for every program that measures: its folder, its processes, its held-out images."""
