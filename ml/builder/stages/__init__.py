"""The stages of a release, one module each; a stage depends only on the stages before it."""
