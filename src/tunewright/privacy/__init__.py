"""Floor 1: personal data, secrets, encryption at rest, and the record of what was done. Never torch."""
