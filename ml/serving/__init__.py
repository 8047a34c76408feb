"""Serving of the live release: its workers, the switch between releases, and predictions over HTTP."""
