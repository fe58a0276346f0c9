"""How often the intervals of learning-curve forecasts hold the truth: ``make benchmark-forecasts``.

Synthetic curves have known courses, asymptotes and crossings; logged ones are cut, and their end is forecast. Writes
``forecast_coverage.csv`` and ``.md``.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bench.runtime.provenance import commit
from reports.analysis.arm_forecasts import HORIZON_SCHEDULES
from reports.analysis.forecast import FARTHEST, Fit, Unfit, crossing, fit

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "reports" / "benchmarks"
PUBLISHED, RECIPES = ROOT / "reports" / "published" / "curves.csv", OUTPUT / "recipes.csv"
CURVES, SEED = 200, 2
"""Of each noise; priors were chosen by the curves of other seeds."""
NOISES = {"low": 0.0002, "medium": 0.0006, "high": 0.003}
"""Standard deviation of an evaluation, as a share of its value: about the 25, 60 and 85% quantiles of logged curves."""
SHAPES = ("power law", "late start", "power law", "two laws")
HORIZONS = (2.0, 4.0, 8.0)
CROSSING, NONE, PAIR = "crossing", "none", "pair"
QUANTITIES = (*(f"at {horizon:g} times the budget" for horizon in HORIZONS), "asymptote")
HIDDEN = {"second half": 0.5, "last three quarters": 0.25}
COLUMNS = [
    *("source", "group", "shape", "curve", "seeds", "evaluations", "quantity"),
    *("truth", "value", "low", "high", "held", "last", "reason"),
]


@dataclass(frozen=True)
class Synthetic:
    """Runs of an arm on power laws of their own, with autocorrelated noise.

    Attributes:
        images: training images at each evaluation.
        values: what was measured, ``(runs, evaluations)``.
        later: what would be measured after that, to the last of `HORIZONS`, as often.
        asymptotes: of each run.
        gaps: of each run, at the end of the measured range.
        exponents: of each run.
        noise: standard deviation of an evaluation.
        shape: one of `SHAPES`.
        part: of a late start, by how much of the measured range; of two laws, the share of the faster one.
    """

    images: np.ndarray
    values: np.ndarray
    later: np.ndarray
    asymptotes: np.ndarray
    gaps: np.ndarray
    exponents: np.ndarray
    noise: float
    shape: str
    part: float

    def each(self, times: np.ndarray) -> np.ndarray:
        """The course of each run at so many times the measured range."""
        t = np.asarray(times, dtype=float)[:, None]
        if self.shape == "late start":
            law = ((t + self.part) / (1 + self.part)) ** -self.exponents
        elif self.shape == "two laws":
            law = (1 - self.part) * t**-self.exponents + self.part * t ** -(2.5 * self.exponents)
        else:
            law = t**-self.exponents
        return self.asymptotes + self.gaps * law

    def best(self, times: float) -> float:
        """The lowest value of the mean curve that would be measured until so many times the measured range."""
        mean = np.concatenate([self.values, self.later], axis=1).mean(axis=0)
        return float(mean[: round(times * len(self.images))].min())

    def course(self, times: np.ndarray) -> np.ndarray:
        """The mean curve at so many times the measured range."""
        return self.each(times).mean(axis=1)


def synthetic(rng: np.random.Generator, noise: float, shape: str, other: Synthetic | None = None) -> Synthetic:
    """An arm of realistic size; where ``other`` is given, one that mostly crosses it within twice the budget.

    The gain over the last doubling is 0.4 to 6% of the value, as of nine in ten logged curves.
    """
    evaluations = int(rng.choice([12, 20, 40, 100])) if other is None else other.values.shape[1]
    runs = int(rng.choice([1, 2, 3, 5])) if other is None else len(other.values)
    level = rng.uniform(0.2, 4.0) if other is None else float(other.course(np.ones(1))[0])
    exponent, part = rng.uniform(0.3, 1.6), rng.uniform(0.02, 0.2 if shape == "late start" else 0.5)
    gap = min(level * np.exp(rng.uniform(np.log(0.004), np.log(0.06))) / (2**exponent - 1), 0.9 * level)
    gaps = gap * np.exp(0.05 * rng.standard_normal(runs))
    exponents = exponent * np.exp(0.02 * rng.standard_normal(runs))
    offsets = 0.003 * level * rng.standard_normal(runs)
    arm = Synthetic(
        *(np.empty(0), np.empty((runs, 0)), np.empty((runs, 0))),
        *(level - gap + offsets, gaps, exponents, noise * level, shape, part),
    )
    if other is not None:
        # Equal at a drawn place, three in ten times beyond what is forecast.
        at = np.exp(rng.uniform(np.log(1.1), np.log(2.6), 1))
        shift = float((other.course(at) - arm.course(at))[0])
        arm = replace(arm, asymptotes=np.maximum(arm.asymptotes + shift, 0.0))
    t = np.arange(1, int(HORIZONS[-1]) * evaluations + 1) / evaluations
    rho, errors = rng.uniform(0.0, 0.9), rng.standard_normal((runs, len(t)))
    for after in range(1, len(t)):
        errors[:, after] = rho * errors[:, after - 1] + np.sqrt(1 - rho**2) * errors[:, after]
    values, later = np.split(arm.each(t).T + arm.noise * errors, [evaluations], axis=1)
    return replace(arm, images=1000.0 * evaluations * t[:evaluations], values=values, later=later)


def true_crossing(first: Synthetic, second: Synthetic) -> float:
    """How many times the budget it takes until the mean curves cross; inf where that is beyond `FARTHEST`."""
    times = np.geomspace(1.0, FARTHEST, 20_001)
    apart = first.course(times) - second.course(times)
    changed = np.flatnonzero(np.sign(apart) != np.sign(apart[0]))
    return float(times[changed[0]]) if len(changed) else np.inf


def on_synthetic(curves: int = CURVES, noises: Iterable[str] = tuple(NOISES), seed: int = SEED) -> pd.DataFrame:
    """Forecasts of pairs of synthetic arms, ``curves`` arms of each noise: rows of `COLUMNS`."""
    rows = []
    for noise, pair in itertools.product(noises, range(curves // 2)):
        rng = np.random.default_rng([seed, pair])
        shapes = [str(each) for each in rng.choice(SHAPES, 2)]
        first = synthetic(rng, NOISES[noise], shapes[0])
        pairs = [first, synthetic(rng, NOISES[noise], shapes[1], first)]
        found = [fit(arm.images, arm.values) for arm in pairs]
        about = {"source": "synthetic", "group": noise, "seeds": len(first.values)}
        about |= {"evaluations": len(first.images)}
        for number, (arm, result) in enumerate(zip(pairs, found, strict=True)):
            own = about | {"curve": f"{2 * pair + number}", "shape": arm.shape, "last": float(arm.values[:, -1].mean())}
            truths = [*map(arm.best, HORIZONS), float(arm.asymptotes.mean())]
            if isinstance(result, Unfit):
                rows.append(own | {"quantity": NONE, "reason": result.reason})
                continue
            forecasts = np.column_stack([result.at(result.end * np.array(HORIZONS)), result.limit()]).T
            for quantity, truth, forecast in zip(QUANTITIES, truths, forecasts, strict=True):
                rows.append(own | _row(quantity, truth, *forecast))
        if isinstance(found[0], Fit) and isinstance(found[1], Fit):
            place = crossing(found[0], found[1])
            places = np.array([place.budget, place.low, place.high]) / place.start
            rows.append(
                about
                | {"curve": f"{2 * pair}", "shape": PAIR, "last": 1.0}
                | _row(CROSSING, true_crossing(*pairs), *places)
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(quantity: str, truth: float, value: float, low: float, high: float) -> dict[str, object]:
    return {
        "quantity": quantity,
        "truth": truth,
        "value": value,
        "low": low,
        "high": high,
        "held": low <= truth <= high,
    }


def logged() -> Iterator[tuple[str, str, str, np.ndarray, np.ndarray]]:
    """Logged curves: source, name, schedule of the learning rate, images and validation values of one run each."""
    frame = pd.read_csv(PUBLISHED)
    obtained = pd.read_csv(PUBLISHED.with_name("obtained.csv")).set_index("run_id")["config"].map(json.loads)
    for (model, run), part in frame.groupby(["model", "run_id"], sort=False):
        part = part.sort_values("images")
        images, values = (part[name].to_numpy(dtype=float) for name in ("images", "validation/bits_per_dim"))
        yield "published models", f"{model} {str(run)[:6]}", obtained[run]["training"]["decay"], images, values
    frame = pd.read_csv(RECIPES).dropna(subset=["value"])
    frame["decay"] = [json.loads(text).get("decay") or "constant" for text in frame["configuration"]]
    keys = ["group", "case", "data", "metric", "seed", "decay", "configuration"]
    for key, part in frame.groupby(keys, sort=False):
        part = part.sort_values("images_seen").drop_duplicates("images_seen")
        images, values = (part[name].to_numpy(dtype=float) for name in ("images_seen", "value"))
        yield "recipes", ", ".join(map(str, key[:4])), str(key[5]), images, values


def on_logged() -> pd.DataFrame:
    """Forecasts of the end of logged curves from their beginning: rows of `COLUMNS`."""
    rows = []
    for (source, name, decay, images, values), (hidden, share) in itertools.product(logged(), HIDDEN.items()):
        seen = images <= share * images[-1] * (1 + 1e-9)
        if not seen.any():
            continue
        about = {"source": source, "group": hidden, "shape": decay, "curve": name, "seeds": 1}
        about |= {"evaluations": int(seen.sum()), "last": values[seen][-1]}
        result = fit(images[seen], values[None, seen])
        if isinstance(result, Unfit):
            rows.append(about | {"quantity": NONE, "truth": values.min(), "reason": result.reason})
        else:
            rows.append(about | _row("end", values.min(), *result.at(images[-1:])[:, 0]))
    return pd.DataFrame(rows, columns=COLUMNS)


def rates(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Of forecasts, by some columns: how many, the share that holds the truth, and the median width."""
    made = frame[frame["quantity"] != NONE]
    width = (made["high"] - made["low"]) / made["last"]
    made = made.assign(
        held=made["held"].astype(float), width=width, error=(made["value"] - made["truth"]).abs() / made["last"]
    )
    made = made.assign(change=(made["last"] - made["truth"]).abs() / made["last"])
    grouped = made.groupby(by, sort=False)
    return grouped.agg(
        forecasts=("held", "size"),
        held=("held", "mean"),
        width=("width", "median"),
        error=("error", "median"),
        change=("change", "median"),
    )


