"""The machine below a service: processes, memory, files and locks."""
