"""Virtual environments of models: how one is put together, and what is remembered of it."""
