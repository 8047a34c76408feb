"""The service `watch`, which reconciles the wanted state with the actual one and starts child processes."""
