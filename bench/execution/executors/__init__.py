"""Executors, which run the tasks of a study: in this process, in others on this machine, or on a Ray cluster."""
