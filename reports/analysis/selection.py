"""What each arm was selected with: its swept values, where they lie in their ranges, and what else does as well.

Notation: two trainings of one configuration from different seeds differ by d ~ N(0, 2 σ²). The final runs estimate σ by
the standard deviation s of their test bits/dim over S seeds, so that |d| stays below t s √2 in 95 of 100 cases, t being
Student's quantile of S - 1 degrees of freedom. Where two trials logged the errors e, e' of their validation values over
images, the noise n of their difference has 1.96 √(e² + e'²) added in squares: that is the most it can be, as the images
are shared. A trial that lies d above another is as good if even d + n is within a margin that matters in practice, and
worse if d exceeds both the noise and the margin; otherwise it is open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from bench.core.results import TRAINING_SETTINGS, RunState
from reports.analysis.results import LIKELIHOOD, UNENDED
from reports.analysis.statistics import LEVEL
from reports.formatting import listing, short

if TYPE_CHECKING:
    from reports.analysis.results import Study

EDGE = 0.02
"""Share of a range of real numbers, by ratio where it is spaced so, that counts as its edge."""
MARGIN = 0.01
"""Share of the selected value from which a difference in bits/dim matters in practice."""
FEWEST_SEEDS = 3
"""Final runs from which the noise between seeds can be estimated."""
FEWEST_TRIALS = 5
"""Complete trials of an arm below which it is open what else does as well."""
MOST_COMPARED = 200
"""Trials that are compared in pairs to find out which settings are sizes."""
SAFEGUARDS = ("clip_norm", "patience", "rescues")
"""Settings of the training that guard it: one at the end of its range does not say that a better model lies beyond."""


@dataclass(frozen=True)
class Selected:
    """A swept parameter of an arm and the value that was selected.

    Attributes:
        parameter: its name in the search space.
        words: its name in a sentence.
        value: what was selected.
        swept: its range as the study logged it; empty where it logged none.
    """

    parameter: str
    words: str
    value: object
    swept: Mapping[str, Any]

    @property
    def edge(self) -> str:
        """``top`` or ``bottom`` where the value lies at an end of its range that is worth moving; else empty."""
        guards = _of_training(self.parameter) and self.parameter.rpartition(".")[2] in SAFEGUARDS
        return "" if guards else _edge(self.swept, self.value)

    @property
    def lies(self) -> str:
        """``at the top`` of its range, or ``near the top`` where the end itself was not chosen; empty at no edge."""
        exact = self.value in (_ends(self.swept) or ())
        return f"{'at' if exact else 'near'} the {self.edge}" if self.edge else ""

    @property
    def range(self) -> str:
        """The ends of its range, or the numbers to choose from, in words; empty for categories."""
        ends = _ends(self.swept)
        if ends is None:
            return ""
        choices = sorted(self.swept.get("values", ()))
        return listing([short(each) for each in choices]) if choices else f"{short(ends[0])} to {short(ends[1])}"

    def __str__(self) -> str:
        return f"{self.words} {short(self.value)}{f' ({self.lies} of its range)' if self.edge else ''}"


def selected(study: Study, arm: str) -> list[Selected]:
    """The swept values of the configuration that the final runs train, those that a reader asks for first."""
    final = study.finals[arm]
    chosen = final.trial if final.trial is not None else None if final.runs.empty else final.runs.iloc[-1]
    if chosen is None:
        return []
    space = study.results.space.get(arm, {})
    return [
        Selected(name, in_words(study, arm, name), chosen[f"param.{name}"], space.get(name, {}))
        for name in in_order(study, arm)
        if not pd.isna(chosen.get(f"param.{name}"))
    ]


def in_words(study: Study, arm: str, parameter: str) -> str:
    """A swept parameter's name in a sentence, such as ``learning rate``."""
    last = parameter.rpartition(".")[2]
    alone = [name.rpartition(".")[2] for name in study.swept(arm)].count(last) < 2
    return (last if alone else parameter).replace("_", " ")


def in_order(study: Study, arm: str) -> list[str]:
    """The swept parameters of an arm: the model's first whole number, the learning rate, its other ones, the rest."""
    names = study.swept(arm)
    kinds = {name: _kind(study, arm, name) for name in names}
    whole = [name for name in names if kinds[name] == "integers" and not _of_training(name)]
    rates = [name for name in names if name.rpartition(".")[2] == "learning_rate"]
    choices = [name for name in names if kinds[name] == "choices"]
    return list(dict.fromkeys([*whole[:1], *rates, *whole, *choices, *names]))


def by_interest(study: Study) -> list[tuple[str, str]]:
    """The swept parameters of all arms in the order of :func:`in_order`, the arms taking turns."""
    names = [[(arm, name) for name in in_order(study, arm)] for arm in study.arms]
    return [pair for row in zip_longest(*names) for pair in row if pair is not None]


