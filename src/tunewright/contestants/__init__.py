"""Floor 2: what the tuned model must beat. One file a contestant."""
