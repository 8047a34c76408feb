"""The sources of a release: its git repository and its data sets."""
