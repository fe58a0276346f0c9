"""What speaks against a result: sentences computed from the diagnostics of the final runs, alarms first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.core.metrics import COPIED_FLOOR
from bench.core.trial_ends import none_completed
from reports.analysis import convergence, statistics
from reports.analysis.convergence import State
from reports.analysis.curves import bound_curves
from reports.analysis.extractor import doubtful
from reports.analysis.remedies import against_no_knowledge, remedies
from reports.analysis.results import LIKELIHOOD, select, variants
from reports.analysis.selection import selected
from reports.formatting import count, listing, number, quantity, short, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from reports.analysis.curves import BoundCurve
    from reports.analysis.results import Study

COLLAPSED = 0.5
"""Share of latents without use from which posterior collapse is called out."""
ROUND_TRIP = 0.5
"""Grey levels: an inverse that errs by more gives back another image."""
CONDITION = 1e4
"""Above it a 1x1 convolution loses four of the seven digits of single precision."""
FEW_WEIGHTS = 2.0
"""Below it the bound of an average image rests on one importance weight."""
FLAT = 1e-3
"""Relative change of the bound over a doubling of k below which its curve counts as flat."""
MATERIAL = 0.05
"""Share of the gap between arms from which a change of one arm's likelihood matters."""
COPIED_MORE = 0.01
"""Share of runs of symbols by which samples must copy more than held-out text repeats before it is an alarm."""
FAR_FROM_DATA = 0.25
"""Probability that a sample is nearer to training images below which it lies far from all data."""
OUTSIDE = 0.01
"""Share of pixel values outside the data's range from which the lost probability is called out."""
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


@dataclass(frozen=True)
class Finding:
    """A sentence about an arm's results, or about the whole study's where it names none, and whether it is an alarm."""

    text: str
    alarm: bool = False
    arm: str = ""


def findings(study: Study) -> list[Finding]:
    """All findings of a study, alarms first."""
    curves = {curve.arm: curve for curve in bound_curves(study)}
    found = [*_deleted(study), *_foreign(study), *_extractors(study)]
    for arm in study.arms:
        of_arm = list(_tightness(study, curves[arm], _gap(study, arm))) if arm in curves else []
        for finder in (
            _unanswered,
            _worse_than_uniform,
            _rising,
            _rescued,
            _edges,
            _outlying_seed,
            _outside,
            _broken_samples,
            _weights,
            _collapse,
            _inverse,
            _conditioning,
            _copying,
            _copied_text,
            _out_of_distribution,
        ):
            of_arm += finder(study, arm)
        found += [replace(finding, arm=arm) for finding in of_arm]
    return sorted(found, key=lambda finding: not finding.alarm)


def _values(study: Study, arm: str, split: str, metric: str) -> np.ndarray:
    """The finite values of a metric, one a seed."""
    values = select(study.finals[arm].measurements, split, metric)["value"]
    finite: np.ndarray = values[np.isfinite(values)].to_numpy(dtype=float)
    return finite


def _seeds(values: np.ndarray) -> str:
    return "of one seed" if len(values) == 1 else f"mean over {len(values)} seeds"


def _gap(study: Study, arm: str) -> float | None:
    """How far the mean test bits/dim of an arm are from those of the nearest other; None where there is none."""
    levels = {name: _values(study, name, "test", LIKELIHOOD) for name in study.arms}
    means = {name: float(values.mean()) for name, values in levels.items() if len(values)}
    if arm not in means:
        return None
    return min((abs(mean - means[arm]) for name, mean in means.items() if name != arm), default=None)


def _deleted(study: Study) -> Iterator[Finding]:
    """Runs that somebody deleted in MLflow."""
    count = int(str(study.results.settings.get("deleted_runs", 0)))
    if count:
        runs, are = ("run", "is") if count == 1 else ("runs", "are")
        yield Finding(
            f"{count} {runs} of this study, deleted in MLflow, {are} missing here: restored there (State: Deleted), "
            "the report counts them again.",
            alarm=True,
        )


