"""``make bench``: how fast it is, always as a ratio against something in the same run."""
