"""Seeds derived from names, not from order: a component of a trial always draws the same numbers."""

from __future__ import annotations

import hashlib


def derive_seed(*names: object) -> int:
    """A seed in 0..2³¹-1: a hash of ``names``, such as (study, family, trial, component)."""
    digest = hashlib.sha256("\x1f".join(str(name) for name in names).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
