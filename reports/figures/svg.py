"""One figure's SVG, fitted to where it stands: inline in the page, or a file beside the Markdown."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from markupsafe import Markup

from reports.figures.styles import HUES, INK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.figures.styles import Style

SVG = "{http://www.w3.org/2000/svg}"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
PAPER, TEXT = "#ffffff", "#2b2f36"


def _parsed(raw: str, title: str) -> ET.Element:
    """The figure without metadata and unused ids, named for screen readers, its text in the reader's own fonts."""
    root = ET.fromstring(raw)  # noqa: S314 - our own drawing
    for metadata in root.findall(f"{SVG}metadata"):
        root.remove(metadata)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", raw))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        if "style" in element.attrib:
            element.set("style", re.sub(r"font-family: [^;]+;?", "", element.get("style", "")))
        if (target := element.attrib.pop(XLINK_HREF, None)) is not None:
            element.set("href", target)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", title)
    name = ET.Element(f"{SVG}title")
    name.text = title
    root.insert(0, name)
    return root


def _recolour(root: ET.Element, colours: dict[str, str]) -> None:
    for element in root.iter():
        style = element.get("style", "")
        for colour, replacement in colours.items():
            style = style.replace(colour, replacement)
        if style:
            element.set("style", style)


def _text(root: ET.Element) -> str:
    ET.register_namespace("", SVG[1:-1])
    return ET.tostring(root, encoding="unicode")


def themed(styles: Mapping[str, Style]) -> dict[str, str]:
    """For each colour of a static figure the CSS variable that replaces it in the page."""
    return {style.light: f"var(--{style.name})" for style in (*HUES.values(), *styles.values())}


def inline(raw: str, title: str, prefix: str, colours: dict[str, str]) -> Markup:
    """The figure as part of an HTML page.

    Args:
        raw: matplotlib's SVG.
        title: its accessible name.
        prefix: put before every id, as all figures of a page share one space of ids.
        colours: for each arm's colour the CSS value that replaces it, so that the dark theme can brighten it.
    """
    root = _parsed(raw, title)
    for definitions in root.findall(f"{SVG}defs"):
        for style in definitions.findall(f"{SVG}style"):
            definitions.remove(style)
    _recolour(root, {INK: "currentColor", **colours})
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, prefix + value)
            elif name == "href" and value.startswith("#"):
                element.set(name, f"#{prefix}{value[1:]}")
            elif name in {"clip-path", "style"}:
                element.set(name, value.replace("url(#", f"url(#{prefix}"))
    return Markup(_text(root))  # noqa: S704 - serialised as XML, text escaped


def standalone(raw: str, title: str) -> str:
    """The figure as a file: dark text on white paper, readable wherever it is shown."""
    root = _parsed(raw, title)
    _, _, width, height = root.get("viewBox", "0 0 0 0").split()
    root.set("font-family", FONTS)
    root.insert(1, ET.Element(f"{SVG}rect", {"width": width, "height": height, "style": f"fill: {PAPER}"}))
    _recolour(root, {INK: TEXT})
    return _text(root) + "\n"
