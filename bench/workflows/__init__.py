"""Workflows: running a study, evaluating or repeating a logged run, published results, gradient estimators."""
