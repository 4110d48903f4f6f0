"""Floor 0: recipes, parts, runs, reports. Never imports torch."""
