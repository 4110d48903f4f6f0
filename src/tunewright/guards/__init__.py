"""Floor 2: what must stay sound beside the goal. One file a guard."""
