"""The program that drops an untrusted process's rights: standard library only, to start fast."""
