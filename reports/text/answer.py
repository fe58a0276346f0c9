"""The answer in sentences, computed from the data with its uncertainty; where the data leave it open, it says so."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.results import RunState
from reports import formatting
from reports.analysis import budget, differences, statistics
from reports.analysis.findings import findings
from reports.analysis.reference_codes import best_code, reference_model
from reports.analysis.results import LIKELIHOOD, UNENDED, Finals, Study, bounds, variants
from reports.analysis.statistics import Estimate, Interval
from reports.formatting import count, listing, quantity, state_name
from reports.text import practical, selection
from reports.text.equal_time import at_equal_time
from reports.text.outlook import outlook
from reports.text.promotion import by_hand
from reports.text.smoke import marked
from reports.units import in_unit_of

if TYPE_CHECKING:
    from reports.analysis.reference_codes import Code


NOT_YET = "No final run has been measured on test yet"


class Outcome(StrEnum):
    """What a study's headline says of the arms, for readers that are programs."""

    LOWEST = "lowest"
    """The first arm is lowest: the intervals of its distances to all others leave 0 out."""
    UNDECIDED = "undecided"
    """One of them contains 0."""
    NO_INTERVAL = "no_interval"
    """No uncertainty is known of one of them, so that it is open whether those two arms differ."""
    NOT_RANKED = "not_ranked"
    """The arms' likelihoods are in different units."""
    ONE_ARM = "one_arm"
    """The study has a single arm, which was measured on test."""
    ONE_MEASURED = "one_measured"
    """One arm of several was measured on test."""
    NONE_MEASURED = "none_measured"
    """No arm has a finite test likelihood."""


@dataclass(frozen=True)
class Answer:
    """What the study found.

    Attributes:
        headline: which arm, by how much, and the values it was selected with, in sentences that stand alone.
        first: what belongs right below it: all selected values and the state of training, the order at equal training
            time, and what is still open.
        alarms: what the diagnostics found to speak against a result.
        grounds: what the numbers are and rest on: intervals, bounds, cost and budget.
        outlook: what would change the answer.
        outcome: what the headline says of the arms.
        ranking: the arms with finite test bits/dim, the lowest mean first; empty where they are not ranked.
        behind: by how much the mean of each further arm of the ranking lies above that of the first; None where no
            uncertainty is known.
        so_far: whether half of the seeds or more were still improving, of the other arm of the two that the headline
            compares where their order is clear, else of one of them.
    """

    headline: str
    first: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    grounds: list[str] = field(default_factory=list)
    outlook: list[str] = field(default_factory=list)
    outcome: Outcome = Outcome.NONE_MEASURED
    ranking: list[Candidate] = field(default_factory=list)
    behind: dict[str, Interval | None] = field(default_factory=dict)
    so_far: bool = False

    @property
    def details(self) -> list[str]:
        """All that a reader must know to weigh the headline."""
        return [*self.first, *self.alarms, *self.grounds]


@dataclass(frozen=True)
class Candidate:
    """An arm that has finite test likelihoods: its title, its final runs and their mean bits/dim."""

    arm: str
    name: str
    final: Finals
    estimate: Estimate

    @property
    def likelihood(self) -> pd.DataFrame:
        """The rows of test bits/dim, one a seed."""
        return self.final.measured("test", LIKELIHOOD)


def answer(study: Study) -> Answer:
    """The study's answer, whatever its state: from no run at all to several seeds of every arm."""
    found = _answer(study)
    said = ("headline", "first", "alarms", "grounds", "outlook")
    found = replace(found, **{name: in_unit_of(study.results.dataset, getattr(found, name)) for name in said})
    return replace(found, headline=marked(found.headline, study.results.settings))


def _answer(study: Study) -> Answer:
    candidates = _candidates(study)
    if not candidates:
        return Answer(_without_finals(study), _status(study), _alarms(study, []))
    if len(study.arms) == 1:
        return _single_arm(study, candidates[0])
    if len(candidates) == 1:
        only = candidates[0]
        others = [arm for arm in study.arms if arm != only.arm]
        headline = (
            f"Only {_label(study, only)} has been measured on test, at {_level(only.estimate)}; "
            f"{_unmeasured(study, others)}, so there is nothing to compare it with."
        )
        first = [*_beside_codes(study, only), *_about_arms(study, [only]), *_caveats(study, [only]), *_status(study)]
        alarms, known = _alarms(study, [only]), _with_selected(study, headline, [only])
        return Answer(known, first, alarms, _bounds([only]), outcome=Outcome.ONE_MEASURED, ranking=[only])
    return _comparison(study, candidates)


