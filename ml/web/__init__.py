"""The HTTP side of the service `serve`: its API and its pages."""
