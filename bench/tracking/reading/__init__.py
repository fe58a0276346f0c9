"""Reads a study back from MLflow."""
