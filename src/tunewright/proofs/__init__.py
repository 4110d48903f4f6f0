"""Floor 2: measurements on the user's own model and data. One file a proof."""
