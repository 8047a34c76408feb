"""Benchmarks of Slipway and of its peers, compared on the machine that runs them: `make bench`."""
