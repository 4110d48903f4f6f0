"""Floor 1: models as tunewright sees them: chat, forest, attention, head, engine."""