def _of_training(parameter: str) -> bool:
    """Whether a parameter is a setting of the training, which no model has."""
    part, _, name = parameter.rpartition(".")
    return part != "model" and name in TRAINING_SETTINGS


def _kind(study: Study, arm: str, parameter: str) -> str:
    """``integers``, ``reals`` or ``choices`` without order, as the range was logged or else as the values say."""
    swept = study.results.space.get(arm, {}).get(parameter)
    if swept and swept["kind"] != "choices":
        return str(swept["kind"])
    runs, column = study.runs, f"param.{parameter}"
    tried = runs.loc[runs["arm"] == arm, column].dropna() if column in runs else pd.Series(dtype=object)
    values = swept["values"] if swept else list(tried)
    if not all(map(_is_number, values)):
        return "choices"
    return "integers" if all(float(value).is_integer() for value in values) else "reals"


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _ends(swept: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The ends of a range, or the smallest and largest of numbers to choose from; None where there is no order."""
    if not swept:
        return None
    if swept["kind"] != "choices":
        return swept["low"], swept["high"]
    values = swept["values"]
    return (min(values), max(values)) if all(map(_is_number, values)) else None


def _edge(swept: Mapping[str, Any], value: object) -> str:
    """At which end of a range a value lies: not where the end is 0, or the whole number 1, from above."""
    ends = _ends(swept)
    if ends is None or not _is_number(value) or not ends[0] < ends[1]:
        return ""
    low, high, here = map(float, (*ends, value))
    smallest = low == 0 or (low == 1 and swept["kind"] != "reals")
    if swept["kind"] != "reals":
        return "top" if here >= high else "bottom" if here <= low and not smallest else ""
    if swept["log"] and here > 0:
        low, high, here = math.log(low), math.log(high), math.log(here)
    margin = EDGE * (high - low)
    if here >= high - margin:
        return "top"
    return "bottom" if here <= low + margin and not smallest else ""


def is_size(study: Study, arm: str, parameter: str) -> bool:
    """Whether a whole number of the model costs parameters, as the trials show it.

    Of two trials the one with the larger value has more parameters, although no other whole number of the model is
    larger in it and no category differs: nothing else can be the cause, where such numbers add parameters or none, and
    real numbers, such as dropout, none. A pair in which the larger value comes with fewer, although no other number is
    smaller, says that this does not hold here.
    """
    if _kind(study, arm, parameter) != "integers" or _of_training(parameter):
        return False
    trials = study.trials[study.trials["arm"] == arm]
    trials = trials.assign(weights=trials["run_id"].map(_weights(study)), x=_numbers(trials, parameter))
    trials = trials.dropna(subset=["weights", "x"]).head(MOST_COMPARED)
    x, weights = (trials[name].to_numpy(dtype=float) for name in ("x", "weights"))
    pairs = x[:, None] < x
    more, fewer = weights[:, None] < weights, weights[:, None] > weights
    no_larger, no_smaller = pairs, pairs
    for other in study.swept(arm):
        kind = _kind(study, arm, other)
        if other == parameter or kind == "reals" or _of_training(other) or f"param.{other}" not in trials:
            continue
        if kind == "choices":
            category = trials[f"param.{other}"].astype(str).to_numpy()
            larger = smaller = category[:, None] != category
        else:
            here = _numbers(trials, other).to_numpy(dtype=float)
            absent = np.isnan(here)
            differ = absent[:, None] != absent
            larger, smaller = differ | (here[:, None] < here), differ | (here[:, None] > here)
        no_larger, no_smaller = no_larger & ~larger, no_smaller & ~smaller
    return bool((no_larger & more).any() and not (no_smaller & fewer).any())


def _weights(study: Study) -> pd.Series:
    """The number of parameters of each run's model, by run."""
    return study.measured("cost", "parameters").set_index("run_id")["value"]


def _numbers(trials: pd.DataFrame, parameter: str) -> pd.Series:
    column = trials.get(f"param.{parameter}", pd.Series(np.nan, index=trials.index))
    return pd.to_numeric(column, errors="coerce")


@dataclass(frozen=True)
class Alternatives:
    """The trials that may stand in place of the selected one, and how far they lie above it.

    Attributes:
        value: what was selected of the parameter in question.
        noise: bits/dim by which two trainings of one configuration differ at most, in 95 of 100 cases; None where
            there are too few seeds or complete trials to say, or all seeds gave the same value.
        seeds: number of final runs with a test value.
        trials: number of complete trials of the arm.
        selected: the selected trial.
        others: the ended trials, with ``x`` (their value of the parameter), and for complete ones ``above`` (by how
            much their validation bits/dim lies above) and ``noise`` (of that difference, over seeds and images).
    """

    value: float
    noise: float | None
    seeds: int
    trials: int
    selected: pd.Series
    others: pd.DataFrame

    @property
    def margin(self) -> float:
        """Bits/dim from which a difference matters in practice."""
        return MARGIN * abs(float(self.selected["value"]))

    @property
    def complete(self) -> pd.DataFrame:
        """Those of the others that completed."""
        return self.others[self.others["state"] == RunState.COMPLETE]

    @property
    def lost(self) -> pd.DataFrame:
        """Those that were pruned, diverged or failed."""
        return self.others[self.others["state"] != RunState.COMPLETE]

    @property
    def over_images(self) -> bool:
        """Whether the noise covers the choice of validation images too."""
        return bool(self.complete["value_error"].notna().any())

    @property
    def as_good(self) -> pd.DataFrame:
        """Those that lie within the margin even if noise made them look better than they are."""
        return self.complete[self.complete["above"] + self.complete["noise"] <= self.margin]

    @property
    def close(self) -> pd.DataFrame:
        """Those that lie within both the margin and the noise, be the noise large or not."""
        return self.complete[self.complete["above"] <= np.minimum(self.complete["noise"], self.margin)]

    @property
    def worse(self) -> pd.DataFrame:
        """Those that lie beyond both."""
        return self.complete[self.complete["above"] > np.maximum(self.complete["noise"], self.margin)]


def smaller(study: Study, arm: str, parameter: str) -> Alternatives | None:
    """The trials with a smaller value of a size, and fewer parameters where they completed.

    None where the parameter is no size, or the final runs are not those of the best trial.
    """
    if not is_size(study, arm, parameter):
        return None
    known = _alternatives(study, arm, parameter)
    if known is None:
        return None
    others = known.others[known.others["x"] < known.value]
    fewer = others["weights"] < known.selected["weights"]
    return replace(known, others=others[fewer | (others["state"] != RunState.COMPLETE)])


def rates(study: Study, arm: str) -> Alternatives | None:
    """The trials with other learning rates; None where anything else was swept, so that trials differ in more."""
    names = study.swept(arm)
    if len(names) != 1 or names[0].rpartition(".")[2] != "learning_rate":
        return None
    return _alternatives(study, arm, names[0])


def reach(known: Alternatives) -> tuple[list[float], list[float]]:
    """The values that came close to the selected one: those around it without a gap, and those beyond a gap.

    A gap is a value of which any trial did not come close, be it complete, pruned, diverged or failed.
    """
    ids = set(known.close["run_id"])
    close = {float(str(x)): set(trials) <= ids for x, trials in known.others.groupby("x")["run_id"]}
    close[known.value] = True
    runs = [list(run) for is_close, run in groupby(sorted(close), close.__getitem__) if is_close]
    around = next(run for run in runs if known.value in run)
    return around, [value for run in runs if run is not around for value in run]


def _alternatives(study: Study, arm: str, parameter: str) -> Alternatives | None:
    """All ended trials of an arm beside the selected one; None where that is not the best, or has no value."""
    final = study.finals[arm]
    frame = study.trials[(study.trials["arm"] == arm) & ~study.trials["state"].isin(UNENDED)]
    frame = frame.assign(x=_numbers(frame, parameter), weights=frame["run_id"].map(_weights(study)))
    frame = frame[frame["x"].notna() & (frame["value"].notna() | (frame["state"] != RunState.COMPLETE))]
    if final.superseded or final.trial is None or final.trial["state"] != RunState.COMPLETE:
        return None
    if final.trial["run_id"] not in set(frame["run_id"]):
        return None
    own = frame[frame["run_id"] == final.trial["run_id"]].iloc[0]
    complete = frame["state"] == RunState.COMPLETE
    noise, seeds = _noise(study, arm, int(complete.sum()))
    errors = pd.to_numeric(frame["value_error"], errors="coerce")
    of_both = np.hypot(errors, errors[own.name])
    of_images = stats.norm.ppf((1 + LEVEL) / 2) * of_both.fillna(0.0)
    frame = frame.assign(
        above=(frame["value"] - own["value"]).where(complete),
        noise=np.hypot(math.nan if noise is None else noise, of_images),
    )
    others = frame[frame["run_id"] != own["run_id"]]
    return Alternatives(float(own["x"]), noise, seeds, int(complete.sum()), own, others)


def _noise(study: Study, arm: str, trials: int) -> tuple[float | None, int]:
    values = study.finals[arm].measured("test", LIKELIHOOD)["value"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < FEWEST_SEEDS or trials < FEWEST_TRIALS or np.ptp(values) == 0:
        return None, len(values)
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return quantile * math.sqrt(2) * float(values.std(ddof=1)), len(values)
