"""Ground truth: `GroundTruthStore` in `store.py` is its one entry; it checks values and finds their rows."""
