"""The search of a study, shared by all its processes: the only folder that uses Optuna.

Tasks are waiting Optuna trials: one per trial of a search, and one per final run. A worker claims a task, sends
heartbeats while it works on it, and ends it. The storage decides what is done; this folder does not use MLflow.
"""
