"""Aliases of a workspace: shares of requests, promote, roll back."""