def _foreign(study: Study) -> Iterator[Finding]:
    """Runs that somebody made below the study's own in MLflow, or whose tags they removed."""
    count = int(str(study.results.settings.get("foreign_runs", 0)))
    if count:
        runs, are, they = ("run", "is", "it is") if count == 1 else ("runs", "are", "they are")
        yield Finding(
            f"{count} {runs} below this study's in MLflow {are} not its own, made by somebody or without its tags: "
            f"{they} not counted here.",
            alarm=True,
        )


def _extractors(study: Study) -> Iterator[Finding]:
    """Networks at chance level, whose features tell one image from another no better than noise does, or maybe so."""
    for skill in doubtful(study).values():
        verdict = (
            f"{count(skill.n, 'image')} {'is' if skill.n == 1 else 'are'} too few to tell this from chance, and "
            "whether its features say anything of an image is open"
            if skill.too_few
            else "Its features say little of an image"
        )
        yield Finding(
            f"{skill.mark.capitalize()}: the {skill.name or 'network'} on whose features sample quality is measured "
            f"predicts {number(100 * skill.accuracy, 1)}% of {count(skill.n, 'validation image')} correctly, and a "
            f"constant prediction {number(100 * skill.chance, 1)}%. {verdict}: do not rely on the scores that the "
            "comparison marks.",
            alarm=True,
        )


def _tightness(study: Study, curve: BoundCurve, gap: float | None) -> Iterator[Finding]:
    """What the last doubling of k changed: noise, nothing that matters, or enough to say that the bound is loose."""
    if len(curve.points) < 2:
        return
    before, last = curve.points.iloc[-2], curve.points.iloc[-1]
    change = float(last["value"] - before["value"])
    size = f"{number(abs(change), 5)} bits/dim ({number(100 * abs(change) / abs(float(last['value'])), 2)}%)"
    course = (
        f"{study.title(curve.arm)}: from k = {int(before['importance_samples'])} to {int(last['importance_samples'])} "
        f"the bound {'fell' if change < 0 else 'rose'} by {size}"
    )
    if abs(change) < FLAT * abs(float(last["value"])):
        yield Finding(f"{course}: it has flattened, and more samples would hardly change the value.")
    elif abs(change) <= 2 * float(last["error"]):
        yield Finding(f"{course}, within two Monte Carlo errors: the samples do not show whether it has flattened.")
    elif gap is not None and abs(change) <= MATERIAL * gap:
        share = number(100 * abs(change) / gap, 1)
        yield Finding(f"{course}: small beside the gap of {quantity(gap)} between the arms ({share}% of it).")
    else:
        yield Finding(
            f"{course}: it has not flattened, so the true bits/dim lies lower than this value by an unknown amount.",
            alarm=True,
        )


def _unanswered(study: Study, arm: str) -> Iterator[Finding]:
    """An arm whose trials have all ended, none of them complete."""
    ends = study.without_trial(arm)
    if ends:
        said = none_completed(study.title(arm), [(state, shortened(reason, LONGEST_REASON)) for state, reason in ends])
        yield Finding(f"No answer: {said}. The arm has no final run.", alarm=True)


def _worse_than_uniform(study: Study, arm: str) -> Iterator[Finding]:
    """Final runs, or the selected trial where there are none, that take more bits than an image of unknown pixels."""
    levels = study.results.dataset.get("grey_levels")
    if not isinstance(levels, int) or levels < 2:
        return
    uniform, final = math.log2(levels), study.finals[arm]
    rows = select(final.measurements, "test", LIKELIHOOD)
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


def _rising(study: Study, arm: str) -> Iterator[Finding]:
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


def _rescued(study: Study, arm: str) -> Iterator[Finding]:
    """Final runs that diverged and took a lower learning rate than the one that was selected."""
    times = _values(study, arm, "cost", "rescues")
    rescued = int((times > 0).sum())
    if rescued:
        yield Finding(
            f"Rescued from divergence: {rescued} of {count(len(times), 'final run')} of {study.title(arm)} "
            f"({count(int(times.sum()), 'rescue')}). Each rescue took a run back to its last evaluation, to repeat "
            "what follows at a third of its learning rate: the selected rate is too high, so sweep lower ones.",
            alarm=True,
        )


def _edges(study: Study, arm: str) -> Iterator[Finding]:
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


