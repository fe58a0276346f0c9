"""Numbers and foreign text as readers see them: digits by the error, human units, nothing that acts as markup."""

from __future__ import annotations

import html
import math
import re
from functools import lru_cache
from numbers import Integral, Real
from urllib.parse import quote

from markupsafe import Markup

MISSING = "–"
NO_BREAK = "\u00a0"

_DECIMAL_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTE_STEPS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TIME_STEPS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.1, 1.0, "s"), (1e-4, 1e-3, "ms"))
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _scale(value: float, unit: str) -> tuple[float, str, str]:
    """The divisor under which ``value`` reads well, the prefix that says so, and the unit after it."""
    size = abs(value)
    if unit == "s":
        factor, unit = next(((factor, name) for limit, factor, name in _TIME_STEPS if size >= limit), (1.0, "s"))
        return factor, "", unit
    if unit == "bytes":
        factor, unit = next(((step, name) for step, name in _BYTE_STEPS if size >= step), (1.0, "bytes"))
        return factor, "", unit
    if 0 < size < 1e-3:
        exponent = math.floor(math.log10(size))
        return 10.0**exponent, f"× 10{str(exponent).translate(_SUPERSCRIPTS)}", unit
    factor, prefix = next(((step, prefix) for step, prefix in _DECIMAL_STEPS if size >= step), (1.0, ""))
    return factor, prefix, unit


def _decimals(value: float, error: float | None) -> int:
    """Decimals that show two digits of the error, or three significant digits where there is none."""
    if error is not None and math.isfinite(error) and error > 0:
        return max(0, 1 - math.floor(math.log10(error)))
    if value == 0 or (value.is_integer() and abs(value) >= 10):
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))))


def number(value: float, decimals: int) -> str:
    """``value`` with so many decimals, its thousands set apart, and a true minus sign."""
    return f"{value:,.{decimals}f}".replace("-", "−")


def quantity(value: float | None, error: float | None = None, unit: str = "", *, bare: bool = False) -> str:
    """A number with its error and a human unit, such as ``12.3 k images/s`` or ``1.970 ± 0.012 bits/dim``.

    Args:
        value: the number; a missing or non-finite one is named, never formatted as if it were a measurement.
        error: its standard error, which sets the digits.
        unit: the unit in which both are given; ``s`` and ``bytes`` turn into minutes, MB and so on.
        bare: leave out the unit, as the row's head or the sentence says it.
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    factor, prefix, unit = _scale(float(value), unit)
    scaled = float(value) / factor
    scaled_error = None if error is None or not math.isfinite(error) else error / factor
    decimals = _decimals(scaled, scaled_error)
    text = number(scaled, decimals)
    if scaled_error:
        text = f"{text} ±{NO_BREAK}{number(scaled_error, decimals)}"
    return NO_BREAK.join(filter(None, [text, prefix, "" if bare else unit]))


def breakable(text: str) -> str:
    """A quantity that may be broken before its unit too, and not only before its error: for narrow columns."""
    return re.sub(rf"(?<=\d){NO_BREAK}", " ", text)


def error(value: float) -> str:
    """An error alone, with two significant digits."""
    return number(value, _decimals(0.0, value))


def probability(p: float) -> str:
    """A p-value with three decimals."""
    return MISSING if math.isnan(p) else "< 0.001" if p < 0.0005 else number(p, 3)


def chance(p: float) -> str:
    """A probability with three decimals, none of which makes it certain."""
    return "> 0.999" if p > 0.9995 else probability(p)


def equals_chance(p: float) -> str:
    """That a probability is what it is, such as ``= 0.980`` or ``> 0.999``."""
    text = chance(p)
    return text if text[0] in "<>" else f"= {text}"


def difference(value: float, low: float, high: float) -> tuple[str, str, str]:
    """A difference and the ends of its interval, with the digits that the interval's half width gives."""
    decimals = _decimals(value, (high - low) / 4)
    return number(value, decimals), number(low, decimals), number(high, decimals)


