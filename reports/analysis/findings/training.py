"""Findings of the search and the training of an arm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.core.trial_ends import none_completed
from bench.core.warmups import WARMUPS, long_warmups
from reports.analysis import convergence
from reports.analysis.convergence import State
from reports.analysis.findings.finding import MATERIAL, Finding, finite_values, gap_to_nearest
from reports.analysis.remedies import against_no_knowledge
from reports.analysis.results import LIKELIHOOD
from reports.analysis.selection import selected
from reports.formatting import count, listing, number, plain, quantity, short, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.results import Study

EARLY = 0.1
"""Share of the training: a run that is best before it and then overfits trained on too long or with too little data."""
MUCH_WORSE = 10
"""Tolerances of :mod:`reports.analysis.convergence` that the last weights may lie above the best ones."""
FEWEST_SEEDS = 3
OUTLYING = 5.0
"""Times the range of the other seeds from which a seed's distance to their median makes it an outlier."""
OUTLYING_OF_THREE = 30.0
"""Likewise among three, where the range is that of two others and often small by chance: 1 in 20 alarms falsely."""
LONGEST_REASON = 160
"""Characters of the reason why a trial ended."""
OUTLYING_BITS = 0.005
"""Bits/dim below which an outlier does not matter."""


def unanswered(study: Study, arm: str) -> Iterator[Finding]:
    """An arm whose trials have all ended, none of them complete."""
    ends = study.without_trial(arm)
    if ends:
        said = none_completed(study.title(arm), [(state, shortened(reason, LONGEST_REASON)) for state, reason in ends])
        yield Finding(f"No answer: {said}. The arm has no final run.", alarm=True)


def worse_than_uniform(study: Study, arm: str) -> Iterator[Finding]:
    """Final runs, or the selected trial where there are none, that take more bits than an image of unknown pixels."""
    levels = study.results.dataset.get("grey_levels")
    if not isinstance(levels, int) or levels < 2:
        return
    uniform, final = math.log2(levels), study.finals[arm]
    rows = final.measured("test", LIKELIHOOD)
    values = rows.loc[rows["unit"].isna() | (rows["unit"] == "bits/dim"), "value"].to_numpy(dtype=float)
    runs, split = count(len(values), "final run"), "test"
    if final.runs.empty and final.trial is not None:
        values, runs, split = np.array([final.trial["value"]], dtype=float), "selected trial", "validation"
    worse = values[np.isfinite(values) & (values > uniform)]
    if not len(worse):
        return
    which = f"{len(worse)} of {runs}" if split == "test" else f"the {runs}"
    most = "up to " if len(worse) > 1 else ""
    advice = " ".join(against_no_knowledge(study, arm))
    yield Finding(
        f"Worse than the uniform code: {which} of {study.title(arm)} took {most}"
        f"{quantity(float(worse.max()), None, 'bits/dim')} on {split}, and giving each of the {levels} grey levels the "
        f"same probability takes {quantity(uniform)}: it knows less of these images than nothing. {advice}",
        alarm=True,
    )


def warming_up(study: Study, arm: str) -> Iterator[Finding]:
    """Final runs of which a warm-up took more than half: of the weight of the KL, or of the learning rate."""
    if study.results.settings.get("smoke") is True:
        return
    runs, courses = study.finals[arm].runs.set_index("run_id"), convergence.courses(study, arm)
    batch = convergence.setting(runs, "batch_size")
    steps = {run_id: course.images / batch[run_id] for run_id, course in courses.items() if batch[run_id] > 0}
    for setting, what in WARMUPS.items():
        values = convergence.setting(runs, setting)
        found = {
            run_id: (taken, warmup)
            for run_id, taken in steps.items()
            for warmup in long_warmups({setting: values[run_id]}, taken).values()
        }
        if not found:
            continue
        taken, warmup = min(found.values(), key=lambda each: each[0] / each[1])
        fewest = "as few as " if len(set(found.values())) > 1 else ""
        rest = (
            f"the {what} reached at most {number(100 * taken / warmup, 0)}% of its full value"
            if taken <= warmup
            else f"only {number(100 * (1 - warmup / taken), 0)}% of the training came after the warm-up"
        )
        longer = (
            "more patience"
            if found.keys() <= convergence.stopped_early(study, arm)
            else "a larger budget (--epochs or --time)"
        )
        yield Finding(
            f"Warm-up too long: the {what} of {study.title(arm)} rises over {setting}={plain(warmup)}, and "
            f"{len(found)} of {count(len(courses), 'final run')} took {fewest}{count(round(taken), 'step')}: {rest}. "
            f"This is no verdict on the model: give it {longer}, or {setting}={round(taken / 3)} or less.",
            alarm=True,
        )


