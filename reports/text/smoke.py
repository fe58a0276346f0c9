"""What a smoke run says before all else: its numbers are no result."""

from __future__ import annotations

from collections.abc import Mapping

SMOKE = "Smoke run: every step at the smallest size; these numbers say nothing about the models."


def marked(headline: str, settings: Mapping[str, object]) -> str:
    """A study's headline, after :data:`SMOKE` where its settings say that it was a smoke run."""
    return f"{SMOKE} {headline}" if settings.get("smoke") is True else headline
