"""The monitor of what is live: programs that judge recorded requests, each in a process of its own."""