def rising(study: Study, arm: str) -> Iterator[Finding]:
    """Validation that rose after its best evaluation, where that came early, cost much, or is what was measured."""
    name = study.title(arm)
    courses = list(convergence.courses(study, arm).values())
    over = [each for each in courses if each.state == State.OVERFITTED]
    kept = convergence.keeps_best(study, arm)
    loud = [
        each
        for each in over
        if not kept or each.best_share <= EARLY or each.rise > MUCH_WORSE * convergence.tolerance(each.best)
    ]
    if not loud:
        return
    share = number(100 * float(np.mean([each.best_share for each in over])), 0)
    rise = quantity(float(np.mean([each.rise for each in over])), None, "bits/dim")
    text = (
        f"Validation rising: {name} overfitted in {len(over)} of {count(len(courses), 'final run')}; it was "
        f"best after {share}% of its training and ended {rise} above that (mean)"
    )
    measured = (
        "The best weights are the ones measured; more regularisation or a smaller model may do better"
        if kept
        else "The last weights are the ones measured, so the value is worse than the arm's best"
    )
    yield Finding(f"{text}. {measured}.", alarm=True)


def rescued(study: Study, arm: str) -> Iterator[Finding]:
    """Final runs that diverged and took a lower learning rate than the one that was selected."""
    times = finite_values(study, arm, "cost", "rescues")
    rescued = int((times > 0).sum())
    if rescued:
        yield Finding(
            f"Rescued from divergence: {rescued} of {count(len(times), 'final run')} of {study.title(arm)} "
            f"({count(int(times.sum()), 'rescue')}). Each rescue took a run back to its last evaluation, to repeat "
            "what follows at a third of its learning rate: the selected rate is too high, so sweep lower ones.",
            alarm=True,
        )


def on_the_edge(study: Study, arm: str) -> Iterator[Finding]:
    """Selected values at an end of their range beyond which a better one may lie."""
    found = [each for each in selected(study, arm) if each.edge]
    if found:
        values = [f"{each.words} {short(each.value)} lies {each.lies} of {each.range}" for each in found]
        ways = {"top": "upwards", "bottom": "downwards"}
        yield Finding(
            f"On the edge of {'their ranges' if len(found) > 1 else 'its range'}: {study.title(arm)}'s selected "
            f"{listing(values)}. A lower bits/dim may lie beyond: sweep "
            f"{listing([f'{each.words} further {ways[each.edge]}' for each in found])}.",
            alarm=True,
        )


def outlying_seed(study: Study, arm: str) -> Iterator[Finding]:
    """A seed far from all others, by which means and intervals over few seeds mislead."""
    name = study.title(arm)
    values = finite_values(study, arm, "test", LIKELIHOOD)
    if len(values) < FEWEST_SEEDS:
        return
    times = OUTLYING_OF_THREE if len(values) == FEWEST_SEEDS else OUTLYING
    least = max(OUTLYING_BITS, MATERIAL * (gap_to_nearest(study, arm) or 0.0))
    for i, value in enumerate(values):
        others = np.delete(values, i)
        distance = abs(float(value - np.median(others)))
        if distance > max(least, times * float(np.ptp(others))):
            yield Finding(
                f"Outlying seed: one of {len(values)} final runs of {name} reached {quantity(float(value))} "
                f"on test, {quantity(distance, None, 'bits/dim')} from the median of the others. Intervals over few "
                "seeds then cover less than 95%, about 85% where one seed in ten is an outlier.",
                alarm=True,
            )
            return
