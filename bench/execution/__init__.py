"""Runs a study: coordinator, workers, and the executors that start them."""
