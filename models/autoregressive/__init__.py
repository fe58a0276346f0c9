"""Autoregressive models: each value of an image given those before it."""
