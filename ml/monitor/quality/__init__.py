"""The quality statistics: answers and ground truth in, metrics with intervals out; no database."""
