"""A study as all its processes share it: only this package talks to Optuna.

Work is kept as *tasks*, Optuna trials that wait: one for each trial of a search that is asked for, and one for each
final run. A worker claims a task, shows that it lives while it works, and ends it; the storage is the arbiter of what
is done. Nothing here knows of MLflow, which is written to and never decided by.
"""
