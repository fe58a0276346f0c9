"""The answer at equal training time: best validation bits/dim so far against seconds, from the final runs' curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports import formatting
from reports.analysis import statistics
from reports.analysis.costs import alone
from reports.analysis.curves import final_curves
from reports.formatting import number, quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.curves import Curve
    from reports.analysis.results import Study


def at_equal_time(study: Study, low: str, high: str) -> list[str]:
    """Which of two arms is lower at equal training time: all that the shorter one took.

    Args:
        study: the study.
        low: the arm with the lower mean test bits/dim.
        high: the other.
    """
    curves = {arm: alone(final_curves(study, arm)) for arm in (low, high)}
    if not all(found and all(np.isfinite(each.seconds).all() for each in found) for found in curves.values()):
        return []
    totals = {arm: float(np.mean([each.seconds[-1] for each in found])) for arm, found in curves.items()}
    shorter, longer = sorted(totals, key=lambda arm: totals[arm])
    budget = quantity(totals[shorter], None, "s")
    longer_took = f"{study.title(longer)}: {quantity(totals[longer], None, 's')}"
    spent = f"{budget}, all that {study.title(shorter)} took ({longer_took})"
    reached = {arm: _best_until(found, totals[shorter]) for arm, found in curves.items()}
    late = [arm for arm in (longer, shorter) if np.isnan(reached[arm]).any()]
    if late:
        return [f"At equal training time, {spent}, {study.title(late[0])} had not been evaluated in every seed yet."]
    ahead, behind = sorted(reached, key=lambda arm: float(np.nanmean(reached[arm])))
    means = {arm: float(np.mean(values)) for arm, values in reached.items()}
    interval, difference = _difference(reached[behind], reached[ahead]), means[behind] - means[ahead]
    shown, span = quantity(difference), ""
    if interval is not None:
        shown, start, end = formatting.difference(interval.value, interval.low, interval.high)
        span = f", 95% interval over seeds {start} to {end}"
    decimals = min(4, max(2, 1 - math.floor(math.log10(difference)))) if difference else 2
    first, second = (number(means[arm], decimals) for arm in (ahead, behind))
    if interval is not None and interval.contains_zero:
        verdict = (
            f"the seeds do not separate the arms: {first} for {study.title(ahead)}, {second} for {study.title(behind)}"
        )
    else:
        turned = "" if ahead == low else ", the reverse of their order on test"
        verdict = f"{study.title(ahead)} is lower{turned}: {first} against {second}, by {shown}"
    note = f"validation, one-sample bound, best evaluation so far, mean over seeds{span}"
    return [f"At equal training time, {spent}, {verdict} ({note})."]


def _best_until(curves: Sequence[Curve], seconds: float) -> np.ndarray:
    """Of each run the lowest validation bits/dim up to a time; NaN for one not evaluated by then."""
    found = [curve.value[curve.seconds <= seconds].min(initial=np.inf) for curve in curves]
    return np.where(np.isfinite(found), found, np.nan)


def _difference(x: np.ndarray, y: np.ndarray) -> statistics.Interval | None:
    frames = [pd.DataFrame({"value": values, "standard_error": np.nan}) for values in (x, y)]
    return statistics.compare(*frames)
