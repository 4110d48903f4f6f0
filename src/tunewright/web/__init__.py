"""Floor 4: pages for people."""
