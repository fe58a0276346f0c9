"""Points of learning curves, of which there may be millions: which runs they are of, and in which order they lie.

What is read from a store has its runs as a category, so that they are looked up by its codes. Frames that others build
may have them as plain text.
"""

from __future__ import annotations

import pandas as pd


def spread(known: pd.Series, runs: pd.Series) -> pd.Series:
    """What is known of the run of each point, missing where nothing is.

    Args:
        known: by run.
        runs: the run of each point.
    """
    if not _are_category(runs):
        of_points: pd.Series = runs.astype(object).map(known)
        return of_points
    # pandas looks up each category once, where it would hash the text of each point.
    places = pd.Series(known.index.get_indexer(pd.CategoricalIndex(runs)), index=runs.index, name=runs.name)
    found: pd.Series = places.map(known.reset_index(drop=True))
    return found


def groups(runs: pd.Series) -> pd.Series:
    """What points are grouped by that are to stay with the others of their run, in whatever order of the groups."""
    return runs.cat.codes if _are_category(runs) else runs.astype(object)


def largest(values: pd.Series, runs: pd.Series) -> pd.Series:
    """The largest value of each run that has one, by run, as plain text.

    By the category pandas could not align two such series where one has few runs: it numbers these by another type.
    """
    found: pd.Series = values.groupby(runs, observed=True).max()
    return found.set_axis(found.index.astype(object))


def are_in_order(points: pd.DataFrame) -> bool:
    """Whether points are seen to lie by run and step already, as those of a store do; False where that is open."""
    if not _are_category(points["run_id"]):
        return False
    run = points["run_id"].cat.codes.to_numpy()
    step = pd.to_numeric(points["step"]).to_numpy()
    # A step that is not known is not at or after any other.
    follows = (run[1:] > run[:-1]) | ((run[1:] == run[:-1]) & (step[1:] >= step[:-1]))
    return bool((run >= 0).all() and follows.all())


def _are_category(runs: pd.Series) -> bool:
    return isinstance(runs.dtype, pd.CategoricalDtype)
