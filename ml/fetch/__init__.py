"""Brings files from elsewhere: each version once, whole or not at all, and only from where it may."""
