"""What to try against posterior collapse, with what it did on this very study, and where an arm has learnt nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.core.results import RunState
from bench.core.warmups import long_warmups
from reports.analysis import convergence, statistics
from reports.analysis.convergence import State
from reports.analysis.results import LIKELIHOOD, select
from reports.formatting import count, listing, plain, quantity, short

if TYPE_CHECKING:
    from reports.analysis.results import Study

VALUES = {"free_bits": (0.0, 0.03, 0.1, 0.3), "kl_warmup_steps": (0, 1000, 5000)}
"""The settings of a VAE that keep latents in use, and values to begin a sweep with."""
TIMES = (1, 3, 10)
"""Multiples to sweep of a value that was used and was too small."""
NEEDED = {"training_samples": 1, "gradient_estimator": "pathwise", "prior": "standard"}
"""What they need of other settings; the prior matters to free bits alone."""
LOWEST_RATE = 30
"""The part of a learning rate down to which to sweep where it was too high."""
MOST_NAMED = 3
"""Settings by which two arms differ that are named; more are counted."""


def remedies(study: Study, arm: str) -> Iterator[str]:
    """What to sweep, in a line to paste, then what it did in other arms and in trials; nothing for a family without it.

    Args:
        study: the study.
        arm: an arm whose latents are not all in use.
    """
    run = _first(study, arm)
    known = [name for name in VALUES if _has(run, name)]
    if not known:
        return
    against = {name: _obstacles(run, name) for name in known}
    allowed = [name for name in known if not against[name]]
    free = {name: values for name in allowed if len(values := _swept(run, name)) > 1}
    if free:
        used = [f"{name}={plain(run[f'param.{name}'])}" for name in free if _used(run, name)]
        line = ", ".join(f'"{name}": Choices(({", ".join(map(plain, values))}))' for name, values in free.items())
        yield f"It was trained with {listing(used)} already; sweep on:" if used else "Sweep against it:"
        yield f"{{{line}}}."
    elif allowed:
        yield "A longer warm-up would take most of its training: train it for longer (--epochs)."
    else:
        needed = listing([f"{name}={plain(value)}" for name, value in against[known[0]].items()])
        yield f"What works against it, {listing(known)}, needs {needed}: compare with an arm that has that."
    yield from _in_other_arms(study, arm, run, list(free) or known)
    yield from _in_trials(study, arm, known)


def against_no_knowledge(study: Study, arm: str) -> Iterator[str]:
    """What to try where an arm is worse than the uniform code: longer training, lower learning rates, clipping.

    Args:
        study: the study.
        arm: an arm with a final run or a selected trial above the uniform code.
    """
    run = _first(study, arm)
    states = {each.state for each in convergence.courses(study, arm).values()}
    if not states or states & {State.IMPROVING, State.UNKNOWN}:
        yield "It may have seen too few images: train it for longer (--epochs)."
    rate = pd.to_numeric(run.get("param.learning_rate"), errors="coerce")
    if rate > 0:
        low, high = f"{rate / LOWEST_RATE:.2g}", plain(rate)
        clipped = _missing(run.get("param.clip_norm")) or _used(run, "clip_norm")
        swept = f'{{"learning_rate": Reals({low}, {high}, log=True)}}'
        norm = "" if clipped else " and clip_norm=1.0 in its training"
        yield f"Its learning rate of {short(float(rate))} may be too high: sweep {swept}{norm}."
    else:
        yield "Its learning rate may be too high: sweep lower ones."


def _first(study: Study, arm: str) -> Any:
    """The arm's first final run, or else its selected trial."""
    final = study.finals[arm]
    chosen = pd.Series(dtype=object) if final.trial is None else final.trial
    return final.runs.iloc[0] if len(final.runs) else chosen


