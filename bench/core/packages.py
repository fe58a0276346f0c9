"""The names of this project's packages."""

from __future__ import annotations

OWN_PACKAGES = ("bench", "models", "reports", "studies")
