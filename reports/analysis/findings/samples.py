"""Findings of what an arm samples, and of what it finds likely."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.core.metrics import COPIED_FLOOR
from reports.analysis import statistics
from reports.analysis.findings.finding import Finding
from reports.analysis.results import variants
from reports.formatting import count, number, quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from reports.analysis.results import Study

COPIED_MORE = 0.01
"""Share of runs of symbols by which samples must copy more than held-out text repeats before it is an alarm."""
FAR_FROM_DATA = 0.25
"""Probability that a sample is nearer to training images below which it lies far from all data."""


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


def broken_samples(study: Study, arm: str) -> Iterator[Finding]:
    """Generated images that held a value that is not finite."""
    rows = study.finals[arm].measured("quality", "non_finite_samples")
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


def copying(study: Study, arm: str) -> Iterator[Finding]:
    """Whether samples are nearer to training images than held-out images are."""
    name = study.title(arm)
    rows = study.finals[arm].measured("quality", "data_copying")
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


def copied_text(study: Study, arm: str) -> Iterator[Finding]:
    """How much of the samples of a text stands in the training text, and whether held-out text has as much of that."""
    rows, floors = (study.finals[arm].measured("quality", metric) for metric in ("copied_share", COPIED_FLOOR))
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


def out_of_distribution(study: Study, arm: str) -> Iterator[Finding]:
    """Whether another data set is likelier than the held-out data of the model's own."""
    name = study.title(arm)
    rows = study.finals[arm].measured("out_of_distribution", "auroc")
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
