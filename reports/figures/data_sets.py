"""The figures of a comparison over data sets: ranks with their critical difference, and performance profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.figures.axes import rows_panel
from reports.figures.grammar import Axis, Figure, Panel, Points, Rule, Step
from reports.formatting import count, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.analysis.data_sets import OverDataSets
    from reports.analysis.profiles import Profile
    from reports.figures.grammar import Layer

MOST_NAMED_SHARES = 6
"""Numbers of data sets up to which the vertical axis of a profile names each."""
ROOM = 1.04
"""How far beyond its last step a profile is drawn, as a factor of the excess."""


def ranks(data_sets: OverDataSets) -> Figure | None:
    """The average rank of each arm with its rank on each data set, and how far above the best is within chance."""
    test = data_sets.test
    if test is None:
        return None
    average, names = data_sets.average_ranks, list(data_sets.studies)
    best = min(average.values())
    layers: list[Layer] = []
    if test.critical is not None:
        layers.append(Rule(best + test.critical, label="critical difference"))
    for row, (arm, rank) in enumerate(average.items()):
        own = data_sets.ranks[arm]
        place, title = float(len(average) - row), data_sets.title(arm)
        each = Points(own, [place] * len(own), label="on one data set", colour=arm, opacity=0.45, about=names)
        layers.append(each)
        layers.append(Points([rank], [place], label="average", colour=arm, size=11, about=[title]))
    end = max(len(average), best + (test.critical or 0.0)) + 0.2
    x = Axis("rank, 1 is the lowest bits/dim", limits=(0.8, end), whole=True)
    reach = (
        f" Dashed: {number(test.critical, 2)} above the lowest average, the critical difference; arms left of it are "
        "not separated from the lowest."
        if test.critical is not None
        else ""
    )
    caption = f"Large marks: average over {count(len(names), 'data set')}. Small ones: each data set.{reach}"
    titles = [data_sets.title(arm) for arm in average]
    return Figure("Ranks over data sets", [rows_panel(x, titles, layers)], caption, stem="ranks")


def likelihood_profiles(data_sets: OverDataSets) -> Figure | None:
    """The share of data sets on which an arm's bits/dim are within so many per cent of the best arm's."""
    found = data_sets.likelihood_profiles
    end = 1 + ROOM * (_farthest(found) - 1)
    if end <= 1:
        return None
    layers = [_step(data_sets, arm, 100 * (x - 1), y) for arm, (x, y) in _drawn(found, end).items()]
    x = Axis("bits/dim above the best arm's", "%")
    return _profile(data_sets, "Likelihood: how often within how much of the best", x, layers, found, "likelihood")


def time_profiles(data_sets: OverDataSets) -> Figure | None:
    """The share of data sets on which an arm trains within so many times the fastest arm's time."""
    found = data_sets.time_profiles
    end = _farthest(found) ** ROOM
    if end <= 1:
        return None
    layers = [_step(data_sets, arm, x, y) for arm, (x, y) in _drawn(found, end).items()]
    x = Axis("training time over the fastest arm's", scale="log2")
    return _profile(data_sets, "Time: how often within how many times the fastest", x, layers, found, "time")


def _farthest(found: Mapping[str, Profile]) -> float:
    return max((float(profile.ratios[-1]) for profile in found.values() if len(profile.ratios)), default=1.0)


def _drawn(found: Mapping[str, Profile], end: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {arm: profile.steps(end) for arm, profile in found.items() if len(profile.ratios)}


def _step(data_sets: OverDataSets, arm: str, x: np.ndarray, y: np.ndarray) -> Step:
    return Step(x, y, label=data_sets.title(arm), colour=arm, dash="arm", width=2.0, where="post")


def _profile(
    data_sets: OverDataSets, title: str, x: Axis, layers: list[Step], found: Mapping[str, Profile], stem: str
) -> Figure:
    n = len(data_sets.studies)
    ticks = [(i / n, f"{i} of {n}") for i in range(n + 1)] if n <= MOST_NAMED_SHARES else []
    y = Axis("data sets" if ticks else "share of data sets", limits=(-0.03, 1.05), ticks=ticks, named=bool(ticks))
    partial = [data_sets.title(arm) for arm, profile in found.items() if not profile.is_complete]
    missing = f" {', '.join(partial)}: not measured on every data set, and within nothing there." if partial else ""
    caption = (
        "Higher is better: the left end is how often an arm is the best, the right end how far it may be from it."
        f"{missing}"
    )
    return Figure(title, [Panel(x, y, layers)], caption, legend=True, stem=stem)
