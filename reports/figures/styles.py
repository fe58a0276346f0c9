"""How arms and the ends of trials look, the same in every figure of a report.

A family has a hue and an arm a shade of it, with a marker and a dash of its own. The hues start from the palette of
Okabe and Ito (2008); the shades of one were chosen for the largest least difference, for colour-blind readers too, at a
contrast of 3 or more with the page. ``MARKERS`` names the marks in all their forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.results import RunState
from reports.analysis.curves import NO_VALUE, OFF_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Marker:
    """A mark: matplotlib's, plotly's (``-open`` behind it makes it hollow), and as a character, filled and hollow."""

    static: str
    interactive: str
    filled: str
    hollow: str = ""


MARKERS: dict[str, Marker] = {
    "circle": Marker("o", "circle", "●", "○"),
    "square": Marker("s", "square", "■", "□"),
    "diamond": Marker("D", "diamond", "◆", "◇"),
    "pentagon": Marker("p", "pentagon", "⬟", "⬠"),
    "hexagon": Marker("h", "hexagon", "⬢", "⬡"),
    "triangle-up": Marker("^", "triangle-up", "▲", "△"),
    "triangle-down": Marker("v", "triangle-down", "▼", "▽"),
    "triangle-left": Marker("<", "triangle-left", "◀", "◁"),
    "triangle-right": Marker(">", "triangle-right", "▶", "▷"),
    "lozenge": Marker("d", "diamond-tall", "⬧", "◊"),
    "star": Marker("*", "star", "★", "☆"),
    "cross": Marker("x", "x-thin-open", "×"),
    "plus": Marker("+", "cross-thin-open", "+"),
    "fork": Marker("2", "y-up-open", "⅄"),
    "upright": Marker("|", "line-ns-open", "|"),
    "bar": Marker("_", "line-ew-open", "–"),
    "dot": Marker(".", "circle-open-dot", "⚬"),
}


@dataclass(frozen=True)
class Style:
    """A look.

    Attributes:
        name: its style class, and the CSS variable of its colour.
        light: its colour on light paper.
        dark: its colour on dark paper.
        marker: its mark, a name of `MARKERS`.
        dash: how its lines are broken where several arms share a panel.
    """

    name: str
    light: str
    dark: str
    marker: str
    dash: str

    @property
    def filled(self) -> str:
        """The mark as a character."""
        return MARKERS[self.marker].filled

    @property
    def hollow(self) -> str:
        """The hollow mark as a character."""
        return MARKERS[self.marker].hollow


SHADES: dict[str, tuple[str, str, str]] = {
    "vae": ("circle", "#0072b2 #2130a0 #5590f4 #0e4f72 #0597b5", "#56b4e9 #88e7fa #4e89fb #0991a7 #2363b8"),
    "glow": ("square", "#d55e00 #6f221c #89581c #c77b74 #ae5e51", "#f28c4b #fcc587 #e55200 #b47066 #92542b"),
    "other-1": ("diamond", "#007a59 #20a942 #0d5020 #19a39a #548e5b", "#3fc79c #6dfe9d #499a5c #88e6db #117462"),
    "other-2": ("pentagon", "#a8467c #6c0766 #db63d0 #c47488 #99014a", "#e39cc3 #e5498b #b044b0 #e573de #924f65"),
    "other-3": ("hexagon", "#9a6b00 #633903 #cd8017 #6f5a15 #9f884a", "#eab64d #fdd896 #aa8f50 #f7d33b #885d21"),
    "other-4": ("triangle-down", "#6a4fb3 #ae74f8 #47366a #807ab4 #3e2bb0", "#b3a2f2 #996bf6 #9282bb #5d5ad3 #765b94"),
}
"""By hue: the first arm's mark, and the shades on light and on dark paper."""
MORE_MARKERS = ("triangle-down", "diamond", "triangle-left", "pentagon", "triangle-right", "hexagon")
"""Of the second arm of a family and those after it; each hue begins at another one."""
DASHES = ("solid", "dashed", "dotted", "dashdot", "dashed")


