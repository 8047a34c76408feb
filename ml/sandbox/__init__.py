"""The sandbox of untrusted code; no other package starts a process that is not ours."""
