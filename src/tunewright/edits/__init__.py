"""Floor 2: how a row is said in other words. One file for each kind of edit."""