def _candidates(study: Study) -> list[Candidate]:
    """The arms with finite test bits/dim, the lowest mean first."""
    found = []
    for arm in study.arms:
        final = study.finals[arm]
        level = statistics.estimate(final.measured("test", LIKELIHOOD))
        if level is not None:
            found.append(Candidate(arm, study.title(arm), final, level))
    return sorted(found, key=lambda candidate: candidate.estimate.mean)


def _alarms(study: Study, ranked: list[Candidate]) -> list[str]:
    """What the diagnostics found to speak against a result, of the whole study and the lowest arms first."""
    order = ["", *(each.arm for each in ranked)]
    alarms = [finding for finding in findings(study) if finding.alarm]
    alarms.sort(key=lambda alarm: order.index(alarm.arm) if alarm.arm in order else len(order))
    return [alarm.text for alarm in alarms]


def _level(level: Estimate) -> str:
    return quantity(level.mean, level.error, "bits/dim")


def _label(study: Study, candidate: Candidate) -> str:
    """An arm with its family where its name does not say it: ``wide (VAE)``."""
    family = study.family_title(candidate.arm)
    return f"{candidate.name} ({family})" if family else candidate.name


def _with_selected(study: Study, verdict: str, candidates: list[Candidate]) -> str:
    """The verdict, with the sizes and rates that were selected and the arms that were still improving."""
    chosen = selection.selected_with(study, [each.arm for each in candidates])
    return " ".join(filter(None, [verdict, chosen, _improving(study, candidates)]))


def _about_arms(study: Study, candidates: list[Candidate]) -> list[str]:
    """Of each arm what was selected, how far its training had come, and which learning rates come close."""
    courses = [selection.course(study, each.arm) for each in candidates]
    rates = [sentence for each in candidates for sentence in selection.learning_rates(study, each.arm)]
    return [*filter(None, courses), *rates]


def _improving(study: Study, candidates: list[Candidate]) -> str:
    """Which arms longer training could still lower, in a sentence; empty where none."""
    names = []
    for each in candidates:
        improving, seeds = selection.improving_seeds(study, each.arm)
        if improving:
            names.append(each.name if improving == seeds else f"{each.name} (in {improving} of {seeds} seeds)")
    return f"{listing(names)} {'was' if len(names) == 1 else 'were'} still improving at the end." if names else ""


def _so_far(study: Study, candidates: list[Candidate]) -> bool:
    """Whether the verdict is one so far: half of the seeds or more of an arm that may turn it were still improving."""
    counts = [selection.improving_seeds(study, each.arm) for each in candidates]
    return any(0 < seeds <= 2 * improving for improving, seeds in counts)


