"""Environment variables: addresses, as command lines would show the credentials in them, and one for a restart."""

STORAGE_VARIABLE = "REPARAM_BENCH_STORAGE"
TRACKING_VARIABLE = "REPARAM_BENCH_TRACKING_URI"
CHOSEN_BACKEND_VARIABLE = "REPARAM_BENCH_CHOSEN_BACKEND"
"""What ``--backend auto`` chose, for the process that starts again on it."""
