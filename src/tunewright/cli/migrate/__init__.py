"""Make recipes of what was exported from elsewhere."""
