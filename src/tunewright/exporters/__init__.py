"""Floor 2: what a release is made of. One file a format."""