def _outlying_seed(study: Study, arm: str) -> Iterator[Finding]:
    """A seed far from all others, by which means and intervals over few seeds mislead."""
    name = study.title(arm)
    values = _values(study, arm, "test", LIKELIHOOD)
    if len(values) < FEWEST_SEEDS:
        return
    times = OUTLYING_OF_THREE if len(values) == FEWEST_SEEDS else OUTLYING
    least = max(OUTLYING_BITS, MATERIAL * (_gap(study, arm) or 0.0))
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


def _outside(study: Study, arm: str) -> Iterator[Finding]:
    name = study.title(arm)
    values = _values(study, arm, "diagnostics", "outside_share")
    if not len(values):
        return
    mean = float(values.mean())
    text = (
        f"{quantity(100 * mean)}% of the pixel values that {name} samples lie outside the range of the data "
        f"({_seeds(values)})"
    )
    if mean > OUTSIDE:
        yield Finding(
            f"Mass outside the data: {text}: this probability is lost to images, and no tighter bound wins it back.",
            alarm=True,
        )
    else:
        yield Finding(f"{text}.")


def _broken_samples(study: Study, arm: str) -> Iterator[Finding]:
    """Generated images that held a value that is not finite."""
    rows = select(study.finals[arm].measurements, "quality", "non_finite_samples")
    rows = rows[np.isfinite(rows["value"]) & (rows["n"] > 0)]
    broken, images = round(float((rows["value"] * rows["n"]).sum())), int(rows["n"].sum())
    if broken:
        share = quantity(100 * broken / images)
        yield Finding(
            f"Broken samples: {broken:,} of {images:,} images that {study.title(arm)} generated ({share}%, "
            f"{count(len(rows), 'seed')}) held values that are not finite. Pictures cross them out, and in "
            "distances of samples from data each counts as one of random values.",
            alarm=True,
        )


def _weights(study: Study, arm: str) -> Iterator[Finding]:
    name = study.title(arm)
    values = _values(study, arm, "test", "effective_sample_size")
    if not len(values):
        return
    rows = select(study.finals[arm].measurements, "test", "effective_sample_size")
    samples = rows["importance_samples"].dropna()
    among = f" of {int(samples.max())}" if len(samples) else ""
    mean = float(values.mean())
    text = f"{name}: the effective sample size of the bound is {quantity(mean)}{among} ({_seeds(values)})"
    if mean < FEW_WEIGHTS:
        yield Finding(f"{text}: the bound rests on single weights and is likely to be loose.", alarm=True)
    else:
        yield Finding(f"{text}.")


def _collapse(study: Study, arm: str) -> Iterator[Finding]:
    name = study.title(arm)
    shares = _values(study, arm, "diagnostics", "collapsed_share")
    active = _values(study, arm, "diagnostics", "active_units")
    if not len(shares) and not len(active):
        return
    latents = study.table("latents", arm).groupby("run_id").size()
    total = f" of {int(latents.iloc[0])}" if len(latents) else ""
    units = f"{round(float(active.mean()), 1):g}{total} latents" if len(active) else "some latents"
    share = f", {number(100 * float(shares.mean()), 0)}% are not" if len(shares) else ""
    text = f"{units} of {name} are active{share} ({_seeds(active if len(active) else shares)})"
    if (len(shares) and shares.mean() >= COLLAPSED) or (len(active) and active.mean() == 0):
        advice = " ".join(remedies(study, arm))
        yield Finding(
            f"Posterior collapse: {text}. The model has latents that it does not use. {advice}".rstrip(), alarm=True
        )
    else:
        yield Finding(f"{text}.")


def _inverse(study: Study, arm: str) -> Iterator[Finding]:
    name = study.title(arm)
    values = _values(study, arm, "diagnostics", "round_trip_error")
    if not len(values):
        return
    worst = quantity(float(values.max()), None, "grey levels")
    if values.max() > ROUND_TRIP:
        yield Finding(
            f"{name} loses images: the flow and its inverse change a held-out image by up to {worst}, so "
            "its likelihood is not that of what it samples.",
            alarm=True,
        )
    else:
        yield Finding(f"{name} gives held-out images back to within {worst} (worst seed).")