def _has(run: Any, name: str) -> bool:
    return not _missing(run.get(f"param.{name}"))


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _swept(run: Any, name: str) -> list[float]:
    """The values to sweep, without warm-ups of most of the training; its own is among them, if it is not that long."""
    own = run[f"param.{name}"]
    images, batch = (pd.to_numeric(run.get(f"param.{each}"), errors="coerce") for each in ("images", "batch_size"))
    steps = images / batch if images > 0 and batch > 0 else math.inf

    def not_too_long(values: Iterable[float]) -> list[float]:
        return [value for value in values if not long_warmups({name: value}, steps)]

    if _used(run, name):
        return not_too_long(own * times for times in TIMES)
    found = not_too_long(VALUES[name])
    return found if len(found) > 1 else sorted({0, round(steps / 10), round(steps / 3)})


def _used(run: Any, name: str) -> bool:
    value = pd.to_numeric(run.get(f"param.{name}"), errors="coerce")
    return bool(value > 0)


def _obstacles(run: Any, name: str) -> dict[str, object]:
    """The values that other settings would need for one to be allowed."""
    return {
        other: value
        for other, value in NEEDED.items()
        if _has(run, other) and run[f"param.{other}"] != value and (other != "prior" or name == "free_bits")
    }


def _in_other_arms(study: Study, arm: str, run: Any, known: list[str]) -> Iterator[str]:
    """Active latents and bits/dim of arms of this family that use more of these settings, beside those of this arm."""
    for other in study.arms:
        theirs = _first(study, other)
        changed = [name for name in known if _used(theirs, name) and theirs[f"param.{name}"] > run[f"param.{name}"]]
        if other == arm or study.families[other] != study.families[arm] or not changed:
            continue
        settings = listing([f"{name}={plain(theirs[f'param.{name}'])}" for name in changed])
        mine = listing([f"{name}={plain(run[f'param.{name}'])}" for name in changed])
        found = [_found(study, each) for each in (other, arm)]
        if not all(found):
            continue
        yield (
            f"On this study, {study.title(other)} with {settings} has {found[0]}, {study.title(arm)} with {mine} "
            f"{found[1]}{_differences(theirs, run, changed)}."
        )


def _found(study: Study, arm: str) -> str:
    """``12 active latents and 2.310 ± 0.012 bits/dim``, means over seeds; empty where either was not measured."""
    measured = study.finals[arm].measurements
    active = select(measured, "diagnostics", "active_units")["value"]
    bits = statistics.estimate(select(measured, "test", LIKELIHOOD))
    if bits is None or not np.isfinite(active).any():
        return ""
    mean = float(active[np.isfinite(active)].mean())
    return f"{round(mean, 1):g} active latents and {quantity(bits.mean, bits.error, 'bits/dim')}"


def _differences(one: Any, other: Any, changed: list[str]) -> str:
    """In what else two runs differ, which may be what made the difference."""
    names = [
        name.removeprefix("param.")
        for name in one.index
        if name.startswith("param.")
        and name.removeprefix("param.") not in changed
        and not (_missing(one[name]) and _missing(other.get(name)))
        and one[name] != other.get(name)
    ]
    if not names:
        return ", alike in all other settings"
    named = names if len(names) <= MOST_NAMED else [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"]
    return f"; they differ in {listing(named)} too"


def _in_trials(study: Study, arm: str, known: list[str]) -> Iterator[str]:
    """The lowest validation bits/dim of the arm's trials with and without a setting that was swept."""
    trials = study.trials
    trials = trials[(trials["arm"] == arm) & (trials["state"] == RunState.COMPLETE) & trials["value"].notna()]
    for name in known:
        values = pd.to_numeric(trials[f"param.{name}"], errors="coerce")
        groups = [trials[values > 0], trials[values == 0]]
        if all(len(group) for group in groups):
            having, without = (f"{_lowest(group)} ({count(len(group), 'trial')})" for group in groups)
            yield f"Lowest on validation among its own trials: {having} with {name} above 0, {without} without it."


def _lowest(trials: pd.DataFrame) -> str:
    best = trials.sort_values("value").iloc[0]
    return quantity(float(best["value"]), best["value_error"], "bits/dim")
