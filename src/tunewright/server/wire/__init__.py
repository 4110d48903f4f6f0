"""The bodies that requests of the API may have, a file for each group of routes."""
