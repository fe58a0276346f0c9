"""Environment variables that hold addresses: command lines would show the credentials in them."""

STORAGE_VARIABLE = "REPARAM_BENCH_STORAGE"
TRACKING_VARIABLE = "REPARAM_BENCH_TRACKING_URI"
