"""Slipway's gateway compared with FastAPI by hand and other model servers: `make bench-serving`."""
