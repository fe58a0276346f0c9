"""Glow, a normalizing flow."""
