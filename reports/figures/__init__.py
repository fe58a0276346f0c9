"""Figures: what they show, and how they are drawn."""

import os
from importlib import import_module

# Matplotlib refuses to be imported where MPLBACKEND names a backend that it does not have. None is used here.
_backend = os.environ.pop("MPLBACKEND", None)
try:
    import_module("matplotlib")
finally:
    if _backend is not None:
        os.environ["MPLBACKEND"] = _backend