def page(frame: pd.DataFrame, about: str) -> str:
    """The page, Markdown."""
    made_up = frame["source"] == "synthetic"
    ends = frame["shape"].isin(HORIZON_SCHEDULES)
    curves = frame.loc[made_up, "curve"].nunique()
    noises = ", ".join(f"{name} {value:.2%}" for name, value in NOISES.items())
    parts = [
        "# Coverage of learning-curve forecasts",
        f"`python -m tests.benchmarks.forecast_coverage`, {about}. All forecasts are in "
        "[forecast_coverage.csv](forecast_coverage.csv). An interval is meant to hold the truth 95 times in 100.",
        "## Synthetic curves",
        f"{curves} curves at each of three noise levels, in pairs that cross, of 1 to 5 seeds and 12 to 100 "
        "evaluations. Asymptotes, gaps and exponents differ by seed, and noise is correlated from one evaluation to "
        "the next by 0 to 0.9. About half of the curves follow the power law that is fitted; a quarter begins late, "
        "(t + t0)^-c, as after a warm-up; a quarter is the sum of two power laws. Noise, as a share of the value: "
        f"{noises}. The truth at a budget is the lowest value of the mean curve that would be measured until then. A "
        f"crossing beyond {FARTHEST:g} times the budget counts as none, which an interval may hold: where most do, "
        "their width is given as none. Reports forecast to twice the budget and no farther. The priors were chosen "
        "with other draws of such curves, and with the logged ones below, in view.",
        _crosstab(frame[made_up], "group", list(NOISES)),
        _crosstab(frame[made_up], "shape", list(dict.fromkeys(SHAPES))),
        _refusals(frame[made_up]),
        "## Logged curves",
        "Runs of [recipes.csv](recipes.csv) and [published models](../published/curves.csv), one seed each, of which "
        "the end is hidden and its lowest value so far forecast from the rest. Width of the interval, error of its "
        "median, and the change that was hidden are medians, as shares of the last value seen. Many of the "
        "recipes' runs are of one model on the same data with one setting changed: they are alike, and their rates "
        "are less certain than their number suggests. Where an interval misses, the curve mostly gained less than was "
        "forecast, as curves do that approach overfitting.",
        _logged_table(frame[~made_up & ~ends]),
        _refusals(frame[~made_up & ~ends]),
        "Of schedules that end with the budget (cosine, staged), of which reports make no forecast, as a curve's last "
        "part is what no earlier part shows:",
        _logged_table(frame[~made_up & ends]),
        _refusals(frame[~made_up & ends]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' --: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _crosstab(frame: pd.DataFrame, by: str, order: list[str]) -> str:
    """The share held of each quantity, by a column."""
    cells, every = rates(frame, ["quantity", by]), rates(frame, ["quantity"])
    rows = []
    for quantity in (*QUANTITIES, CROSSING):
        counted = [*(cells.loc[(quantity, name)] if (quantity, name) in cells.index else None for name in order)]
        counted.append(every.loc[quantity])
        shares = ["" if each is None else f"{each['held']:.1%} of {int(each['forecasts'])}" for each in counted]
        width = every.loc[quantity, "width"]
        rows.append([quantity, *shares, "none" if np.isinf(width) else f"{width:.3g}"])
    return _table(["truth held", *order, "all", "median width, relative"], rows)


def _logged_table(frame: pd.DataFrame) -> str:
    rows = [
        [f"{source}, {hidden} hidden", f"{int(row['forecasts'])}", f"{row['held']:.0%}"]
        + [f"{row[name]:.2%}" for name in ("width", "error", "change")]
        for (source, hidden), row in rates(frame, ["source", "group"]).iterrows()
    ]
    return _table(["curves", "forecasts", "truth held", "width", "error", "hidden change"], rows)


def _refusals(frame: pd.DataFrame) -> str:
    """How many curves were not forecast, and why."""
    refused = frame[frame["quantity"] == NONE]
    # One reason counts the evaluations of each curve.
    reason = refused["reason"].str.replace(
        r"there (is|are) \d+ evaluations?", "there are fewer evaluations", regex=True
    )
    counts = refused.assign(reason=reason).groupby(["group", "reason"], sort=False).size()
    parts = [f"{count} ({group}): {reason}" for (group, reason), count in counts.items()]
    return f"Not forecast: {'; '.join(parts)}." if parts else ""


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=CURVES, help="synthetic curves of each noise")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the results")
    options = parser.parse_args()
    frame = pd.concat([on_synthetic(options.curves), on_logged()], ignore_index=True)
    options.output.mkdir(parents=True, exist_ok=True)
    frame.to_csv(options.output / "forecast_coverage.csv", index=False, float_format="%.6g")
    text = page(frame, f"commit {commit()[:12]}")
    (options.output / "forecast_coverage.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