def _comparison(study: Study, ranked: list[Candidate]) -> Answer:
    low = ranked[0]
    status = [*_caveats(study, ranked), *_without_value(study, ranked), *_status(study)]
    alarms = _alarms(study, ranked)
    units = differences.likelihood_units(study)
    if len(units) > 1:
        headline = f"The arms are not ranked: their test likelihoods are in {listing(units)}."
        grounds = [*_bounds(ranked), *_costs(*ranked[:2]), *_budget(study, ranked), *_about_arms(study, ranked[2:])]
        first = [*_about_arms(study, ranked[:2]), *status]
        return Answer(headline, first, alarms, grounds, outcome=Outcome.NOT_RANKED)
    behind = {each.arm: differences.likelihood(study, each.arm, low.arm) for each in ranked[1:]}
    rival = statistics.rival({arm: math.nan if each is None else each.low for arm, each in behind.items()})
    high = next(each for each in ranked if each.arm == rival)
    pair, rest = [low, high], [each for each in ranked[1:] if each is not high]
    grounds = [*_bounds(ranked), *_costs(low, high), *_budget(study, ranked), *_about_arms(study, rest)]
    others = [*_ranking(study, ranked, high, behind), *_families(study, ranked, high, behind)]
    equal_time = at_equal_time(study, low.arm, high.arm)
    beside = _beside_codes(study, low)
    first = [
        *practical.sentence(study, low.arm, high.arm),
        *equal_time,
        *beside,
        *others,
        *_about_arms(study, pair),
        *status,
    ]
    labels = _label(study, low), _label(study, high)
    levels = f"{labels[0]} reaches {_level(low.estimate)}, {labels[1]} {_level(high.estimate)}"
    interval, outcome = behind[high.arm], Outcome.NO_INTERVAL
    # An arm that leads clearly and still improves only widens its lead.
    so_far = _so_far(study, pair if interval is None or interval.contains_zero else [high])
    at = "at different budgets" if study.at_other_budgets([each.arm for each in pair]) else "at this budget"
    scope = f"on {_dataset(study)} {at}{', so far' if so_far else ''}"
    lowest = "lower" if len(ranked) == 2 else "lowest"
    grounds = [*grounds, practical.ground(study, low.arm, high.arm)]
    if interval is None:
        reason = "no uncertainty is known, so it is open whether they differ"
        headline = _with_selected(study, f"On test {levels} {scope}; {reason}.", pair)
        return Answer(headline, first, alarms, grounds, [], outcome, ranked, behind, so_far)
    value, start, end = formatting.difference(interval.value, interval.low, interval.high)
    if interval.contains_zero:
        outcome = Outcome.UNDECIDED
        headline = (
            f"The data do not decide which arm has the {lowest} test bits/dim {scope}: {levels}; the difference of "
            f"{value} has the 95% interval {start} to {end}, which contains 0."
        )
    else:
        outcome = Outcome.LOWEST
        headline = (
            f"{labels[0]} has the {lowest} test bits/dim {scope}: {quantity(low.estimate.mean, low.estimate.error)} "
            f"against {quantity(high.estimate.mean, high.estimate.error)} for {labels[1]}, lower by {value} "
            f"(95% interval {start} to {end}{'' if interval.over_seeds else ', with seeds not repeated'})."
        )
    grounds = [_method(interval, low, high), *grounds]
    headline, change = _with_selected(study, headline, pair), outlook(study, low.arm, high.arm)
    return Answer(headline, first, alarms, grounds, change, outcome, ranked, behind, so_far)


def _beside_codes(study: Study, best: Candidate) -> list[str]:
    """How an arm's bits/dim compare with the shortest reference code and with the reference model, in a sentence."""
    code, model = best_code(study), reference_model(study)
    beside = [
        *([f"{_beside(best, code)} the shortest of the reference codes takes: {_code_level(code)}"] if code else []),
        *([f"{_beside(best, model)} a small exact model obtains: {_code_level(model)}"] if model else []),
    ]
    if not beside or set(differences.likelihood_units(study)) - {"bits/dim"}:
        return []
    return [f"{best.name}'s {quantity(best.estimate.mean)} bits/dim are{'; and'.join(beside)}."]


def _code_level(code: Code) -> str:
    """A code's name and bits/dim within a sentence."""
    return f"{code.in_words}, at {' '.join(filter(None, [quantity(code.value), code.conditions]))}"


def _beside(best: Candidate, code: Code) -> str:
    """By how much an arm's bits/dim are less or more than a code's, in words."""
    level, gap = best.estimate, code.value - best.estimate.mean
    # Hard images are hard for both, which is left out: the errors are an upper limit.
    errors = np.array([statistics.images_error(best.likelihood), code.error], dtype=float)
    variances, degrees = [float(np.nansum(errors**2))], [math.inf]
    if level.seeds > 1 and level.error is not None:
        variances, degrees = [*variances, level.error**2], [*degrees, level.seeds - 1.0]
    noise = statistics.half_width(variances, degrees)
    share = 100 * abs(gap) / code.value
    size = formatting.number(share, 0) if 1 <= share < 99 else quantity(share)
    return ", within noise, what" if abs(gap) <= noise else f" {size}% {'less' if gap > 0 else 'more'} than"


def _ranking(
    study: Study, ranked: list[Candidate], compared: Candidate, behind: dict[str, Interval | None]
) -> list[str]:
    """The arms that the headline does not compare with the first, each with its distance to that."""
    if len(ranked) == 2:
        return []
    parts = []
    for place, each in enumerate(ranked[1:], start=2):
        if each is compared:
            continue
        part = f"{place}. {each.name} at {_level(each.estimate)}"
        interval = behind[each.arm]
        if interval is not None:
            value, start, end = formatting.difference(interval.value, interval.low, interval.high)
            open_order = ", which contains 0" if interval.contains_zero else ""
            part += f", {value} above the first (95% interval {start} to {end}{open_order})"
        parts.append(part)
    head = (
        "The two lowest are compared. Behind them"
        if compared is ranked[1]
        else f"The lowest arm is compared with {compared.name}, the lowest that is not separated from it. The others"
    )
    has_pairs = all(differences.finite_seeds(study, each.arm) > 1 for each in ranked)
    table = " All pairs are in the table of differences." if has_pairs else ""
    return [f"{head}: {'; '.join(parts)}.{table}"]


