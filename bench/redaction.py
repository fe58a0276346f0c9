"""Credentials in URIs never reach logs, parameters, artifacts or reports."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/'\"]*|[^\s/@:'\"]*:[^\s@'\"]*)@")
_SECRET = re.compile(
    r"(?P<name>[?&;][\w.-]*(?:password|passwd|token|secret|api_?key|signature)=)[^&\s;'\"]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """``text`` with the credentials of every URI in it, and secrets in query strings, replaced by ``***``."""
    return _SECRET.sub(r"\g<name>***", _CREDENTIALS.sub(r"\g<scheme>***@", text))
