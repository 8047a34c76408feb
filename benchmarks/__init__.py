"""Slipway against its peers, side by side, on the machine that runs this: `make bench`."""
