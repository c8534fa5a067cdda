"""Latency: seconds for one canvas against its width, for every strategy."""
