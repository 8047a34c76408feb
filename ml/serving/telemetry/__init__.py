"""Counters that are recorded while predictions are answered."""
