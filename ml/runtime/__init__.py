"""The runtime of a release on this machine, for building and for serving."""
