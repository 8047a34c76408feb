"""Predictions over HTTP: the hot path and each protocol."""
