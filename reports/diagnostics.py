"""What speaks against a figure: sentences computed from the diagnostics of the final runs, alarms first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports import statistics
from reports.figures import bound_curves
from reports.formatting import count, display, number, quantity
from reports.study import select, variants

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from reports.figures import BoundCurve
    from reports.study import Study

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


@dataclass(frozen=True)
class Finding:
    """A sentence about a family's figures, and whether it is an alarm."""

    text: str
    alarm: bool = False


def findings(study: Study) -> list[Finding]:
    """All findings of a study, alarms first."""
    curves = {curve.family: curve for curve in bound_curves(study)}
    found: list[Finding] = []
    for family in study.families:
        if family in curves:
            found += _tightness(curves[family])
        for finder in (_weights, _collapse, _inverse, _conditioning, _copying, _out_of_distribution):
            found += finder(study, family)
    return sorted(found, key=lambda finding: not finding.alarm)


def _values(study: Study, family: str, split: str, metric: str) -> np.ndarray:
    """The finite values of a metric, one a seed."""
    values = select(study.finals[family].measurements, split, metric)["value"]
    finite: np.ndarray = values[np.isfinite(values)].to_numpy(dtype=float)
    return finite


def _seeds(values: np.ndarray) -> str:
    return "of one seed" if len(values) == 1 else f"mean over {len(values)} seeds"


def _tightness(curve: BoundCurve) -> Iterator[Finding]:
    """What the last doubling of k changed: noise, nothing that matters, or enough to say that the bound is loose."""
    if len(curve.points) < 2:
        return
    before, last = curve.points.iloc[-2], curve.points.iloc[-1]
    change = float(last["value"] - before["value"])
    size = f"{number(abs(change), 5)} bits/dim ({number(100 * abs(change) / abs(float(last['value'])), 2)}%)"
    course = (
        f"{display(curve.family)}: from k = {int(before['importance_samples'])} to {int(last['importance_samples'])} "
        f"the bound {'fell' if change < 0 else 'rose'} by {size}"
    )
    if abs(change) < FLAT * abs(float(last["value"])):
        yield Finding(f"{course}: it has flattened, and more samples would hardly change the figure.")
    elif abs(change) <= 2 * float(last["error"]):
        yield Finding(f"{course}, within two Monte Carlo errors: the samples cannot tell whether it has flattened.")
    else:
        yield Finding(
            f"{course}: it has not flattened, so the true bits/dim lies lower than the figure by an unknown amount.",
            alarm=True,
        )


def _weights(study: Study, family: str) -> Iterator[Finding]:
    values = _values(study, family, "test", "effective_sample_size")
    if not len(values):
        return
    rows = select(study.finals[family].measurements, "test", "effective_sample_size")
    samples = rows["importance_samples"].dropna()
    among = f" of {int(samples.max())}" if len(samples) else ""
    mean = float(values.mean())
    text = f"{display(family)}: the effective sample size of the bound is {quantity(mean)}{among} ({_seeds(values)})"
    if mean < FEW_WEIGHTS:
        yield Finding(f"{text}: the bound rests on single weights and is likely to be loose.", alarm=True)
    else:
        yield Finding(f"{text}.")


def _collapse(study: Study, family: str) -> Iterator[Finding]:
    shares = _values(study, family, "diagnostics", "collapsed_share")
    active = _values(study, family, "diagnostics", "active_units")
    if not len(shares) and not len(active):
        return
    latents = study.table("latents", family).groupby("run_id").size()
    total = f" of {int(latents.iloc[0])}" if len(latents) else ""
    units = f"{round(float(active.mean()), 1):g}{total} latents" if len(active) else "some latents"
    share = f", {number(100 * float(shares.mean()), 0)}% are not" if len(shares) else ""
    text = f"{units} of {display(family)} are active{share} ({_seeds(active if len(active) else shares)})"
    if (len(shares) and shares.mean() >= COLLAPSED) or (len(active) and active.mean() == 0):
        yield Finding(f"Posterior collapse: {text}. The model has latents that it does not use.", alarm=True)
    else:
        yield Finding(f"{text}.")


def _inverse(study: Study, family: str) -> Iterator[Finding]:
    values = _values(study, family, "diagnostics", "round_trip_error")
    if not len(values):
        return
    worst = quantity(float(values.max()), None, "grey levels")
    if values.max() > ROUND_TRIP:
        yield Finding(
            f"{display(family)} loses images: the flow and its inverse change a held-out image by up to {worst}, so "
            "its likelihood is not that of what it samples.",
            alarm=True,
        )
    else:
        yield Finding(f"{display(family)} gives held-out images back to within {worst} (worst seed).")


def _conditioning(study: Study, family: str) -> Iterator[Finding]:
    values = _values(study, family, "diagnostics", "condition_number")
    if not len(values):
        return
    table = study.table("convolutions", family).dropna(subset=["condition_number"])
    where = ""
    if len(table):
        worst = table.sort_values("condition_number", kind="stable").iloc[-1]
        where = f", at level {worst['level']:g}, step {worst['step']:g} counted from 0"
    text = (
        f"the worst conditioned 1x1 convolution of {display(family)} has the condition number {values.max():.3g}{where}"
    )
    if values.max() > CONDITION:
        yield Finding(f"Ill conditioned: {text}; single precision keeps few digits through it.", alarm=True)
    else:
        yield Finding(f"{text[0].upper()}{text[1:]} (worst seed).")


def _against_half(frame: pd.DataFrame) -> tuple[str, float, float] | None:
    """An AUROC in words with its 95% interval: over seeds where there are two, else over images."""
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
        ends = f"{number(max(low, 0.0), 3)} to {number(min(high, 1.0), 3)}"  # no AUROC lies outside
        shown += f" (95% interval {ends}, {count(level.seeds, 'seed')})"
    return shown, low, high


def _copying(study: Study, family: str) -> Iterator[Finding]:
    rows = select(study.finals[family].measurements, "quality", "data_copying")
    for variant in variants(rows):
        known = _against_half(variant.of(rows))
        if known is None:
            continue
        shown, low, _ = known
        samples = f"samples of {display(family)}"
        text = f"{samples} are nearer to training images than held-out images are with probability {shown}"
        if low > 0.5:
            yield Finding(f"Data copying: {text}; a sampler that copies nothing has 0.5.", alarm=True)
        else:
            yield Finding(f"{text[0].upper()}{text[1:]}; 0.5 is that of a sampler that copies nothing.")


def _out_of_distribution(study: Study, family: str) -> Iterator[Finding]:
    rows = select(study.finals[family].measurements, "out_of_distribution", "auroc")
    for variant in variants(rows):
        known = _against_half(variant.of(rows))
        if known is None:
            continue
        shown, _, high = known
        other = variant.conditions or "the other data set"
        if high < 0.5:
            yield Finding(
                f"{display(family)} finds {other} likelier than its own held-out data: AUROC {shown}. Its likelihood "
                "is no measure of what belongs to the data (Nalisnick et al. 2019).",
                alarm=True,
            )
        else:
            yield Finding(
                f"{display(family)} tells its own held-out data from {other} by likelihood with AUROC {shown}."
            )
