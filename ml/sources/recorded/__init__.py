"""Recorded requests with ground truth as training and test data: `slipway://recorded`."""
