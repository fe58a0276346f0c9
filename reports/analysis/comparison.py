"""Two studies, one before and one after: did an arm get better, and is the change within noise?

The studies may be two questions on the same data, or one question at two commits. Only what is comparable is compared;
what is not is named with the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.core.metrics import FLOOR_SUFFIX
from reports import formatting
from reports.analysis import practical, statistics
from reports.analysis.results import LIKELIHOOD, bounds, in_order, metric_of, variants
from reports.formatting import listing, plain

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.metrics import Metric
    from reports.analysis.practical import Probabilities
    from reports.analysis.results import Study, Variant
    from reports.analysis.statistics import Interval

ONE_STUDY = ("train", "validation", "out_of_distribution")
"""Splits that are not compared: training and selection, and the other data set."""
TIMED = ("throughput", "cost")
"""Splits that depend on the machine."""
MACHINE = ("device", "processor", "cores", "backend")
"""What of the provenance two timings must share."""


@dataclass(frozen=True)
class Change:
    """How an arm's final runs changed in one metric, after less before.

    Attributes:
        arm: the arm, by its title.
        metric: the metric's name.
        about: what the metric is.
        variant: the conditions under which both were measured.
        before: mean over seeds.
        after: likewise.
        interval: the change with its interval and p-value.
        effect: Hedges' g, over training seeds.
        adjusted: the p-value adjusted by Holm's method over all changes.
        in_practice: of test bits/dim how probably the arm got better, practically stayed equal, or got worse, "first"
            being after; None where there is no telling, and of other metrics.
    """

    arm: str
    metric: str
    about: Metric
    variant: Variant
    before: float
    after: float
    interval: Interval
    effect: float
    adjusted: float = math.nan
    in_practice: Probabilities | None = None

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``within noise``, or ``changed`` where neither direction is better."""
        if self.interval.contains_zero:
            return "within noise"
        higher_is_better = self.about.higher_is_better
        if higher_is_better is None:
            return "changed"
        return "better" if (self.interval.value > 0) == higher_is_better else "worse"


@dataclass(frozen=True)
class Comparison:
    """What two studies have to say of each other.

    Attributes:
        before: the one study.
        after: the other.
        headlines: the change in test bits/dim of each arm, in a sentence.
        refused: what is not compared, and why.
        changes: every tested change, test bits/dim first.
    """

    before: Study
    after: Study
    headlines: list[str]
    refused: list[str]
    changes: list[Change]


def compare(before: Study, after: Study) -> Comparison:
    """Compare the final runs of two studies, arm by arm."""
    refused = _other_data(before, after)
    if refused:
        return Comparison(before, after, [], refused, [])
    for study, other in ((before, after), (after, before)):
        alone = [arm for arm in study.arms if arm not in other.arms]
        refused += [f"{study.title(arm)} is in {plain(study.results.study_id)} alone." for arm in alone]
    machine = _other_machine(before, after)
    refused += machine
    changes: list[Change] = []
    splits = [split for split in in_order(before, after) if split not in ONE_STUDY]
    for arm in (arm for arm in before.arms if arm in after.arms):
        bound = other_bound(before, after, arm)
        refused += bound
        left_out = {*(TIMED if machine else ()), *(("test",) if bound else ())}
        for split in splits:
            changes += [] if split in left_out else _changes(before, after, arm, split)
    adjusted = statistics.holm(np.array([change.interval.p for change in changes]))
    changes = [replace(change, adjusted=float(p)) for change, p in zip(changes, adjusted, strict=True)]
    if not changes and not refused:
        refused.append("Not compared: no final run of both studies was measured in the same way.")
    headlines = [_headline(change, after) for change in changes if change.metric == LIKELIHOOD]
    return Comparison(before, after, headlines, refused, changes)


def _other_data(before: Study, after: Study) -> list[str]:
    """Why the two cannot be compared at all."""
    pairs = [(study.results.dataset.get("name"), study.results.dataset.get("digest")) for study in (before, after)]
    if pairs[0][1] != pairs[1][1] or pairs[0][1] is None:
        names = [f"{plain(name)} ({plain(digest)[:15]}…)" for name, digest in pairs]
        return [
            f"Not compared: the studies are of different data, {names[0]} and {names[1]}; no number means the same."
        ]
    return []


