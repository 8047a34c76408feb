"""Authentication: the operators' token, the session made from it, and a throttle on wrong tokens."""
