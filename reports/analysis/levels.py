"""What each arm reached in each metric: the numbers of the comparison, from which text, tables and files are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.metrics import FLOOR_SUFFIX
from reports.analysis import statistics
from reports.analysis.extractor import doubtful
from reports.analysis.results import bound_name, in_order, metric_of, select, variants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.metrics import Metric
    from reports.analysis.extractor import Skill
    from reports.analysis.results import Study, Variant
    from reports.analysis.statistics import Estimate


@dataclass(frozen=True)
class StatedBound:
    """The bound that a value is, as it was logged; ``text`` says it in words."""

    kind: str
    importance_samples: int | None
    dequantisation: str | None
    text: str


@dataclass(frozen=True)
class Level:
    """What the final runs of one arm reached in one metric under one set of conditions.

    Attributes:
        arm: the arm.
        unit: of the numbers.
        on_test: whether they are of the test split.
        measured: final runs that have a value, finite or not.
        runs: final runs of the arm.
        estimate: mean and standard error over the finite values; None where there is none.
        over_seeds: the 95% interval of the mean over training seeds, on test; None where seeds do not give one.
        images_error: standard error over test images, on test and beside one over seeds; None where it is not known.
        monte_carlo_error: of the bound, on test; None where it is not known.
        sizes: the numbers of images or windows that the values average, but for sample quality, where the conditions
            say it.
        bounds: the different bounds that the values are.
        floor: what real images score under the same conditions; None where that was not measured.
    """

    arm: str
    unit: str
    on_test: bool
    measured: int
    runs: int
    estimate: Estimate | None
    over_seeds: tuple[float, float] | None
    images_error: float | None
    monte_carlo_error: float | None
    sizes: list[int]
    bounds: list[StatedBound]
    floor: Estimate | None


@dataclass(frozen=True)
class Measured:
    """One metric under one set of conditions: what each arm reached.

    Attributes:
        split: its split, or its group where it has none.
        about: what the metric is.
        variant: the conditions.
        warning: why the values are not to be relied on; empty where nothing speaks against them.
        mixed: whether the arms' values have different units.
        levels: one an arm, in the study's order.
    """

    split: str
    about: Metric
    variant: Variant
    warning: str
    mixed: bool
    levels: list[Level]


def measured(study: Study) -> list[Measured]:
    """Every metric and set of conditions that some final run measured, splits together and in the page's order."""
    finals = [final.measurements for final in study.finals.values()]
    everything = pd.concat(finals) if finals else study.measurements
    weak = doubtful(study)
    found = []
    for split in (split for split in in_order(study) if split not in ("train", "validation")):
        of_split = everything[everything["split"] == split]
        found += [
            _measured(study, split, metric, variant, warning(metric, variant, weak))
            for metric in statistics.metric_order(set(map(str, of_split["metric"])), of_split["size"].max())
            if not metric.endswith(FLOOR_SUFFIX)
            for variant in variants(select(of_split, split, metric))
        ]
    return found


def warning(metric: str, variant: Variant, weak: Mapping[str, Skill]) -> str:
    """That a score rests on an extractor that does not clearly beat chance; empty where it does not."""
    rests = variant.conditions in weak and not metric.startswith("extractor_")
    return weak[variant.conditions].mark if rests else ""


def _measured(study: Study, split: str, name: str, variant: Variant, against: str) -> Measured:
    frames = {arm: variant.of(final.measured(split, name)) for arm, final in study.finals.items()}
    together = pd.concat(frames.values())
    about, mixed = metric_of(name, together), together["unit"].dropna().nunique() > 1
    levels = []
    for arm, frame in frames.items():
        own = str(frame["unit"].dropna().iloc[0]) if mixed and frame["unit"].notna().any() else about.unit
        floors = study.finals[arm].measured(split, name + FLOOR_SUFFIX)
        levels.append(_level(arm, frame, own, len(study.finals[arm].runs), _floor(floors, variant)))
    return Measured(split, about, variant, against, mixed, levels)


def _level(arm: str, frame: pd.DataFrame, unit: str, runs: int, floor: Estimate | None) -> Level:
    finite = frame[np.isfinite(frame["value"])]
    values = finite["value"].to_numpy(dtype=float)
    on_test = bool(len(values)) and bool((frame["split"] == "test").all())
    spread = on_test and len(values) > 1 and float(np.ptp(values)) > 0
    return Level(
        arm=arm,
        unit=unit,
        on_test=on_test,
        measured=len(frame),
        runs=runs,
        estimate=statistics.estimate(frame),
        over_seeds=statistics.mean_interval(values) if spread else None,
        images_error=_known(statistics.images_error(finite)) if on_test and len(values) > 1 else None,
        monte_carlo_error=_known(statistics.monte_carlo_error(finite)) if on_test else None,
        sizes=sorted({int(n) for n in frame.loc[frame["size"].isna(), "n"].dropna()}),
        bounds=_bounds(frame),
        floor=floor,
    )


def _known(error: float) -> float | None:
    return error if np.isfinite(error) else None


def _bounds(frame: pd.DataFrame) -> list[StatedBound]:
    """The different bounds among some measurements."""
    found: dict[str, StatedBound] = {}
    for _, row in frame.iterrows():
        text, samples, noise = bound_name(row), row["importance_samples"], row["dequantisation"]
        if text:
            k = None if pd.isna(samples) else int(samples)
            found.setdefault(text, StatedBound(str(row["bound"]), k, None if pd.isna(noise) else str(noise), text))
    return list(found.values())


def _floor(frame: pd.DataFrame, variant: Variant) -> Estimate | None:
    """What real images score under the same conditions: the same for every seed, with its error over redraws."""
    same = frame[frame["conditions"] == variant.conditions]
    sized = variant.of(frame)
    known = same if sized.empty else sized
    level = statistics.estimate(known)
    if level is None:
        return None
    error = float(known["standard_error"].mean())
    return statistics.Estimate(level.mean, error if np.isfinite(error) else None, level.seeds, level.excluded)
