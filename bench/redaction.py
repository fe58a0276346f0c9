"""Credentials in URIs never reach logs, parameters, artifacts or reports."""

from __future__ import annotations

import re
import unicodedata

from bench.errors import SettingsError

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/'\"]*|[^\s/@:'\"]*:[^\s@'\"]*)@")
_SECRET = re.compile(
    r"(?P<name>[?&;][\w.-]*(?:password|passwd|token|secret|api_?key|signature)=)[^&\s;'\"]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """``text`` with the credentials of every URI in it, and secrets in query strings, replaced by ``***``."""
    return _SECRET.sub(r"\g<name>***", _CREDENTIALS.sub(r"\g<scheme>***@", text))


def check_address(option: str, address: str) -> None:
    """Check that an address is not empty, and that :func:`redact` can tell its credentials from the text around them.

    Args:
        option: the setting that holds the address, named in errors.
        address: the address of a tracking store or a storage.

    Raises:
        SettingsError: it is empty, or holds what has to be percent-encoded; the message shows no credentials.
    """
    if not address.strip():
        raise SettingsError(f"{option}={address!r} is empty: leave it out, or give an address")
    scheme, _, rest = address.partition("://")
    if scheme.startswith("sqlite"):
        credentials, rest = "", address
    else:
        credentials, _, rest = rest.rpartition("@")
    if re.search(r"[\s'\"]|@.*/|/.*@", credentials) or any(unicodedata.category(c) in ("Cc", "Cs") for c in address):
        raise SettingsError(
            f"{option}={scheme.encode('ascii', 'replace').decode()}://… holds a character that an address cannot have "
            "as it is: write it percent-encoded (%20 for a space, %27 and %22 for quotes, %2F for /, %40 for @)"
        )
