"""Measures a trained model: likelihood, diagnostics, sample quality, speed and cost."""
