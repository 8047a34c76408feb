"""Virtual environments of models: how one is assembled, and what is recorded about it."""
