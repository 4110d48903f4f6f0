"""Floor 1: from the user's files to Examples in three splits. Never imports torch."""