def _families(
    study: Study, ranked: list[Candidate], compared: Candidate, behind: dict[str, Interval | None]
) -> list[str]:
    """The best arm of each family, where a family has several arms."""
    best: dict[str, Candidate] = {}
    for each in ranked:
        best.setdefault(study.families[each.arm], each)
    if len(best) < 2 or len(best) == len(ranked):
        return []
    # The first is the lowest of all, so that the distance to it is known.
    (family, _), (other, second) = list(best.items())[:2]
    parts = [f"{study.display(name)}: {each.name} at {_level(each.estimate)}" for name, each in best.items()]
    sentence = f"The best arm of each family: {'; '.join(parts)}."
    interval = behind[second.arm]
    if interval is None or second is compared:
        return [sentence]
    value, start, end = formatting.difference(interval.value, interval.low, interval.high)
    verdict = ", which contains 0: the data do not decide between the families" if interval.contains_zero else ""
    return [
        f"{sentence} The best {study.display(family)} lies {value} below the best {study.display(other)} (95% interval "
        f"{start} to {end}{verdict})."
    ]


def _dataset(study: Study) -> str:
    return formatting.plain(study.results.dataset.get("name", "this data"))


def _method(interval: Interval, low: Candidate, high: Candidate) -> str:
    seeds = f"{count(high.estimate.seeds, 'seed')} of {high.name} and {low.estimate.seeds} of {low.name}"
    if interval.over_seeds and interval.paired:
        return (
            f"The interval covers both another draw of training seeds ({seeds}) and of test images: Welch's t interval "
            "over seeds with the error over images added, paired image by image as both arms are measured on the same "
            "ones. ± is one standard error over seeds."
        )
    if interval.over_seeds:
        return (
            f"The interval is Welch's t interval over training seeds ({seeds}); ± is one standard error over seeds. "
            "Both leave out the uncertainty from the choice of test images, which the arms share."
        )
    repeated = [candidate.name for candidate in (low, high) if candidate.estimate.seeds > 1]
    covered = (
        f"the choice of test images and the seeds of {repeated[0]}" if repeated else "the choice of test images alone"
    )
    pairing = "paired image by image" if interval.paired else "taking the errors of the two arms as independent"
    return (
        f"Seeds were not repeated in both arms ({seeds}), so the interval covers {covered}, {pairing}: how much "
        "another training seed would change is not fully known."
    )


def _bounds(candidates: list[Candidate]) -> list[str]:
    named = {candidate.name: bounds(candidate.likelihood) for candidate in candidates}
    if not any(named.values()):
        return []
    exact = [name for name, kinds in named.items() if kinds and all(kind.startswith("exact") for kind in kinds)]
    sharing: dict[str, list[str]] = {}
    for name, kinds in named.items():
        if name not in exact:
            sharing.setdefault(listing(kinds) or "a bound that was not named", []).append(name)
    sentences = [f"The bits/dim of {listing(exact)} are exact."] if exact else []
    if sharing:
        others = "The others" if exact else "The values"
        words = listing([f"{kind} for {listing(names)}" for kind, names in sharing.items()])
        sentences.append(f"{others} are upper bounds on the true bits/dim of the same discrete images: {words}.")
    samples = {
        candidate.name: sorted({int(k) for k in candidate.likelihood["importance_samples"].dropna()})
        for candidate in candidates
        if candidate.name not in exact
    }
    if len({tuple(ks) for ks in samples.values()}) > 1:
        sentences.append(
            "The number of importance samples k differs between them; more samples tighten a bound, so part of the "
            "difference may come from k."
        )
    if len({float(n) for candidate in candidates for n in candidate.likelihood["n"].dropna()}) > 1:
        sentences.append("The values average different numbers of test images; compare them with care.")
    return sentences