def _other_machine(before: Study, after: Study) -> list[str]:
    """Why speeds and costs cannot be compared."""
    known = [study.results.provenance for study in (before, after)]
    differing = [name for name in MACHINE if known[0].get(name) != known[1].get(name)]
    if not differing:
        return []
    parts = [f"{name} {plain(known[0].get(name))} and {plain(known[1].get(name))}" for name in differing]
    return [f"Speed and cost are not compared: they were measured on different machines ({listing(parts)})."]


def other_bound(before: Study, after: Study, arm: str) -> list[str]:
    """Why an arm's test likelihoods cannot be compared."""
    frames = [study.finals[arm].measured("test", LIKELIHOOD) for study in (before, after)]
    if any(frame.empty for frame in frames):
        return [f"{before.title(arm)} is not compared on test: it has no final run in one of the studies."]
    kinds = [listing(bounds(frame)) or "a bound that was not named" for frame in frames]
    sizes = [listing([str(int(n)) for n in sorted(frame["n"].dropna().unique())]) for frame in frames]
    name = before.title(arm)
    if kinds[0] != kinds[1]:
        return [f"{name} is not compared on test: the values are different bounds, {kinds[0]} and {kinds[1]}."]
    if sizes[0] != sizes[1]:
        return [f"{name} is not compared on test: the values average {sizes[0]} and {sizes[1]} images."]
    return []


def _changes(before: Study, after: Study, arm: str, split: str) -> list[Change]:
    frames = [study.finals[arm].measurements for study in (before, after)]
    frames = [frame[(frame["split"] == split) & np.isfinite(frame["value"])] for frame in frames]
    shared = set(frames[0]["metric"]) & set(frames[1]["metric"])
    if LIKELIHOOD in shared:
        # The same number in another unit, whose interval would leave out the pairing by images.
        shared.discard("nll_nats")
    found = []
    for name in statistics.metric_order({metric for metric in shared if not metric.endswith(FLOOR_SUFFIX)}):
        x, y = (frame[frame["metric"] == name] for frame in frames)
        for variant in (variant for variant in variants(x) if variant in variants(y)):
            change = _change(before, after, arm, name, variant, variant.of(x), variant.of(y))
            found += [] if change is None else [change]
    return found


def _change(
    before: Study, after: Study, arm: str, name: str, variant: Variant, x: pd.DataFrame, y: pd.DataFrame
) -> Change | None:
    interval = likelihood_change(before, after, arm) if name == LIKELIHOOD else statistics.compare(y, x)
    if interval is None:
        return None
    a, b = x["value"].to_numpy(dtype=float), y["value"].to_numpy(dtype=float)
    effect = statistics.hedges_g(b, a) if min(len(a), len(b)) > 1 else math.nan
    title, about = before.title(arm), metric_of(name, x)
    judged = name == LIKELIHOOD and interval.over_seeds
    return Change(
        *(title, name, about, variant, float(a.mean()), float(b.mean()), interval, effect),
        in_practice=practical.probabilities(interval, after.results.equivalence) if judged else None,
    )


def likelihood_change(before: Study, after: Study, arm: str) -> Interval | None:
    """The change in test bits/dim: paired image by image where both studies left the likelihood of each image."""
    bits = [study.bits_by_image[arm] for study in (before, after)]
    if bits[0] is not None and bits[1] is not None and bits[0].columns.equals(bits[1].columns):
        return statistics.compare_paired(bits[1].to_numpy(), bits[0].to_numpy(), after.kind)
    frames = [study.finals[arm].measured("test", LIKELIHOOD) for study in (before, after)]
    return statistics.compare(frames[1], frames[0])


def _headline(change: Change, after: Study) -> str:
    value, low, high = formatting.difference(change.interval.value, change.interval.low, change.interval.high)
    name, span = change.arm, f"95% interval {low} to {high}"
    covers = "" if change.interval.over_seeds else ", with seeds not repeated"
    if change.interval.contains_zero:
        verdict = f"{name}: the change in test bits/dim of {value} is within noise ({span}{covers})."
    else:
        word = "better" if change.interval.value < 0 else "worse"
        verdict = f"{name} got {word}: test bits/dim changed by {value} ({span}{covers})."
    return " ".join([verdict, *_in_practice(change, after.results.equivalence)])


def _in_practice(change: Change, by: float) -> list[str]:
    """How probably the change is larger than what matters."""
    found = change.in_practice
    if found is None:
        return []
    parts = (
        (f"better by more than {by:g}", found.better),
        ("practically equal", found.equal),
        ("worse by more", found.worse),
    )
    return [f"{formatting.listing([f'P({name}) {formatting.equals_chance(p)}' for name, p in parts])}."]
