"""Keeps credentials in URIs out of logs, parameters, artifacts and reports."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

from bench.core.errors import SettingsError

_RUN = r"""(?:[^\s&;'"\\]|;(?!\s|$)|\\[^\s'"]|\\?['"](?![\s,:;.)\]}>|&'"\\]|$))"""
"""A character of a value in running text; a quote at the end or before punctuation closes what is around it."""
_INNER = r"""(?:\\.|[^\\"'\n]|"(?!\s*(?:[,:\]}]|$)))"""
"""A character between single quotes; a double quote before punctuation closes what is around them."""
_OPENING = r"""(?![\s,:;)\]}]|$)"""
_QUOTED = rf"""(?:"{_OPENING}(?:\\.|[^\\"\n])*"|'{_OPENING}{_INNER}*'|\\"{_OPENING}(?:\\[^"\n]|[^\\"\n])*\\")"""
_VALUE = rf"""(?:(?:{_QUOTED}|\{{[^{{}}'"\n]*\}}){_RUN}*|{_RUN}+)"""

_CREDENTIALS = re.compile(
    r"(?P<start>(?::|(?<![:/\w.]))//)(?:[^\s/@:'\"]*:[^\s'\"]*|[^\s/'\"]*)@"
    r"|(?<![^\s'\"=(,\[{<])(?!mailto:)[\w.+-]+:[^\s/'\"@][^\s/'\"]{0,255}@(?=[\w\[])"
)
"""What stands before a host; without ``//`` only what is like ``USER:PASSWORD@HOST``."""
_URI = re.compile(rf"(?:://|(?:\?|(?<![^\s'\"=(,])&)(?=[\w.%~-]+=))(?:(?<==){_QUOTED}|&|{_RUN})+")
"""The rest of a URI after its scheme, or a query that stands alone, as in the messages of a driver."""
_HARMLESS = (
    *("application_name", "cache", "charset", "client_encoding", "connect_timeout", "database", "dbname", "download"),
    *("driver", "host", "hostaddr", "mode", "port", "service", "sslmode", "timeout", "unix_socket", "uri", "user"),
    *("username", "version", "viewstatesharekey", "workflowtype"),
    *("experiment_id", "max_results", "order_by", "path", "run_id", "run_uuid"),
)
"""Query parameters whose plain values are shown: a driver may take a secret under any other name."""
_SHOWN = (
    rf"[?&;#](?i:{'|'.join(_HARMLESS)})(?:=(?:[\w.,/*+-]|%2[0F])*)?"
    r"(?:(?=\#/)|(?::\d{1,5})?(?=&|;[\w.-]+=|[),.;:!?>\]}]{0,3}(?:\\?['\"]|\s|$)))"
)
_PARAMETER = re.compile(
    rf"(?P<shown>{_SHOWN})|(?P<name>[?&;][^=&;?#]*=|\#[^=&;?#/]+=){_VALUE}"
    rf"|(?P<bare>&(?=[^\s&=]+(?:&|$))|\?(?=[^\w\s&=]*\w[^\s&=]*(?:&|$))){_RUN}+"
)
_NAMES = (
    r"(?:password|passwd|passphrase|pwd|token|secret|jwt|credentials?|auth|authorization|(?:access|amz)[_-]?signature"
    r"|(?:access|account|api|private|secret|signing)[_-]?key|(?<=[?&;])(?:key|pass|sig|signature))"
)
_SECRETS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<name>{_NAMES}(?:=(?!=\s|=\d+\.\d)|[ \t]+=[ \t]+)){_VALUE}",
        # A separator is percent-encoded as often as the sign before the value.
        rf"(?P<name>{_NAMES}%(?P<level>(?:25)*)3D)(?:(?!;|%(?P=level)(?:3B|26)){_RUN})+",
        rf"""(?P<name>{_NAMES}"[ \t]*:[ \t]*")(?:\\.|[^\\"\n])*(?=")""",
        rf"""(?P<name>{_NAMES}'[ \t]*:[ \t]*'){_INNER}*(?=')""",
        rf"""(?P<name>{_NAMES}'[ \t]*:[ \t]*"){_OPENING}(?:\\.|[^\\"\n])*(?=")""",
        rf"""(?P<name>{_NAMES}\\"[ \t]*:[ \t]*\\")(?:\\[^"\n]|[^\\"\n])*(?=\\")""",
        r"""(?P<name>authorization[ \t]*:[ \t]*)(?:[^\s'"\\]|\\[^\s'"])(?:[^\n'"\\]|\\[^\s'"])*""",
        rf"(?P<name>\bBearer[ \t]+){_RUN}+",
    )
]
"""Secrets outside an address: in connection strings, also percent-encoded, in headers, and in dictionaries."""
# Not USER:PASSWORD@HOST, which would be redacted.
_ACCEPTED = "SCHEME://HOST:PORT/NAME is accepted, with USER:PASSWORD and @ before the host"


def redact(text: str) -> str:
    """``text`` without credentials: ``***`` stands for them.

    They are what stands before the host of a URI, the values of its query and fragment but for plain values of
    parameters known to be harmless, and elsewhere what is named like a secret.
    """
    text = _CREDENTIALS.sub(lambda found: f"{found['start'] or ''}***@", text)
    text = _URI.sub(lambda uri: _PARAMETER.sub(_hide, uri[0]), text)
    return hide_secrets(text)


def hide_secrets(text: str) -> str:
    """``text`` without the values whose names say that they are secret."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\g<name>***", text)
    return text


def _hide(parameter: re.Match[str]) -> str:
    parts = parameter.groupdict()
    return parts["shown"] or f"{parts['name'] or parts['bare']}***"


def check_address(option: str, address: str) -> None:
    """Check that an address is not empty, and that :func:`redact` finds its credentials.

    Args:
        option: the setting that holds the address; errors name it.
        address: the address of a tracking store or a storage.

    Raises:
        SettingsError: it is empty, malformed or an address without a scheme; the message shows no more than its scheme
            or its host.
    """
    if not address.strip():
        raise SettingsError(f"{option}={address!r} is empty: leave it out, or give an address")
    if not _is_well_formed(address):
        scheme = re.match(r"[A-Za-z0-9+.-]*://", address)
        raise SettingsError(
            f"{option}={scheme[0] if scheme else ''}… is not an address: {_ACCEPTED}, special characters "
            "percent-encoded (%20 for a space, %22 and %27 for quotes, %23 for #, %2F for /, %40 for @)"
        )
    if _lacks_scheme(address):
        host = re.match(r"[\w.:\[\]-]*", address.rpartition("@")[2])
        raise SettingsError(
            f"{option}=***@{host[0] if host else ''}… is an address without a scheme: {_ACCEPTED}, and the path of a "
            "file from / or ./"
        )


def _lacks_scheme(address: str) -> bool:
    if "://" in address or re.match(r"\.{0,2}/(?!/)|file:", address):
        return False
    return re.search(r":[^@]*@|^//[^/]*@", address) is not None


def _is_well_formed(address: str) -> bool:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in address):
        return False
    if "://" not in address:
        return True
    file = re.match(r"sqlite(\+\w+)?:///", address)
    # Spaces and quotes would end the address where it stands in a message; a file's name may have them.
    if re.search(r"[\s'\"]", address.partition("?")[2] if file else address):
        return False
    if file:
        return True
    try:
        # The text after a colon may be a password, where the host is missing or a character is not encoded.
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises
    except ValueError:
        return False
    before_host = address.partition("://")[2].rpartition("@")[0]
    return before_host in ("", parts.netloc.rpartition("@")[0])