def _costs(low: Candidate, high: Candidate) -> list[str]:
    parts = []
    for split, metric, unit, phrase in (
        ("cost", "training_seconds", "s", "took {ratio} the training time of {other}"),
        ("throughput", "sample_images_per_second", "images/s", "sampled at {ratio} the speed of {other}"),
        ("cost", "parameters", "", "has {ratio} the parameters of {other}"),
    ):
        rows = [candidate.final.measured(split, metric) for candidate in (low, high)]
        shared = [variant for variant in variants(rows[0]) if variant in variants(rows[1])]
        if not shared:
            continue
        pair = [statistics.estimate(shared[0].of(frame)) for frame in rows]
        if pair[0] is None or pair[1] is None or pair[1].mean <= 0:
            continue
        ratio = formatting.ratio(pair[0].mean / pair[1].mean)
        values = [quantity(level.mean, None, unit) for level in pair if level is not None]
        under = "".join(f"; {note}" for note in shared[0].notes)
        parts.append(f"{phrase.format(ratio=ratio, other=high.name)} ({values[0]} against {values[1]}{under})")
    return [f"The cost: {low.name} {listing(parts)}."] if parts else []


def _budget(study: Study, candidates: list[Candidate]) -> list[str]:
    """What "this budget" is: how many trials chose, by hand too, and how many images each final run was trained on."""
    sharing: dict[tuple[int, str], list[str]] = {}
    for candidate in candidates:
        spent = budget.spent(study, candidate.arm)
        ends = dict.fromkeys(f"{each:,}" for each in spent.final_images or ())
        sharing.setdefault((spent.trials, " to ".join(ends)), []).append(candidate.name)
    parts = []
    for (trials, images), names in sharing.items():
        part = f"{count(trials, 'trial')} {'of' if len(names) == 1 else 'each of'} {listing(names)}"
        parts.append(f"{part}, whose final runs saw {images} training images each" if images else part)
    promoted = by_hand(study, [candidate.arm for candidate in candidates])
    seconds = study.results.settings.get("time")
    if isinstance(seconds, int | float) and seconds > 0:
        parts.append(f"the study was given {quantity(seconds, unit='s')}, of which each arm had an equal share")
    return [f"The budget: {'; '.join(parts)}.", *([promoted] if promoted else [])]


def _caveats(study: Study, candidates: list[Candidate]) -> list[str]:
    sentences, is_timed = [], bool(study.results.settings.get("time"))
    if study.at_other_budgets([each.arm for each in candidates]):
        sentences.append(
            "The arms have no final runs of one budget: their values are at different numbers of training images."
        )
    for candidate in candidates:
        if candidate.estimate.excluded:
            n = count(candidate.estimate.excluded, "final run")
            sentences.append(f"{n} of {candidate.name} gave no finite test likelihood and is not in the mean.")
        if candidate.final.superseded:
            sentences.append(
                f"Another trial of {candidate.name} has reached a lower validation bits/dim "
                + (
                    "since its final runs were made; the test values are those of the earlier choice."
                    if not is_timed
                    else "at as many or more images, or since its final runs were made; the test values are those of "
                    "the trial that was expected to be the lowest at the end of its final runs, in whose time a faster "
                    "one sees more images, or those of the earlier choice."
                )
            )
        if candidate.final.left_out:
            n = count(candidate.final.left_out, "final run")
            sentences.append(f"{n} of {candidate.name} (other configuration or budget, or repeated seed) left out.")
    return sentences


def _status(study: Study) -> list[str]:
    """What is still open, so that a partial study never reads as a finished one."""
    frame = study.ended
    running = int((frame["state"] == RunState.RUNNING).sum())
    sentences = [f"{count(running, 'run')} had not ended when this report was made."] if running else []
    lost = frame[(frame["role"] == "final") & ~frame["state"].isin([RunState.COMPLETE, RunState.RUNNING])]
    if len(lost):
        sentences.append(f"{count(len(lost), 'final run')} did not complete ({_ends(lost)}).")
    return sentences


def _without_value(study: Study, candidates: list[Candidate]) -> list[str]:
    """Of the arms that the answer does not compare, why they have no value on test, in a sentence."""
    others = [arm for arm in study.arms if arm not in {each.arm for each in candidates}]
    said = _unmeasured(study, others, "not measured on test yet")
    return [f"Not compared: {said}."] if others else []


