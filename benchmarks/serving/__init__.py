"""Slipway's gateway beside FastAPI by hand and other servers of models: `make bench-serving`."""
