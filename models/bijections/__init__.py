"""Invertible layers with tractable log-determinants, one family a file."""
