"""The demo: a fake of GitHub in front of a real git repository with a real model."""
