"""What is seen of an axis: its ends and its ticks, computed once, so that both renderers show the same.

The room of an axis is counted in characters, or in lines where it stands upright, in the narrower of the two drawings:
a page on a phone. Labels that would not fit into it are never asked for.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import TYPE_CHECKING

import numpy as np

from reports.figures.grammar import Bars, Rule
from reports.formatting import number, shortened, tick, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reports.figures.grammar import Axis, Figure, Layer, Panel

MARGIN = 0.05
"""Share of an axis that is left free at each end of the data, as matplotlib does."""
CHARACTERS, LINES, UPRIGHT = 9.0, 4.0, 12.0
"""Characters of text, lines, and characters of upright text for each inch of a figure that is as narrow as a phone."""
BESIDE, BELOW = 0.7, 0.6
"""Inches of a panel that the labels of its vertical and of its horizontal axis take."""
GAP = 1.5
"""Characters that are left free between labels."""
FEWEST, MOST = 3, 7
"""Ticks that an axis has where they fit."""
LONGEST = 18
"""Characters of each of two lines that a name on a vertical axis may have."""
TINY = 1e-6
Tick = tuple[float, str]


@dataclass(frozen=True)
class Scale:
    """What is seen of an axis.

    Attributes:
        low: its lower end.
        high: its higher end.
        ticks: places and their labels, in which a line break divides a name or sets it lower than its neighbour.
        log: whether it is logarithmic.
        title: the axis' title in lines that are no longer than the axis.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...]
    log: bool
    title: str = ""

    def place(self, value: float) -> float:
        """Where on the axis a value stands, from 0 to 1."""
        low, high, value = (math.log10(each) if self.log else each for each in (self.low, self.high, value))
        return (value - low) / (high - low)


def scales(figure: Figure) -> list[tuple[Scale, Scale]]:
    """The horizontal and the vertical scale of each panel."""
    panels = figure.panels
    widths = [_ends(panel.x, [panel], "x") for panel in panels]
    if figure.one_x:
        widths = [_ends(panels[-1].x, panels, "x")] * len(panels)
    upright = [_scale(panel.y, _ends(panel.y, [panel], "y"), _upright(panel)) for panel in panels]
    # Panels begin below each other, where the longest name ends.
    beside = max((_beside(panel, y) for panel, y in zip(panels, upright, strict=True)), default=BESIDE)
    size = CHARACTERS * (figure.width - beside)
    room = _Room(size, lines=False, length=size)
    return [(_scale(panel.x, ends, room), y) for panel, ends, y in zip(panels, widths, upright, strict=True)]


def _upright(panel: Panel) -> _Room:
    inches = panel.height - BELOW
    return _Room(LINES * inches, lines=True, length=UPRIGHT * inches)


def _beside(panel: Panel, y: Scale) -> float:
    """Inches that the labels of a panel's vertical axis take."""
    names = [name for layer in panel.layers if isinstance(layer, Bars) for name in layer.names]
    names += [line for _, label in y.ticks for line in label.split("\n")] if panel.y.named else []
    return max([BESIDE, *((len(name) + GAP) / CHARACTERS for name in names)])


def _scale(axis: Axis, ends: tuple[float, float] | None, room: _Room) -> Scale:
    log = axis.scale != "linear"
    bare = Scale(*(ends or ((1.0, 10.0) if log else (0.0, 1.0))), (), log)
    if not axis.shown:
        return bare
    # Ticks where nothing stands would be a scale that no number has.
    ticks = [] if ends is None else _given(axis, bare, room) if axis.ticks else _chosen(axis, bare, room)
    title = textwrap.wrap(shortened(axis.title, 60), max(1, int(room.length)), break_long_words=False)
    return replace(bare, ticks=tuple(ticks), title="\n".join(title))


@dataclass(frozen=True)
class _Room:
    """The labels' characters that fit beside each other on an axis, or their ``lines`` that fit below each other.

    ``length`` is that of the axis in characters of its title.
    """

    size: float
    lines: bool
    length: float

    def holds(self, ticks: Sequence[Tick], scale: Scale) -> bool:
        """Whether no label comes near the next one; of only two, whether they do not touch."""
        gap = 0.0 if self.lines or len(ticks) < FEWEST else GAP
        at = [(scale.place(place) * self.size, 1.0 if self.lines else float(len(label))) for place, label in ticks]
        return all(second - first >= (a + b) / 2 + gap for (first, a), (second, b) in pairwise(at))


