"""The builder: one process for each release, which runs the stages and records the outcome."""
