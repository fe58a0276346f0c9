"""Environment variables of processes that this one starts: addresses, as command lines show credentials; the path."""

import os
import sys
from pathlib import Path

STORAGE_VARIABLE = "REPARAM_BENCH_STORAGE"
TRACKING_VARIABLE = "REPARAM_BENCH_TRACKING_URI"
CHOSEN_BACKEND_VARIABLE = "REPARAM_BENCH_CHOSEN_BACKEND"
"""What ``--backend auto`` chose, for the process that starts again on it."""
RUNNING_STUDY_VARIABLE = "REPARAM_BENCH_RUNNING_STUDY"
"""The study that a process ran, for the one that starts again in its place."""
RESTARTED_VARIABLE = "REPARAM_BENCH_RESTARTED"
"""When it did, by the machine's monotonic clock, as the time of a study counts on meanwhile."""
SEARCH_BEGAN_VARIABLE = "REPARAM_BENCH_SEARCH_BEGAN"
"""When its search began, by the same clock, as ``--timeout`` counts from there."""
ENDED_STUDIES_VARIABLE = "REPARAM_BENCH_ENDED_STUDIES"
"""The studies of other data sets that the same command has ended, likewise."""


def home() -> Path | None:
    """The user's home folder; None of a user without one, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def own_cache() -> Path | None:
    """``$XDG_CACHE_HOME/reparam-bench``, or ``~/.cache/reparam-bench``; None where the user has no home."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "reparam-bench"
    own = home()
    return None if own is None else own / ".cache" / "reparam-bench"


def search_path() -> str:
    """The ``PYTHONPATH`` of a process that runs code of ours: that of this process, behind our own packages.

    A user's project may have folders of the same names. Start Python with ``-P``, or the current folder comes first.
    """
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(dict.fromkeys([root, *filter(None, sys.path)]))
