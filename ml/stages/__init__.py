"""The steps of a release, one file each; a stage knows only the stages before it."""
