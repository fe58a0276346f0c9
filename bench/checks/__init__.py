"""Checks before any work starts, and of the user's own models."""
