"""Sentences about what each arm was selected with, and whether something else does as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports import formatting
from reports.analysis import convergence, selection
from reports.analysis.convergence import State
from reports.analysis.selection import FEWEST_SEEDS, FEWEST_TRIALS, MARGIN, Alternatives
from reports.formatting import count, listing, plain, quantity, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from reports.analysis.results import Study

MOST_VALUES = 3
"""Selected values of an arm that the first sentences name; all of them stand below."""
FEWEST_SMALLER = 3
"""Smaller models that must have completed to say that none does as well, where more than the size was swept."""
PERCENT = f"{100 * MARGIN:g}%"


def selected_with(study: Study, arms: Sequence[str]) -> str:
    """The most asked for of the selected values, in one sentence; empty where nothing was swept."""
    found = {arm: selection.selected(study, arm)[:MOST_VALUES] for arm in arms}
    parts = [f"{study.title(arm)} with {listing(list(map(str, values)))}" for arm, values in found.items() if values]
    return f"Selected: {'; '.join(parts)}." if parts else ""


def course(study: Study, arm: str) -> str:
    """All selected values of an arm with their ranges, and how far its training had come."""
    values = [
        f"{each.words} {short(each.value)}{f' ({each.range})' if each.range else ''}"
        for each in selection.selected(study, arm)
    ]
    came = convergence.in_words(study, arm)
    falls = [run.fall for run in convergence.improving(study, arm)]
    if falls:
        improving, seeds = improving_seeds(study, arm)
        among = "" if improving == seeds else " of those still improving"
        fell = quantity(float(np.mean(falls)))
        came += f": the best on validation{among} fell by {fell} over the last quarter of the evaluations"
    inside = "; ".join(filter(None, [", ".join(values), came]))
    return f"{study.title(arm)}: {inside}." if inside else ""


def improving_seeds(study: Study, arm: str) -> tuple[int, int]:
    """How many of an arm's final runs were still improving, of those whose course is known."""
    states = [each.state for each in convergence.courses(study, arm).values()]
    return states.count(State.IMPROVING), len(states) - states.count(State.UNKNOWN)


def smaller_sizes(study: Study, arm: str) -> list[tuple[str, str]]:
    """Of each swept size whether a smaller one does as well: in short, empty where not sure, and the grounds."""
    found = []
    for name in selection.in_order(study, arm):
        known = selection.smaller(study, arm, name)
        if known is not None:
            found.append(_smaller(study, arm, name, known))
    return found


def _smaller(study: Study, arm: str, parameter: str, known: Alternatives) -> tuple[str, str]:
    words, tried = selection.in_words(study, arm, parameter), known.complete
    is_open = f"Whether a smaller {words} does as well is open"
    if known.noise is None:
        return "", f"{is_open}: {_needed(known)}."
    if tried.empty:
        return "", f"{is_open}: no smaller model with one has completed{_lost(known)}."
    others_too = [selection.in_words(study, arm, name) for name in study.swept(arm) if name != parameter]
    caution = f" The trials differ in {listing(others_too)} too, and each is of one seed." if others_too else ""
    as_good = known.as_good
    smallest = as_good if len(as_good) else known.close
    row = smallest.sort_values(["x", "value"]).iloc[0] if len(smallest) else tried.sort_values("value").iloc[0]
    size, weights = short(float(row["x"])), formatting.ratio(float(row["weights"] / known.selected["weights"]))
    measured = (
        f"trial {plain(row['number'])} with {size} and {weights} the parameters lies {_above(row, known)} above the "
        f"selected {words} {short(known.value)} on validation"
    )
    noise = _noise(known, float(row["noise"]))
    if len(as_good):
        verdict = f"The smallest {words} that does as well, to within {PERCENT}, is {size}."
        return verdict, f"{_capital(measured)}, within {PERCENT} even with {noise} added.{caution}"
    best = f"of {count(len(tried), 'model')} with a smaller {words} that completed the best, {measured}"
    if len(known.worse) < len(tried):
        grounds = (
            f"{measured}; neither does it stay within {PERCENT} ({quantity(known.margin)}) with {noise} added, nor do "
            "all smaller models lie beyond both"
        )
        return "", f"{is_open}: {grounds}{_lost(known)}.{caution}"
    if others_too and len(tried) < FEWEST_SMALLER:
        return "", f"{is_open}: {best}, and it takes {FEWEST_SMALLER} of them at least{_lost(known)}.{caution}"
    them = f"tried with a smaller {words}" if known.lost.empty else f"with a smaller {words} that completed"
    n = len(tried)
    verdict = f"None of the {n} models {them} did as well." if n > 1 else f"The only model {them} did not do as well."
    grounds = f"{_capital(best)}, beyond {PERCENT} and {noise}{_lost(known)}.{caution}"
    # That some model does as well is shown by that model; that none does may lie in what else differs between them.
    return ("", f"{verdict} {grounds}") if others_too else (verdict, grounds)


def learning_rates(study: Study, arm: str) -> list[str]:
    """Which learning rates came close to the selected one, where nothing else was swept."""
    known = selection.rates(study, arm)
    if known is None:
        return []
    name = study.title(arm)
    if known.noise is None:
        return [f"Which learning rates train {name} as well as the selected one is open: {_needed(known)}."]
    noise = _noise(known, float(known.complete["noise"].max()))
    limit = f"within {PERCENT} of the selected {short(known.value)} and within {noise}"
    around, beyond = selection.reach(known)
    if len(around) + len(beyond) == 1:
        others = ", ".join([count(len(known.others), "trial"), *_ends(known)])
        return [f"No other learning rate tried for {name} ({others}) came {limit}."]
    parts = [f"from {short(around[0])} to {short(around[-1])}"] if len(around) > 1 else []
    if beyond:
        parts.append(f"{'also ' if parts else ''}{listing(list(map(short, beyond)))} with others between that did not")
    near = int(known.close["x"].isin([*around, *beyond]).sum())
    tried = f"{near + 1} of {count(len(known.others) + 1, 'trial')}"
    return [f"Learning rates of {name} that came {limit}: {', '.join(parts)} ({', '.join([tried, *_ends(known)])})."]


def _above(row: pd.Series, known: Alternatives) -> str:
    share = 100 * float(row["above"]) / abs(float(known.selected["value"]))
    return f"{quantity(float(row['above']))} ({formatting.number(share, 1)}%)"


def _noise(known: Alternatives, noise: float) -> str:
    images = " and the errors over validation images" if known.over_images else ""
    return (
        f"the {quantity(noise)} by which two trainings of one configuration differ (95%, by {known.seeds} final "
        f"runs{images})"
    )


def _lost(known: Alternatives) -> str:
    """How many more trials did not complete; empty without any."""
    return f"; {len(known.lost)} more did not complete ({', '.join(_ends(known))})" if len(known.lost) else ""


def _ends(known: Alternatives) -> list[str]:
    """How the trials ended that did not complete."""
    states = known.lost["state"].value_counts().sort_index()
    return [f"{n} {formatting.state_name(str(state))}" for state, n in states.items()]


def _needed(known: Alternatives) -> str:
    if known.seeds >= FEWEST_SEEDS and known.trials >= FEWEST_TRIALS:
        return f"all {known.seeds} final runs gave the same value, so the noise between seeds is not known"
    return (
        f"that takes {FEWEST_TRIALS} complete trials and {FEWEST_SEEDS} final runs at least, and there are "
        f"{known.trials} and {known.seeds}"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