def ratio(value: float) -> str:
    """A ratio with two significant digits, such as ``5.2×`` or ``0.083×``."""
    if not math.isfinite(value) or value <= 0:
        return MISSING
    return f"{number(value, max(0, 1 - math.floor(math.log10(value))))}×"


def tick(value: float) -> str:
    """A number as the label of a tick, such as ``40 k``, ``0.25`` or ``3·10⁻⁵``."""
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-3:
        exponent = math.floor(math.log10(size) + 1e-9)
        factor, power = value / 10.0**exponent, f"10{str(exponent).translate(_SUPERSCRIPTS)}"
        text = power if abs(factor - 1) < 1e-6 else f"{factor:.3g}·{power}"
    else:
        step, suffix = (1e6, " M") if size >= 1e6 else (1e3, " k") if size >= 1e3 else (1.0, "")
        text = f"{value / step:.6g}{suffix}"
    return text.replace("-", "−")


def shortened(text: str, length: int) -> str:
    """Foreign text of at most so many characters."""
    text = visible(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def plain(value: object) -> str:
    """A setting or parameter as text: whole numbers whole, other numbers with up to six significant digits."""
    if value is None:
        return MISSING
    if isinstance(value, bool | str):
        return str(value) or MISSING
    if isinstance(value, Real):
        as_float = float(value)
        if math.isnan(as_float):
            return MISSING
        if isinstance(value, Integral) or (as_float.is_integer() and abs(as_float) < 1e15):
            return str(int(as_float)) if not isinstance(value, Integral) else str(int(value))
        return f"{as_float:.6g}"
    if isinstance(value, list | tuple):
        return " × ".join(plain(item) for item in value)
    return str(value)


def short(value: object) -> str:
    """A setting or parameter within a sentence: real numbers with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else plain(value)


def count(n: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listing(items: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def visible(text: str) -> str:
    r"""Foreign text with control and direction-changing characters spelt out, such as ``\u202e``.

    They would otherwise reorder the words around them (the "Trojan source" trick), or make the page invalid.
    """
    text = text.replace("\r\n", "\n").encode("utf-8", "backslashreplace").decode("utf-8")
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


_MARKDOWN_BLOCK = re.compile(r"^(\d*)([-+=.)])(?=[-+=]*(\s|$))")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$#])")
REMEMBERED = 4096
"""Texts whose Markdown is remembered: most cells of thousands of rows say what others say."""


@lru_cache(REMEMBERED)
def markdown(text: str) -> str:
    """Text that Markdown renderers show as it is, on one line, with HTML switched off."""
    escaped = _MARKDOWN.sub(r"\\\1", visible(text))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_BLOCK.sub(r"\1\\\2", " ".join(escaped.split()))


def unescaped(markdown: str) -> str:
    """What Markdown of :func:`markdown` shows."""
    return html.unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", markdown))


def address(url: str) -> Markup:
    """A web address as the target of a Markdown link, with nothing in it that could end the link."""
    return Markup(quote(url, safe=":/?#@!&'*+,;=%~"))  # noqa: S704 - brackets, spaces and backslashes are encoded


def fence(text: str) -> Markup:
    """A Markdown code block whose fence is longer than any run of backticks in ``text``."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return Markup(f"{ticks}text\n{visible(text)}\n{ticks}")  # noqa: S704 - a fence that the text cannot close


def slug(text: str) -> str:
    """Text as part of a file name: ASCII letters, digits, hyphens and underscores."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:40] or "unnamed"


FAMILY_TITLES = {"vae": "VAE", "glow": "Glow"}
"""Names of families as people write them."""


def display(family: str) -> str:
    """A family's name as people write it, or as it is written where it is not known."""
    return FAMILY_TITLES.get(family, family)


def state_name(state: str) -> str:
    """A run's state as words."""
    return str(state).replace("_", " ")
