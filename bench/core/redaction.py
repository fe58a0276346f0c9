"""Keeps credentials in URIs out of logs, parameters, artifacts and reports."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

from bench.core.errors import SettingsError

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/'\"]*|[^\s/@:'\"]*:[^\s@'\"]*)@")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")
_PARAMETER = re.compile(r"(?P<mark>[?&;])(?P<name>[^=&;?#]*)=(?P<value>[^&;]+)")
_HARMLESS = {
    *("application_name", "cache", "charset", "client_encoding", "connect_timeout", "database", "dbname", "download"),
    *("driver", "host", "hostaddr", "mode", "port", "service", "sslmode", "timeout", "unix_socket", "uri", "user"),
    *("username", "version", "viewstatesharekey", "workflowtype"),
}
"""Query parameters whose values are shown: a driver may take a secret under any other name."""
_SECRET = re.compile(
    r"(?P<name>(?:[?&;]|%3B|%26|%3F)[\w.-]*"
    r"(?:password|passwd|passphrase|pwd|token|secret|api_?key|access_?key|signature|sig|auth)(?:=|%3D))"
    r"(?:(?!%3B|%26)[^&\s;'\"])+",
    re.IGNORECASE,
)
"""A secret of a query string that stands alone, as in the messages of a driver, also percent-encoded."""


def redact(text: str) -> str:
    """``text`` without credentials: ``***`` stands for them.

    They are what stands before the host of a URI, the values of a query string but for those known to be harmless, and
    secrets in parts of query strings.
    """
    text = _URI.sub(lambda uri: _PARAMETER.sub(_hide, uri[0]), _CREDENTIALS.sub(r"\g<scheme>***@", text))
    return hide_secrets(text)


def hide_secrets(text: str) -> str:
    """``text`` without the values of a query string whose names say that they are secret."""
    return _SECRET.sub(r"\g<name>***", text)


def _hide(parameter: re.Match[str]) -> str:
    value = parameter["value"] if parameter["name"].lower() in _HARMLESS else "***"
    return f"{parameter['mark']}{parameter['name']}={value}"


def check_address(option: str, address: str) -> None:
    """Check that an address is not empty, and that :func:`redact` finds its credentials.

    Args:
        option: the setting that holds the address; errors name it.
        address: the address of a tracking store or a storage.

    Raises:
        SettingsError: it is empty or malformed; the message shows only its scheme.
    """
    if not address.strip():
        raise SettingsError(f"{option}={address!r} is empty: leave it out, or give an address")
    if not _is_well_formed(address):
        scheme = re.match(r"[A-Za-z0-9+.-]*://", address)
        raise SettingsError(
            f"{option}={scheme[0] if scheme else ''}… is not an address: SCHEME://USER:PASSWORD@HOST:PORT/NAME is "
            "accepted, special characters percent-encoded (%20 for a space, %22 and %27 for quotes, %23 for #, %2F for "
            "/, %40 for @)"
        )


def _is_well_formed(address: str) -> bool:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in address):
        return False
    if address.startswith("sqlite"):
        return True
    try:
        # The text after a colon may be a password, where the host is missing or a character is not encoded.
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises
    except ValueError:
        return False
    before_host = address.partition("://")[2].rpartition("@")[0]
    return not re.search(r"[\s'\"]", parts.netloc) and before_host in ("", parts.netloc.rpartition("@")[0])
