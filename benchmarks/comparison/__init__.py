"""The comparison of `python -m benchmarks.run`: its plan, its rows, its records."""
