"""Jet: a flow of couplings whose networks are vision transformers."""
