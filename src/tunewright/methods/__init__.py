"""Floor 2: which weights change. One file a method."""
