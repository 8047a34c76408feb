"""What takes a foreign process's rights away before it begins: standard library only, to start fast."""
