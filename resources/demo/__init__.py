"""The demo: a stand-in for GitHub in front of a real git repository with a real model."""
