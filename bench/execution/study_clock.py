"""The time that a study has taken over all its processes, and how its search and its final runs keep to it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from bench.core.results import EvaluationRecord, RunState
from bench.core.seeds import derive_seed
from bench.execution.session import Selection, StudySession
from bench.search.queue import Attempt
from bench.search.sampler import progress, standing
from bench.search.study_record import StudyRecord
from bench.study.budget import TimePlan, final_evaluations, first_rung
from bench.study.config import RunConfig, TrainingConfig
from bench.study.definition import FINALS, MOST_EVALUATIONS_EXTENDED
from bench.study.plan import COMPILATIONS
from bench.study.rungs import expected_gain

LONGEST_BEGINNING = 1.1
"""Trials take at most so many times the share of an arm's search until the first rung that was planned for them."""
MOST_LATE = 0.07
"""Share of the study's time by which it may end late where final runs would else have less than was planned: were only
those of the last arms cut, whose turn comes when the time is short, the arms would not be compared at equal times."""
LEAST_SHARE = 0.5
"""Trials whose final runs would see a smaller share of what others see in their time are not continued."""
SAVED_SECONDS = 5.0
"""What was counted is recorded when it has grown by so many seconds, between two runs."""


class StudyClock:
    """Counts the seconds of a study, without those in which no process coordinated it, and those of each arm's runs.

    Those of a process that is killed count up to the end of its last run.

    Args:
        record: the study in the storage.
        began: when this process began, by :func:`time.monotonic`.
    """

    def __init__(self, record: StudyRecord, began: float) -> None:
        self._record = record
        self._saved = record.seconds_spent
        self._began = began - self._saved
        self._of_arms = record.seconds_of_arms

    def charge(self, arm: str, seconds: float) -> None:
        """Count seconds of a run of an arm."""
        self._of_arms[arm] = self.of_arm(arm) + seconds

    def of_arm(self, arm: str) -> float:
        """Seconds of an arm's runs so far, its search and its final runs."""
        return self._of_arms.get(arm, 0.0)

    @property
    def seconds(self) -> float:
        """Seconds of the study so far."""
        return time.monotonic() - self._began

    def save(self, at_once: bool = False) -> None:
        """Record them, where they have grown."""
        if at_once or self.seconds - self._saved > SAVED_SECONDS:
            self._saved = self.seconds
            self._record.spend(self._saved, self._of_arms)


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
    _intervals: dict[str, tuple[float, float]] = field(default_factory=dict, init=False)
    """Of an attempt by its key, the seconds from one evaluation to the next, and those that were planned."""
    _ended: dict[str, float] = field(default_factory=dict, init=False)
    """Of a trial that its patience ended, by the key of its last attempt, the seconds that it had trained for."""
    _configs: dict[tuple[str, int | None], RunConfig] = field(default_factory=dict, init=False)
    """By arm and number of the trial."""

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return self.clock.seconds >= self.plan.seconds

    def search_seconds(self, name: str) -> float:
        """Seconds that are left for an arm's search: of its share, and at most until the final runs must begin."""
        others = [arm for arm in self.study.searches if arm != name]
        kept = sum(min(self._finals_seconds(arm), self._wanted_seconds(arm)) for arm in others)
        return min(self._share_left(name), self._left - kept) - self._finals_seconds(name)

    @property
    def _left(self) -> float:
        """Seconds until the final runs are to be done."""
        return self.plan.finals_end - self.clock.seconds

    def _share_left(self, name: str) -> float:
        """What an arm's search and final runs have left of its share of the time, which is equal for all arms."""
        spent = {arm: self.clock.of_arm(arm) for arm in self.study.searches}
        return (self._left + sum(spent.values())) / len(spent) - spent[name]

    def more_trials(self, name: str, trials: int) -> int:
        """How many trials an arm's search has time for beside so many, with those of them that are continued.

        They are at most half as many. Of more, none would be continued in time, and it would have been in vain. Their
        time is what final runs of a trial's images leave.
        """
        ended = [each for each in self.study.searches[name].attempts() if each.counts]
        if not trials or self.best(name) is None or not ended:
            return 0
        of_a_trial = sum(each.seconds for each in ended) / len({each.number for each in ended})
        share = self.search_seconds(name) - self._missing_seconds(name)
        return min(math.ceil(trials / 2), max(0, int(share / of_a_trial)) if of_a_trial else trials)

    def has_begun_enough(self, name: str, left: float) -> bool:
        """Whether trials that have taken so long leave the others' time only if no further one begins.

        Args:
            name: the arm.
            left: seconds that are left for its search.
        """
        times = self.plan.times[name]
        ended = [each for each in self.study.searches[name].attempts() if each.counts]
        beginning = sum(each.seconds for each in _first(ended))
        spent = sum(each.seconds for each in ended)
        return beginning * times.search > LONGEST_BEGINNING * times.beginning * (spent + left)

    def next_round(self, name: str, targets: Mapping[int, int]) -> dict[int, int]:
        """How far trials are trained now, of those that are to be trained further: to the nearest rung first.

        The best two are the first that come to it, and then one after the other, as the time may end between them. A
        trial that would come to a rung alone decides nothing there: it stays where it is, and its time is the final
        runs'. One that a person promoted is continued as soon as it fits into the time.

        Args:
            name: the arm.
            targets: the evaluation to which each trial is to be trained by now, by its number.
        """
        search = self.study.searches[name]
        settled, promoted = search.settled(), search.promoted
        left = _left(settled, targets)
        by_hand = {number: until for number, until in left.items() if number in promoted and number in settled}
        others = {number: until for number, until in left.items() if number not in by_hand}
        nearest = min(others.values(), default=0)
        coming = [number for number, until in others.items() if until == nearest]
        known = sorted((settled[number] for number in coming if number in settled), key=standing)
        is_alone = not any(each.reached >= nearest and not each.is_out for each in settled.values())
        released = {each.number for each in known[: 1 + is_alone]} if len(known) > is_alone else set()
        released |= {number for number in coming if number not in settled}
        released |= {number for number, until in by_hand.items() if self._fits(name, settled[number], until)}
        return {
            number: settled[number].reached if number in left.keys() - released else until
            for number, until in targets.items()
        }

    def _fits(self, name: str, trial: Attempt, until: int) -> bool:
        """Whether a trial can be continued to an evaluation in the time of its arm's search."""
        seconds = self._missing_seconds(name) + self._continued_seconds(name, trial, until)
        return seconds <= self.search_seconds(name)

    def next_seconds(self, name: str, targets: Mapping[int, int]) -> float:
        """Expected seconds of an arm's next attempt; 0 where none is left, or nothing is known of it.

        The first that comes to a rung counts with the second, without which it would decide nothing. Trials are
        continued in the time that final runs of a trial's images leave.

        Args:
            name: the arm.
            targets: the evaluation to which each trial is to be trained by now, by its number.
        """
        search = self.study.searches[name]
        settled, left = search.settled(), _left(search.settled(), targets)
        if not left:
            return 0.0
        number = min(left)
        if number in settled:
            until = left[number]
            is_first = not any(each.reached >= until and not each.is_out for each in settled.values())
            continued = [each for each in sorted(left) if left[each] == until and each in settled]
            counted = continued[:2] if is_first else [number]
            return self._missing_seconds(name) + sum(
                self._continued_seconds(name, settled[each], until) for each in counted
            )
        ended = [each for each in _first(search.attempts()) if each.frozen.last_step]
        by_evaluation = [each.seconds / (each.frozen.last_step or 1) for each in ended]
        return left[number] * float(np.median(by_evaluation or [0.0]))

    def _continued_seconds(self, name: str, trial: Attempt, until: int) -> float:
        """Expected seconds of an attempt that continues a trial to an evaluation."""
        seconds, planned = self._interval_of(name, trial)
        is_whole = until >= self._planned_evaluations(name, Selection(trial.number, trial.values))
        measuring = self.plan.times[name].selection * seconds / planned if is_whole else 0.0
        return (until - trial.reached) * seconds + measuring

    def best(self, name: str) -> Attempt | None:
        """The trial that is retrained: the best that is not too slow, or one whose final runs have begun.

        Trials are compared at the furthest evaluation that two of them have reached: one that came further alone counts
        by what it was there. Where all have ended there, they are by the bound at their end. From there, each counts
        with what it is expected to gain until the end of its final runs, in whose time a faster one sees more images.
        """
        trials, decided = self._trials(name), self.study.record.timed_evaluations
        for each in trials.values() if decided else ():
            if self._key(name, Selection(each.number, each.values)) in decided:
                return each
        slow = self.too_slow(name)
        left = [each for number, each in trials.items() if number not in slow]
        if not left:
            return None
        # Those that ended by themselves are as far as any can be.
        most = self.study.searches[name].evaluations
        reached = sorted((min(each.reached, most) for each in left), reverse=True)
        level = reached[:2][-1]
        there = [each for each in left if each.reached >= level]
        by_bound = all(each.objective is not None and min(each.reached, most) == level for each in there)

        gain = expected_gain([progress(each) for each in there if not _has_ended_early(each)], level)
        until = self._evaluations_of_finals(name, there)

        def expected(trial: Attempt) -> tuple[float, int]:
            end = until[trial.number]
            if _has_ended_early(trial) and not by_bound:
                # What it has reached is known, and it gains nothing more.
                return progress(trial).best_until(end), trial.number
            at_level = trial.objective if by_bound else progress(trial).best_until(level)
            return (at_level or 0.0) - gain(min(level, end) if _has_ended_early(trial) else end), trial.number

        return min(there, key=expected)

    def too_slow(self, name: str) -> set[int]:
        """Trials of an arm that are not continued: in the time of its final runs they would see few images.

        Few are fewer than half of what the fastest trial would, and of what was planned for final runs: what a slow
        configuration reaches by as many images as others says little of what it reaches by half of them.
        """
        trials = self._trials(name)
        reached = self._evaluations_of_finals(name, trials.values())
        longer = self.plan.times[name].longer
        planned = [self._planned_evaluations(name, Selection(each.number, each.values)) for each in trials.values()]
        most = min([max(reached.values(), default=0), *(int(longer * each) for each in planned)])
        return {number for number, evaluations in reached.items() if evaluations < LEAST_SHARE * most}

    def _trials(self, name: str) -> dict[int, Attempt]:
        """The trials that can be retrained, by number: those at a rung, and complete ones, whatever became of them."""
        search = self.study.searches[name]
        settled = {number: each for number, each in search.settled().items() if not each.is_out}
        return {each.number: each for each in search.complete()} | settled

    def _evaluations_of_finals(self, name: str, trials: Iterable[Attempt]) -> dict[int, int]:
        """The evaluations of each final run of trials, by number, that fit into the time planned and left for them."""
        finals, left, found = self.study.record.finals.complete(), max(0.0, self._share_left(name)), {}
        for each in trials:
            chosen = Selection(each.number, each.values)
            seconds, planned = self._interval_of(name, each)
            done = self._done(name, self._config(name, chosen).hash, finals)
            share = min(self.plan.times[name].finals(self.plan.seeds) - sum(done) * seconds, left)
            fixed = self._fixed_seconds(name, seconds / planned)
            evaluations = self._planned_evaluations(name, chosen)
            found[each.number] = final_evaluations(share, fixed, seconds, done, evaluations, MOST_EVALUATIONS_EXTENDED)
        return found

    def _interval_of(self, name: str, trial: Attempt) -> tuple[float, float]:
        """Those of :meth:`_interval_seconds`, which reads a checkpoint, once an attempt."""
        if trial.key not in self._intervals:
            self._intervals[trial.key] = self._interval_seconds(name, Selection(trial.number, trial.values))
        return self._intervals[trial.key]

    def _planned_evaluations(self, name: str, trial: Selection) -> int:
        return self.plan.images[name] // images_between_evaluations(self._config(name, trial).training)

    @property
    def has_begun_finals(self) -> bool:
        """Whether final runs of this time have begun, after which no trial is: they were chosen."""
        return any(key.endswith(f", {self._purpose}") for key in self.study.record.timed_evaluations)

    @property
    def _purpose(self) -> str:
        settings = self.study.bound.settings
        return f"{settings.seeds} seeds of {settings.trials} trials in {self.plan.seconds:g} s"

    def _finals_seconds(self, name: str, as_a_trial: bool = False) -> float:
        """Seconds to keep for an arm's final runs: what was planned for them, by whose end they see what they can.

        They are fewer where the best trial ended by its patience, as final runs will, and where final runs of a shorter
        time are continued.

        Args:
            name: the arm.
            as_a_trial: as many at least as final runs of the best trial take to see the images of a trial.
        """
        times, seeds = self.plan.times[name], self.plan.seeds
        kept, best = times.finals(seeds), self.best(name)
        if best is None:
            return kept
        trial = Selection(best.number, best.values)
        seconds, planned = self._interval_of(name, best)
        fixed = self._fixed_seconds(name, seconds / planned)
        training = times.final_training
        if (ended := self._ended_early(name, best)) is not None:
            training = ended
            kept = min(kept, fixed + seeds * training)
        elif as_a_trial:
            needed = self._planned_evaluations(name, trial) * seconds
            kept, training = max(kept, fixed + seeds * needed), max(training, needed)
        # What they were measured for a shorter time does not count: they are measured again.
        done = sum(min(training, each * seconds) for each in self._done(name, self._config(name, trial).hash))
        return max(0.0, kept - done)

    def _missing_seconds(self, name: str) -> float:
        """By how much final runs of a trial's images take longer than was planned, as the best trial is slower."""
        return self._finals_seconds(name, as_a_trial=True) - self._finals_seconds(name)

    def _ended_early(self, name: str, best: Attempt) -> float | None:
        """The seconds that a trial had trained for when its patience ended it; None where it did not.

        Where its checkpoint is gone, they are its attempts' time.
        """
        if not _has_ended_early(best):
            return None
        if best.key not in self._ended:
            records = self._records(name, Selection(best.number, best.values))
            attempts = [each for each in self.study.searches[name].attempts() if each.number == best.number]
            self._ended[best.key] = records[-1].seconds if records else sum(each.seconds for each in attempts)
        return self._ended[best.key]

    def _test_seconds(self, name: str, ratio: float) -> float:
        """What measuring a final run takes, where a run takes so many times as long as was planned."""
        return self.plan.times[name].test * ratio + self.plan.times[name].others

    def decide_evaluations(self, name: str, trial: Selection, arms: Sequence[str], may_be_late: bool) -> int:
        """To which evaluation an arm's final runs are trained; once it is decided for a time, it stays.

        Args:
            name: the arm.
            trial: what is retrained.
            arms: the arms that the rest of the time is for, this one among them.
            may_be_late: whether another arm's final runs have taken of the time.
        """
        record, seeds = self.study.record, self.plan.seeds
        config, key = self._config(name, trial), self._key(name, trial)
        if (decided := record.timed_evaluations.get(key)) is not None:
            return decided
        seconds, planned = self._interval_seconds(name, trial)
        longer = self._measured_longer(arms)
        fixed = self._fixed_seconds(name, seconds / planned) + seeds * longer
        wanted = {arm: self._wanted_seconds(arm) + seeds * longer for arm in arms}
        left, needed = self._left, sum(wanted.values())
        left = max(left, min(needed, left + MOST_LATE * self.plan.seconds * may_be_late))
        spare = left - needed
        share = wanted[name] * left / needed if spare < 0 < needed else wanted[name] + spare / len(arms)
        done = self._done(name, config.hash)
        evaluations = self._planned_evaluations(name, trial)
        found = final_evaluations(share, fixed, seconds, done, evaluations, MOST_EVALUATIONS_EXTENDED)
        record.decide_evaluations(key, found)
        return found

    def _wanted_seconds(self, name: str) -> float:
        """Seconds for an arm's final runs: what is left of its share, or what they need to end by their patience.

        At least those of the first rung's images, which they see in any case.
        """
        left, best = self._share_left(name), self.best(name)
        if best is None:
            return max(0.0, left)
        if self._ended_early(name, best) is not None:
            left = min(left, self._finals_seconds(name))
        trial = Selection(best.number, best.values)
        seconds, planned = self._interval_of(name, best)
        least = first_rung(self._planned_evaluations(name, trial))
        missing = sum(max(0, least - each) for each in self._done(name, self._config(name, trial).hash))
        return max(left, self._fixed_seconds(name, seconds / planned) + missing * seconds)

    def _fixed_seconds(self, name: str, ratio: float) -> float:
        """What an arm's final runs take beside their training, where a run takes so many times as long as planned."""
        return COMPILATIONS * self.plan.times[name].first + self.plan.seeds * self._test_seconds(name, ratio)

    def _measured_longer(self, arms: Sequence[str]) -> float:
        """By how many seconds measuring a final run took longer than was planned, in the arms before some; at least 0.

        Of each arm by the run that was measured soonest, as programs are compiled for the first.
        """
        found = [0.0]
        for name in [each for each in self.study.searches if each not in arms]:
            best = self.best(name)
            trial = Selection(None) if best is None else Selection(best.number, best.values)
            config = self._config(name, trial)
            measured = [self._measuring(each, config) for each in self._finals(name, config.hash)]
            if known := [each for each in measured if each is not None]:
                seconds, planned = self._interval_seconds(name, trial)
                compiling = (COMPILATIONS - 1) * self.plan.times[name].first if len(known) == 1 else 0.0
                found.append(min(known) - compiling - self._test_seconds(name, seconds / planned))
        return max(found)

    def _measuring(self, final: Attempt, config: RunConfig) -> float | None:
        """Seconds that a final run took beside its training; None where it was continued, or its checkpoint is gone."""
        seed = derive_seed(self.study.bound.settings.seed, FINALS, final.note["seed"])
        checkpoint = self.study.checkpoint(FINALS, final.number, config, seed)
        records = checkpoint.records() if final.attempt == 1 else []
        return final.seconds - records[-1].seconds if records else None

    def _key(self, name: str, trial: Selection) -> str:
        """Under which the record has how far a trial's final runs are trained in this time."""
        return f"{name} {self._config(name, trial).hash}, {self._purpose}"

    def _config(self, name: str, trial: Selection) -> RunConfig:
        if (known := self._configs.get((name, trial.number))) is None:
            known = self.study.bound.configure(self.study.bound.study.arm(name), trial.values)
            self._configs[name, trial.number] = known
        return known

    def _interval_seconds(self, name: str, trial: Selection) -> tuple[float, float]:
        """Seconds from one evaluation to the next: of the trial, and as planned.

        Where its checkpoint is gone, they are its attempts' time, with what was compiled and measured in it.
        """
        interval = images_between_evaluations(self._config(name, trial).training)
        planned = self.plan.times[name].training * interval / self.plan.images[name]
        found = [later.seconds - earlier.seconds for earlier, later in pairwise(self._records(name, trial))]
        if not found and trial.number is not None:
            attempts = [each for each in self.study.searches[name].attempts() if each.number == trial.number]
            last = max((each.frozen.last_step or 0 for each in attempts), default=0)
            found = [sum(each.seconds for each in attempts) / last] if last else []
        return float(np.median(found)) if found else planned, planned

    def _records(self, name: str, trial: Selection) -> list[EvaluationRecord]:
        if trial.number is None:
            return []
        seed = derive_seed(self.study.bound.settings.seed, name, trial.number)
        return self.study.checkpoint(name, trial.number, self._config(name, trial), seed).records()

    def _finals(self, name: str, config_hash: str, finals: Sequence[Attempt] | None = None) -> list[Attempt]:
        """The complete final runs of an arm's configuration, the last of each."""
        complete = self.study.record.finals.complete() if finals is None else finals
        return [each for each in complete if (each.note["arm"], each.note["config_hash"]) == (name, config_hash)]

    def _done(self, name: str, config_hash: str, finals: Sequence[Attempt] | None = None) -> list[int]:
        """The evaluations to which each final run of a configuration was trained already, by seed.

        Args:
            name: the arm.
            config_hash: of the configuration.
            finals: the complete final runs of the study, where they are at hand.
        """
        own = self._finals(name, config_hash, finals)
        reached = {each.note["seed"]: each.evaluations for each in own}
        return [reached.get(seed, 0) for seed in range(self.plan.seeds)]


def _has_ended_early(trial: Attempt) -> bool:
    """Whether its patience ended a trial before its budget did."""
    return trial.state == RunState.COMPLETE and (trial.frozen.last_step or 0) < trial.evaluations


def _first(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The first attempt of each trial that counts."""
    found: dict[int, Attempt] = {}
    for each in attempts:
        if each.counts:
            found.setdefault(each.number, each)
    return list(found.values())


def _left(settled: Mapping[int, Attempt], targets: Mapping[int, int]) -> dict[int, int]:
    """The trials that are not trained as far as they are to be, and how far they are to be."""
    return {each: until for each, until in targets.items() if each not in settled or settled[each].reached < until}


def images_between_evaluations(training: TrainingConfig) -> int:
    """Training images from one evaluation to the next."""
    return training.steps_per_evaluation * training.batch_size
