"""Which trials a person promoted, in sentences: a search that was helped is not one that was left to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.results import RunState
from reports.formatting import listing, state_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.results import Study


def by_hand(study: Study, arms: Sequence[str]) -> str:
    """The trials of some arms that were trained to the whole budget by hand; empty where none was."""
    promoted = {arm: known for arm in arms if (known := study.results.promoted.get(arm))}
    if not promoted:
        return ""
    named = [
        f"{'trial' if len(numbers) == 1 else 'trials'} {listing(list(map(str, numbers)))} of {study.title(arm)}"
        for arm, numbers in promoted.items()
    ]
    said = f"Promoted by hand, to be trained to the whole budget though the search had stopped them: {listing(named)}."
    if untrained := [each for arm, numbers in promoted.items() for each in _untrained(study, arm, numbers)]:
        said += f" Not trained to it: {listing(untrained)}."
    trials = {arm: study.finals[arm].trial for arm in promoted}
    selected = [arm for arm, trial in trials.items() if trial is not None and trial["number"] in promoted[arm]]
    if selected:
        said += f" The selected trial of {listing(list(map(study.title, selected)))} is among them."
    return said


def _untrained(study: Study, arm: str, numbers: Sequence[int]) -> list[str]:
    """The trials that have not come to the whole budget, or not yet, and how they ended so far."""
    runs = study.trials[study.trials["arm"] == arm]
    states = dict(zip(runs["number"], runs["state"], strict=True))
    return [
        f"trial {number} of {study.title(arm)} ({state_name(states[number]) if number in states else 'no run'})"
        for number in numbers
        if states.get(number) != RunState.COMPLETE
    ]