def _unmeasured(study: Study, arms: list[str], not_yet: str = "not yet") -> str:
    """Why arms have no value on test: no trial of theirs completed, or it is not measured yet."""
    parts, waiting = [], []
    for arm in arms:
        name, finals = study.title(arm), study.ended[(study.ended["arm"] == arm) & (study.ended["role"] == "final")]
        trials = pd.DataFrame(study.without_trial(arm), columns=["state", "reason"])
        complete = int((finals["state"] == RunState.COMPLETE).sum())
        if len(trials):
            parts.append(f"no trial of {name} completed ({_ends(trials)})")
        elif complete:
            parts.append(f"{count(complete, 'final run')} of {name} gave no finite test likelihood")
        elif len(finals) and not finals["state"].isin(UNENDED).any():
            parts.append(f"no final run of {name} completed ({_ends(finals)})")
        else:
            waiting.append(name)
    return listing([*parts, *([f"{listing(waiting)} {not_yet}"] if waiting else [])])


def _ends(frame: pd.DataFrame) -> str:
    counts = frame["state"].value_counts()
    return listing([f"{counts[state]} {state_name(state)}" for state in sorted(counts.index)])


def _single_arm(study: Study, only: Candidate) -> Answer:
    searched = study.trials
    values = searched.loc[searched["state"] == RunState.COMPLETE, "value"].dropna()
    span, so_far = _over_seeds(only), _so_far(study, [only])
    headline = (
        f"{_label(study, only)} reaches {_level(only.estimate)} on test{f' ({span})' if span else ''}, on "
        f"{_dataset(study)} at this budget{', so far' if so_far else ''}."
    )
    sizes = selection.smaller_sizes(study, only.arm)
    headline = " ".join([_with_selected(study, headline, [only]), *(verdict for verdict, _ in sizes if verdict)])
    sizes_and_codes = [*_beside_codes(study, only), *_about_arms(study, [only]), *(ground for _, ground in sizes)]
    first = [*sizes_and_codes, *_caveats(study, [only]), *_status(study)]
    grounds = [*_seed_interval(only), *_spread(values), *_bounds([only]), *_budget(study, [only])]
    return Answer(
        headline, first, _alarms(study, [only]), grounds, outcome=Outcome.ONE_ARM, ranking=[only], so_far=so_far
    )


def _finite(candidate: Candidate) -> np.ndarray:
    """The finite test bits/dim, one a seed."""
    values = candidate.likelihood["value"].to_numpy(dtype=float)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _over_seeds(only: Candidate) -> str:
    """The 95% interval of the mean over seeds; empty where they give none."""
    values = _finite(only)
    if len(values) < 2 or np.ptp(values) == 0:
        return ""
    _, start, end = formatting.difference(float(values.mean()), *statistics.mean_interval(values))
    return f"95% interval {start} to {end}"


def _seed_interval(only: Candidate) -> list[str]:
    seeds = len(_finite(only))
    if seeds < 2:
        return ["Seeds were not repeated: ± is the standard error over test images alone."]
    if not _over_seeds(only):
        return [f"All {seeds} training seeds gave the same value."]
    return [f"The interval is Student's t over {seeds} training seeds; ± is one standard error over seeds."]


def _spread(values: pd.Series) -> list[str]:
    if len(values) < 2:
        return []
    low, high = float(values.min()), float(values.max())
    return [
        f"Across the {len(values)} complete trials, validation bits/dim went from {quantity(low)} to {quantity(high)}: "
        f"the swept values made a difference of {quantity(high - low)} at most."
    ]


def _without_finals(study: Study) -> str:
    """A true sentence for a study that has no test value yet."""
    searched = study.trials
    frame = study.ended
    if frame.empty:
        return "No run has been logged yet, so there is no answer."
    best = searched[searched["best"]]
    if best.empty:
        return f"No trial has completed with a finite likelihood yet, so there is no answer ({_ends(frame)})."
    levels = []
    for _, row in best.sort_values("value", kind="stable").iterrows():
        number = formatting.plain(row["number"])
        error = float(row["value_error"])
        shown = quantity(float(row["value"]), error if math.isfinite(error) else None)
        levels.append(f"{shown} for {study.title(row['arm'])} (trial {number})")
    finals = study.ended[study.ended["role"] == "final"]
    is_over = len(finals) > 0 and not finals["state"].isin(UNENDED).any()
    head = f"No final run has a finite test likelihood ({_ends(finals)})" if is_over else NOT_YET
    return (
        f"{head}. The lowest validation bits/dim so far: {listing(levels)}; "
        "the choice was made on these values, so they flatter and are no answer."
    )
