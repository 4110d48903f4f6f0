"""Keys of a workspace: make, list, revoke."""
