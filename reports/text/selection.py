"""Sentences about what each arm was selected with, and whether something else does as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports import formatting
from reports.analysis import convergence, selection
from reports.analysis.selection import FEWEST_SEEDS, FEWEST_TRIALS, AsGood
from reports.formatting import count, listing, plain, quantity, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.results import Study

MOST_VALUES = 3
"""Selected values of an arm that the first sentences name; all of them stand below."""


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
        fell = quantity(float(np.mean(falls)))
        came += f": the best on validation fell by {fell} over the last quarter of the evaluations"
    inside = "; ".join(filter(None, [", ".join(values), came]))
    return f"{study.title(arm)}: {inside}." if inside else ""


def smaller_sizes(study: Study, arm: str) -> list[tuple[str, str]]:
    """Of each swept size whether a smaller one does as well: in short, empty where that is open, and the grounds."""
    found = []
    for name in selection.in_order(study, arm):
        known = selection.smaller(study, arm, name)
        if known is not None:
            found.append(_smaller(study, arm, name, known))
    return found


def _smaller(study: Study, arm: str, parameter: str, known: AsGood) -> tuple[str, str]:
    words, others = selection.in_words(study, arm, parameter), known.others
    here = f"{words} {short(known.value)}"
    if known.noise is None:
        return "", f"Whether a smaller {words} does as well is open: {_needed(known)}."
    if others.empty:
        return "", f"Whether a smaller {words} does as well is open: no smaller model with one has completed."
    as_good = known.as_good
    row = as_good.sort_values(["x", "value"]).iloc[0] if len(as_good) else others.sort_values("value").iloc[0]
    size, weights = short(float(row["x"])), formatting.ratio(float(row["weights"] / known.selected["weights"]))
    above = float(row["value"] - known.selected["value"])
    measured = (
        f"trial {plain(row['number'])} with {size} and {weights} the parameters lies {quantity(above)} above the "
        f"selected {here} on validation"
    )
    others_too = [selection.in_words(study, arm, name) for name in study.swept(arm) if name != parameter]
    caution = f" The trials differ in {listing(others_too)} too, and each is of one seed." if others_too else ""
    if len(as_good):
        short_form = f"The smallest {words} that does as well within the noise between seeds is {size}."
        return short_form, f"{_capital(measured)}, within {_noise(known)}.{caution}"
    tried = f"of {count(len(others), 'smaller model')} that completed the best, {measured}"
    return f"No smaller {words} does as well.", f"{_capital(tried)}, beyond {_noise(known)}.{caution}"


def learning_rates(study: Study, arm: str) -> list[str]:
    """Which learning rates train an arm as well as the selected one, where nothing else was swept."""
    known = selection.rates(study, arm)
    if known is None:
        return []
    name = study.title(arm)
    if known.noise is None:
        return [f"Which learning rates train {name} as well as the selected one is open: {_needed(known)}."]
    found = [known.value, *known.as_good["x"]]
    if len(found) == 1:
        return [f"No other learning rate tried trains {name} as well: all lie beyond {_noise(known)}."]
    return [
        f"Learning rates from {short(min(found))} to {short(max(found))} train {name} as well: {len(found)} of "
        f"{count(len(known.others) + 1, 'complete trial')} lie within {_noise(known)}."
    ]


def _noise(known: AsGood) -> str:
    return (
        f"the {quantity(known.noise)} by which two trainings of one configuration differ from seed to seed (95%, by "
        f"{known.seeds} final runs)"
    )


def _needed(known: AsGood) -> str:
    return (
        f"that takes {FEWEST_TRIALS} complete trials and {FEWEST_SEEDS} final runs at least, and there are "
        f"{known.trials} and {known.seeds}"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