def _conditioning(study: Study, arm: str) -> Iterator[Finding]:
    name = study.title(arm)
    values = _values(study, arm, "diagnostics", "condition_number")
    if not len(values):
        return
    table = study.table("convolutions", arm).dropna(subset=["condition_number"])
    where = ""
    if len(table):
        worst = table.sort_values("condition_number", kind="stable").iloc[-1]
        where = f", at level {worst['level']:g}, step {worst['step']:g} counted from 0"
    text = f"the worst conditioned 1x1 convolution of {name} has the condition number {values.max():.3g}{where}"
    if values.max() > CONDITION:
        yield Finding(f"Ill conditioned: {text}; single precision keeps few digits through it.", alarm=True)
    else:
        yield Finding(f"{text[0].upper()}{text[1:]} (worst seed).")


def _with_interval(frame: pd.DataFrame) -> tuple[str, float, float] | None:
    """An AUROC, or a share, in words with its 95% interval: over seeds where there are two, else over images."""
    level = statistics.estimate(frame)
    if level is None:
        return None
    values = frame["value"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if level.seeds >= 2:
        low, high = statistics.mean_interval(values)
    else:
        half = 1.96 * level.error if level.error is not None else math.nan
        low, high = level.mean - half, level.mean + half
    shown = number(level.mean, 3)
    if math.isfinite(low) and high > low:
        ends = f"{number(max(low, 0.0), 3)} to {number(min(high, 1.0), 3)}"  # none lies outside
        shown += f" (95% interval {ends}, {count(level.seeds, 'seed')})"
    return shown, low, high


def _copying(study: Study, arm: str) -> Iterator[Finding]:
    name = study.title(arm)
    rows = select(study.finals[arm].measurements, "quality", "data_copying")
    for variant in variants(rows):
        known = _with_interval(variant.of(rows))
        if known is None:
            continue
        shown, low, high = known
        mean = float(variant.of(rows)["value"].mean())
        samples = f"samples of {name}"
        text = f"{samples} are nearer to training images than held-out images are with probability {shown}"
        stated = f"{text[0].upper()}{text[1:]}; a perfect sampler has 0.5"
        if low > 0.5:
            yield Finding(f"Data copying: {text}; a perfect sampler has 0.5, and well above it is copying.", alarm=True)
        elif high < 0.5 and mean < FAR_FROM_DATA:
            yield Finding(f"{stated}: so far below it, the samples lie far from all data.")
        elif high < 0.5:
            yield Finding(f"{stated}: below it, samples are further from the data than real images are.")
        else:
            yield Finding(f"{stated}.")


def _copied_text(study: Study, arm: str) -> Iterator[Finding]:
    """How much of the samples of a text stands in the training text, and whether held-out text has as much of that."""
    rows, floors = (
        select(study.finals[arm].measurements, "quality", metric) for metric in ("copied_share", COPIED_FLOOR)
    )
    for variant in variants(rows):
        known, floor = _with_interval(variant.of(rows)), variant.of(floors)
        if known is None or floor.empty:
            continue
        held_out, error = (float(floor[name].mean()) for name in ("value", "standard_error"))
        shown, low, _ = known
        about = f" ({variant.conditions})" if variant.conditions else ""
        text = (
            f"of the runs of symbols in samples of {study.title(arm)}, a share of {shown} stands in the training text "
            f"as it is, and of those in held-out windows {number(held_out, 3)}{about}"
        )
        # The same held-out windows for every seed: their error does not fall with the number of seeds.
        if low > held_out + 2 * error + COPIED_MORE:
            yield Finding(f"Copied text: {text}.", alarm=True)
        else:
            yield Finding(f"{text[0].upper()}{text[1:]}.")


def _out_of_distribution(study: Study, arm: str) -> Iterator[Finding]:
    name = study.title(arm)
    rows = select(study.finals[arm].measurements, "out_of_distribution", "auroc")
    for variant in variants(rows):
        known = _with_interval(variant.of(rows))
        if known is None:
            continue
        shown, _, high = known
        other = variant.conditions or "the other data set"
        if high < 0.5:
            yield Finding(
                f"{name} finds {other} likelier than its own held-out data: AUROC {shown}. Its likelihood "
                "is no measure of what belongs to the data (Nalisnick et al. 2019).",
                alarm=True,
            )
        else:
            yield Finding(f"{name} separates its own held-out data from {other} by likelihood with AUROC {shown}.")
