"""Monitors: what is watched of a served release."""
