"""Downloads of data files: each version once, whole or not at all, and only from allowed origins."""
