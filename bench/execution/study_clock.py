"""The time that a study has taken over all its processes, and how its search and its final runs keep to it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from bench.core.results import EvaluationRecord
from bench.core.seeds import derive_seed
from bench.execution.session import MOST_EVALUATIONS_EXTENDED, Selection, StudySession
from bench.search.study_record import StudyRecord
from bench.study.budget import FINALS_KEPT, TimePlan, final_evaluations
from bench.study.plan import COMPILATIONS, FINAL_SECONDS

SAVED_SECONDS = 5.0
"""What was counted is recorded when it has grown by so many seconds, between two runs."""


class StudyClock:
    """Counts the seconds of a study, without those in which no process coordinated it.

    Those of a process that is killed count up to the end of its last run.

    Args:
        record: the study in the storage.
        began: when this process began, by :func:`time.monotonic`.
    """

    def __init__(self, record: StudyRecord, began: float) -> None:
        self._record = record
        self._saved = record.seconds_spent
        self._began = began - self._saved

    @property
    def seconds(self) -> float:
        """Seconds of the study so far."""
        return time.monotonic() - self._began

    def save(self, at_once: bool = False) -> None:
        """Record them, where they have grown."""
        if at_once or self.seconds - self._saved > SAVED_SECONDS:
            self._saved = self.seconds
            self._record.spend(self._saved)


@dataclass
class TimeKeeper:
    """Keeps a study to its time: ends its search, and trains final runs as long as what is left allows.

    Attributes:
        study: the opened study.
        plan: how its time is planned to be spent.
        clock: the time that it has taken.
    """

    study: StudySession
    plan: TimePlan
    clock: StudyClock
    _expected: tuple[float, int] | None = None
    """When the final runs of the arm before were expected to end, by the clock; and how many they were."""
    _correction: float = field(default=0.0, init=False)
    """By how many seconds a final run takes longer than was planned, by those of the arm before."""

    @property
    def search_seconds(self) -> float:
        """Seconds that are left for the search."""
        done = sum(each.seconds for each in self.study.record.finals.attempts() if each.counts)
        finals = sum(self._finals_seconds(name) for name in self.study.searches)
        return self.plan.finals_end - max(0.0, finals - done) - self.clock.seconds

    @property
    def has_time_for_more_trials(self) -> bool:
        """Whether the search has time left for a further trial that takes as long as the longest so far."""
        attempts = [each for search in self.study.searches.values() for each in search.attempts()]
        longest = max((each.seconds for each in attempts if each.counts), default=math.inf)
        return self.search_seconds > longest

    def _finals_seconds(self, name: str) -> float:
        """Seconds to keep for an arm's final runs: fewer than planned where its best trial ended by its patience."""
        times, seeds = self.plan.times[name], self.plan.seeds
        best = self.study.searches[name].best()
        if best is not None and (best.frozen.last_step or 0) < best.evaluations:
            records = self._records(name, Selection(best.number, best.values))
            if records:
                return min(times.finals(seeds), times.finals(seeds) - seeds * (times.training - records[-1].seconds))
        return FINALS_KEPT * times.finals(seeds)

    def decide_evaluations(self, name: str, trial: Selection, arms: int) -> int:
        """To which evaluation an arm's final runs are trained; once it is decided for a time, it stays.

        Args:
            name: the arm.
            trial: what is retrained.
            arms: for how many arms, this one among them, the rest of the time is.
        """
        record, seeds = self.study.record, self.plan.seeds
        config = self.study.bound.configure(self.study.bound.study.arm(name), trial.values)
        key = f"{name} {config.hash}, {seeds} seeds in {self.plan.seconds:g} s"
        if (decided := record.timed_evaluations.get(key)) is not None:
            self._expected = None
            return decided
        if self._expected is not None:
            end, runs = self._expected
            # Those that ended sooner may have been trained for less: by their patience.
            self._correction = max(0.0, (self.clock.seconds - end) / runs)
        planned, times = config.training.evaluations, self.plan.times[name]
        interval = self._interval(name, trial) or times.training / planned
        # Likelihoods take longer by as much as training does.
        test = (times.test - FINAL_SECONDS) * interval * planned / times.training + FINAL_SECONDS
        fixed = COMPILATIONS * times.first + seeds * (test + self._correction)
        share = (self.plan.finals_end - self.clock.seconds) / arms
        done = self._done(name, config.hash)
        found = final_evaluations(share, fixed, interval, done, planned, MOST_EVALUATIONS_EXTENDED)
        self._expected = self.clock.seconds + fixed + sum(found - each for each in done) * interval, seeds
        record.decide_evaluations(key, found)
        return found

    def _interval(self, name: str, trial: Selection) -> float | None:
        """Seconds of the trial from one evaluation to the next; None where its checkpoint is gone."""
        records = self._records(name, trial)
        seconds = [later.seconds - earlier.seconds for earlier, later in pairwise(records)]
        return float(np.median(seconds)) if seconds else None

    def _records(self, name: str, trial: Selection) -> list[EvaluationRecord]:
        if trial.number is None:
            return []
        bound = self.study.bound
        config = bound.configure(bound.study.arm(name), trial.values)
        seed = derive_seed(bound.settings.seed, name, trial.number)
        return self.study.checkpoint(name, trial.number, config, seed).records()

    def _done(self, name: str, config_hash: str) -> list[int]:
        """The evaluations to which each final run of a configuration was trained already, by seed."""
        reached = dict.fromkeys(range(self.plan.seeds), 0)
        for each in self.study.record.finals.complete():
            if (each.note["arm"], each.note["config_hash"]) == (name, config_hash) and each.note["seed"] in reached:
                reached[each.note["seed"]] = each.evaluations
        return list(reached.values())
