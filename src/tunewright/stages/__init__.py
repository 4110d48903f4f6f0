"""Floor 3: prepare, choose, train, evaluate, deploy. Each is (recipe, run) -> Report."""