def _shades(hue: str) -> list[Style]:
    first, light, dark = SHADES[hue]
    names = [hue, *(f"{hue}-shade-{n}" for n in range(2, 6))]
    start = list(SHADES).index(hue)
    more = [each for each in (*MORE_MARKERS[start:], *MORE_MARKERS[:start]) if each != first]
    return [Style(*each) for each in zip(names, light.split(), dark.split(), [first, *more[:4]], DASHES, strict=True)]


INK = "#010203"
"""The colour of text and axes, which a figure takes from the text around it."""
INK_STYLE = Style("ink", INK, INK, "circle", "dashed")
HUES: dict[str, Style] = {hue: _shades(hue)[0] for hue in SHADES}
"""The look of each hue's first shade."""
OTHERS = ("other-1", "other-2", "other-3", "other-4")
"""The hues of families that have none of their own, in order of appearance."""


def arm_styles(arms: Mapping[str, str]) -> dict[str, Style]:
    """One look an arm, given each arm's family; after five arms of a family, and four other families, they repeat."""
    families = list(dict.fromkeys(arms.values()))
    others = [family for family in families if family not in ("vae", "glow")]
    hues = {family: OTHERS[i % len(OTHERS)] for i, family in enumerate(others)} | {"vae": "vae", "glow": "glow"}
    found: dict[str, Style] = {}
    for family in families:
        shades = _shades(hues[family])
        of_family = [arm for arm in arms if arms[arm] == family]
        found |= {arm: shades[i % len(shades)] for i, arm in enumerate(of_family)}
    return {arm: found[arm] for arm in arms}


def look_of(role: str, styles: Mapping[str, Style]) -> Style:
    """The look of a colour role.

    Raises:
        ValueError: there is no such role.
    """
    found = INK_STYLE if role == "ink" else styles.get(role) or HUES.get(role)
    if found is None:
        raise ValueError(f"colour {role!r}: one of {', '.join([*styles, *HUES, 'ink'])}")
    return found


def css(styles: Iterable[Style]) -> str:
    """The colours as CSS: a variable, one for bands and a class each, by the page's theme; print is light."""
    used = {style.name: style for style in styles}.values()

    def root(theme: str) -> str:
        colours = {style.name: getattr(style, theme) for style in used}
        return f":root {{ {' '.join(f'--{name}: {hue}; --{name}-band: {hue}33;' for name, hue in colours.items())} }}"

    classes = " ".join(f".{style.name} {{ color: var(--{style.name}); }}" for style in used)
    dark = f"@media screen and (prefers-color-scheme: dark) {{ {root('dark')} }}"
    return "\n".join([root("light"), dark, classes]) if used else ""


@dataclass(frozen=True)
class EndStyle:
    """How a trial that has no place on the scale is marked, and what the caption says of so many."""

    marker: str
    words: str

    def caption(self, n: int) -> str:
        """The mark and the number of trials, such as ``× 3 diverged``."""
        return f"{MARKERS[self.marker].filled} {n} {self.words}"


ENDS: dict[str, EndStyle] = {
    RunState.DIVERGED: EndStyle("cross", "diverged"),
    RunState.OUT_OF_MEMORY: EndStyle("plus", "out of memory"),
    RunState.FAILED: EndStyle("fork", "failed"),
    RunState.INTERRUPTED: EndStyle("upright", "interrupted"),
    RunState.RUNNING: EndStyle("bar", "running"),
    RunState.PRUNED: EndStyle("dot", "pruned without a value"),
    NO_VALUE: EndStyle("star", "complete without a finite value"),
    OFF_SCALE: EndStyle("triangle-up", "above the scale"),
}
UNKNOWN_END = EndStyle("cross", "in another state")