def _ends(axis: Axis, panels: Sequence[Panel], name: str) -> tuple[float, float] | None:
    """The ends of an axis: its limits, or those of what is drawn, with a margin; None where nothing is drawn."""
    if axis.limits is not None:
        return axis.limits
    log = axis.scale != "linear"
    parts = [_extent(layer, name, log) for panel in panels for layer in panel.layers]
    seen = np.concatenate([*parts, [place for place, _ in axis.ticks] if axis.named else [], np.empty(0)])
    seen = seen[np.isfinite(seen) & ((seen > 0) | (not log))]
    if not len(seen):
        return None
    low, high = float(seen.min()), float(seen.max())
    if axis.named:
        return low - 0.5, high + 0.5
    if high - low <= 1e-9 * abs(high):
        return _around(high, log=log, whole=axis.whole)
    if log:
        factor = (high / low) ** MARGIN
        return low / factor, high * factor
    margin = MARGIN * (high - low)
    return low - margin, high + margin


def _around(value: float, *, log: bool, whole: bool) -> tuple[float, float]:
    """The ends of an axis on which all is in one place."""
    if whole:
        return (max(value - 1, value / 2) if log else value - 1), value + 1
    if log:
        return value / 1.5, value * 1.5
    half = 0.05 * abs(value) or 0.5
    return value - half, value + half


def _extent(layer: Layer, name: str, log: bool) -> np.ndarray:
    """All that a layer draws along an axis, the ends of its error bars among it."""
    columns = layer.columns()
    if isinstance(layer, Bars):
        across = [columns[each] for each in ("x", "low", "high") if each in columns]
        return np.concatenate([*across, [0.0]]) if name == "x" else np.empty(0)
    if name == "x":
        return columns.get("x", np.empty(0))
    drawn = [columns[each] for each in ("y", "low", "high") if each in columns]
    if "error" in columns:
        y, error = columns["y"], np.nan_to_num(columns["error"])
        drawn += [y - lower_error(y, error, log=log), y + error]
    return np.concatenate([*drawn, np.empty(0)])


def rule_labels(panel: Panel, y: Scale) -> list[tuple[float, str]]:
    """The labels of a panel's written rules with the places above which they stand, the lowest first.

    Labels that would touch become one, at the highest of their lines; lines beyond the scale have none.
    """
    rules = [layer for layer in panel.layers if isinstance(layer, Rule) and layer.written]
    lines = LINES * (panel.height - BELOW)
    groups: list[list[Rule]] = []
    for rule in sorted(rules, key=lambda rule: rule.at):
        if not -TINY <= y.place(rule.at) <= 1 + TINY:
            continue
        if groups and (y.place(rule.at) - y.place(groups[-1][-1].at)) * lines < 1:
            groups[-1].append(rule)
        else:
            groups.append([rule])
    return [(group[-1].at, ", ".join(visible(rule.label) for rule in group)) for group in groups]


def lower_error(y: np.ndarray, error: np.ndarray, *, log: bool) -> np.ndarray:
    """The part of an error bar below its value: on a logarithmic axis never down to nothing."""
    return np.minimum(error, 0.9 * y) if log else error


def _given(axis: Axis, scale: Scale, room: _Room) -> list[Tick]:
    """The ticks that an axis asks for: names all, and numbers where none touches the next one."""
    inside = [(float(place), label) for place, label in axis.ticks if -TINY <= scale.place(place) <= 1 + TINY]
    if axis.named:
        return list(zip([place for place, _ in inside], _names([name for _, name in inside], room), strict=True))
    asked = sorted((place, shortened(label, 12)) for place, label in inside)
    return asked if len(asked) > 1 and room.holds(asked, scale) else _chosen(axis, scale, room)


