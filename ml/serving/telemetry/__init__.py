"""Counters and samples that are taken while predictions are answered."""
