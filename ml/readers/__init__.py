"""Bounded readers of a repository's small files, each in a process of its own."""