def _names(names: Sequence[str], room: _Room) -> list[str]:
    """Names as labels that fit and differ: upright in two lines where they are long, else every second one lower."""
    names, each = list(map(visible, names)), room.size / max(len(names), 1)
    if room.lines:
        return _different(names, lambda name: "\n".join(textwrap.wrap(name, LONGEST, max_lines=2, placeholder="…")))
    if all(len(name) + GAP <= each for name in names):
        return names
    short = _different(names, lambda name: shortened(name, max(3, int(2 * each - GAP))))
    return [("\n" if number % 2 else "") + name for number, name in enumerate(short)]


def _different(names: Sequence[str], shorten: Callable[[str], str]) -> list[str]:
    """The names shortened, and numbered where they would otherwise be the same."""
    short = list(map(shorten, names))
    if len(set(short)) == len(set(names)):
        return short
    return [shorten(f"{number} {name}") for number, name in enumerate(names, start=1)]


def _chosen(axis: Axis, scale: Scale, room: _Room) -> list[Tick]:
    """Round numbers, as many as fit: the first choice that has enough of them, or else the one that has most."""
    best: list[Tick] = []
    for choice in _choices(axis, scale):
        places = [place for place in choice if place % 1 == 0] if axis.whole else choice
        ticks = list(zip(places, labels(places), strict=True))
        if len(ticks) <= MOST and room.holds(ticks, scale):
            if len(ticks) >= FEWEST:
                return ticks
            best = max(best, ticks, key=len)
    return best


def _choices(axis: Axis, scale: Scale) -> Iterator[list[float]]:
    if axis.scale == "log2":
        exponents = range(math.ceil(math.log2(scale.low) - TINY), math.floor(math.log2(scale.high) + TINY) + 1)
        for step in range(1, 1 + len(exponents)):
            yield [2.0**exponent for exponent in exponents[::step]]
    if scale.log:
        decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        for digits in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
            yield _inside([float(f"{digit}e{exponent}") for exponent in decades for digit in digits], scale)
        if scale.high > 30 * scale.low:
            for step in range(2, 1 + len(decades)):
                yield _inside([float(f"1e{exponent}") for exponent in decades if exponent % step == 0], scale)
    yield from _even(scale)


def _inside(places: Sequence[float], scale: Scale) -> list[float]:
    return [place for place in places if -TINY <= scale.place(place) <= 1 + TINY]


def _even(scale: Scale) -> Iterator[list[float]]:
    """Even steps of 1, 2, 2.5 or 5 times a power of ten, the shortest first."""
    span = scale.high - scale.low
    first = math.floor(math.log10(span / MOST))
    for exponent in count(first):
        for digit in ("1", "2", "2.5", "5"):
            step = float(f"{digit}e{exponent}")
            if step > span:
                return
            multiples = range(math.ceil(scale.low / step - TINY), math.floor(scale.high / step + TINY) + 1)
            yield [float(f"{multiple * step:.12g}") + 0.0 for multiple in multiples]


def labels(places: Sequence[float]) -> list[str]:
    """Numbers in their order as the labels of an axis, with as many digits as tell them apart."""
    steps = [b - a for a, b in pairwise(places)]
    largest = max(map(abs, places), default=0.0)
    even = len(steps) > 0 and max(steps) - min(steps) < 1e-3 * min(steps) and 1e-3 <= largest < 1e3
    if not even and all(map(_apart, places, places[1:])):
        return list(map(_short, places))
    step = min(steps)
    decimals = next(each for each in count() if all(abs(round(by, each) - by) < 1e-3 * step for by in (step, *places)))
    return [number(place, decimals) for place in places]


def _short(place: float) -> str:
    """The label of a number, in thousands or millions where that makes it shorter, as it does not of 1,024."""
    return number(place, 0) if 1e3 <= place < 1e6 and place % 100 else tick(place)


def _apart(first: float, second: float) -> bool:
    """Whether short labels tell two numbers apart: they have six digits, or three where they are powers of ten."""
    larger = max(abs(first), abs(second))
    digits = 3 if larger >= 1e9 or larger < 1e-3 else 6
    return second - first > 4.9 * 10.0 ** (math.floor(math.log10(larger)) - digits + 1)
