"""The code that runs inside a model's own environment: standard library only, Python >= 3.8."""
