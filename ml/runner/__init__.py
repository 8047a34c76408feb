"""Where foreign code runs; nothing else starts a process that is not ours."""
