"""Floor 2: what is learned. One file an objective."""
