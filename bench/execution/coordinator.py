"""Coordinator: searches on validation, selects, retrains, and has test measured once, with any executor."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable

from bench.core.counted import counted
from bench.core.environment import SEARCH_BEGAN_VARIABLE
from bench.core.errors import RestartRequiredError, StudyStoppedError, TrackingError
from bench.core.results import RunState
from bench.core.signals import StopRequest
from bench.core.trial_ends import none_completed
from bench.execution.executors.base import Executor
from bench.execution.progress import StudyProgress
from bench.execution.promotion import describe_promotion, new_promotions, promotions_left
from bench.execution.session import Selection, StudySession
from bench.execution.study_clock import StudyClock, TimeKeeper, images_between_evaluations
from bench.execution.study_tracking import StudyTracking
from bench.execution.worker import format_value
from bench.search.heartbeat import Heartbeat
from bench.search.queue import Attempt, Task
from bench.study.budget import TimePlan
from bench.study.config import RunConfig
from bench.study.definition import FINALS

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 20
"""If this many trials in a row fail, neither pruned nor diverged, they share a fault."""
TRACKING_SECONDS = 60.0
"""Interval at which the runs of dead processes are ended in the tracking server while others work."""
TIDY_EVERY = 8
"""After so many attempts of an arm have ended, checkpoints that are not needed are removed."""
TASKS_AHEAD = 32
"""Least number of queued tasks; with more workers, as many as are running."""

MOST_IN_VAIN = 3
"""Trials of an arm that fail, after which its search takes no time that is not its own."""


class Coordinator:
    """Runs a study, or continues it where it stopped.

    Args:
        study: the opened study.
        executor: runs the tasks.
        progress: shows the progress.
        stop: a request to stop.
        check: raises AlteredDataError once the images that the workers share were altered.
        plan: how the study's time is planned to be spent, if it has one.
        began: when this process began, by :func:`time.monotonic`; by default now.
    """

    def __init__(
        self,
        study: StudySession,
        executor: Executor,
        progress: StudyProgress,
        stop: StopRequest,
        check: Callable[[], None] = lambda: None,
        plan: TimePlan | None = None,
        began: float | None = None,
    ) -> None:
        self.study = study
        self.executor = executor
        self.progress = progress
        self.stop = stop
        self._check = check
        self._shown: dict[str, set[str]] = {}
        self._foreign: dict[str, int] = {}
        self._unanswered: dict[str, str] = {}
        self._tracking = StudyTracking(study, progress)
        self._tracking_due = 0.0
        self.clock = StudyClock(study.record, time.monotonic() if began is None else began)
        self._keeper = None if plan is None else TimeKeeper(study, plan, self.clock)
        self._lock: Heartbeat | None = None
        self._expected = 0

    def run(
        self, afterwards: Callable[[], None] = lambda: None, before_finals: Callable[[], None] = lambda: None
    ) -> str:
        """Search, select, retrain and measure; finished tasks are not repeated.

        Args:
            afterwards: what is left to do once a study is complete, as its only coordinator still.
            before_finals: what final runs need and trials do not.

        Returns:
            Why arms have no complete final run, or no trial; empty where all have.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once the interrupted runs are marked as such.
            AlteredDataError: the images that the workers share were altered.
            StudyStoppedError: many trials in a row failed, or no trial of any arm completed.
            SettingsError: another process is running the study.
        """
        with self.study.record.coordinator_lock() as self._lock:
            state = RunState.FAILED
            try:
                try:
                    self.stop.run_interruptible(lambda: self._run(before_finals))
                finally:
                    self._end_work()
                state = RunState.FAILED if self._unanswered else RunState.COMPLETE
            except (KeyboardInterrupt, RestartRequiredError):
                state = RunState.INTERRUPTED
                raise
            finally:
                self._tracking.bring_up_to_date()
                self.study.parent.finish_if_reachable(state)
            try:
                afterwards()
            finally:
                self._save_time()
        return "; ".join(self._unanswered.values())

    def check_lock(self) -> None:
        """Raise StudyStoppedError if another process took over."""
        if self._lock is not None and self._lock.lost:
            raise StudyStoppedError(
                f"another process took over {self.study.record.study_id}: this one sent no heartbeat for "
                f"{self.study.record.lease:g} s"
            )

    def _run(self, before_finals: Callable[[], None]) -> None:
        self._promote()
        self._tracking.bring_up_to_date()
        self._tracking.name_runless()
        if self._keeper is not None:
            # Before the search, which is given all the time that final runs leave.
            before_finals()
        selected = self._search()
        configs = {name: self._config(name, trial) for name, trial in selected.items()}
        chosen = {name: {"number": each.number, "config_hash": configs[name].hash} for name, each in selected.items()}
        is_recorded = self._tracking.record_selection(chosen)
        if self._keeper is None:
            before_finals()
        self._finals(selected)
        self._unanswered |= self._without_final_run(configs)
        self._end_work()
        self._tracking.bring_up_to_date()
        if not is_recorded:
            self._tracking.record_selection(chosen)
        self._tracking.register(configs)
        self.study.tidy_checkpoints({config.hash for config in configs.values()})

    def _promote(self) -> None:
        """Record the trials that a person wants trained to the whole budget."""
        found, lines = new_promotions(self.study.searches, self.study.bound.settings.promotions)
        for name, stopped in found.items():
            self.study.searches[name].promote(stopped)
            lines += [
                describe_promotion(name, number, at, self.study.has_checkpoint(name, number))
                for number, at in stopped.items()
            ]
        for line in lines:
            self.progress.say(line)
        if self._keeper and self._keeper.has_begun_finals:
            self._say_promotions_left()

    def _say_promotions_left(self) -> None:
        """Say which trials that are promoted by hand the time is too short for."""
        if left := promotions_left(self.study.searches):
            self.progress.say(
                f"{', '.join(left)}: time={self.study.bound.settings.time:g} leaves the search none to train what is "
                "promoted by hand: give a longer time"
            )

    def _save_time(self) -> None:
        """Record the study's time, unless another process counts it now."""
        if self._lock is None or not self._lock.lost:
            self.clock.save(at_once=True)

    def _end_work(self) -> None:
        # A process that has taken over decides on its queues.
        try:
            self._save_time()
            if self._lock is None or not self._lock.lost:
                for queue in self.study.queues.values():
                    queue.set_open(False)
        finally:
            self.executor.shutdown()

    def _config(self, name: str, trial: Selection) -> RunConfig:
        return self.study.bound.configure(self.study.bound.study.arm(name), trial.values)

    def _search(self) -> dict[str, Selection]:
        """Run each arm's trials up to their total or the end of its time, and select the best of each.

        An arm that sweeps nothing needs no trial. A study that has a time adds trials while there is time for them.
        """
        study, settings = self.study.bound.study, self.study.bound.settings
        trials = {name: settings.trials if study.arm(name).sweep else 0 for name in self.study.searches}
        # A process that was killed may have left it open: no worker opens test while trials train.
        self.study.record.finals.set_open(False)
        if self._keeper is None:
            self._run_trials(trials, settings.timeout or math.inf)
            return self._select()
        bound = self.study.bound
        self._expected = sum(number for arm in study.arms for number, _ in bound.search(arm))
        if self._keeper.has_begun_finals:
            self._expect_no_more()
            return self._select()
        # Fewer where their time is too short for all: none passes its first rung before all of them have begun.
        planned = self._keeper.plan.trials
        trials = {name: min(number, planned[name]) for name, number in trials.items()}
        # Those that an earlier process, or a shorter time, added are compared too.
        begun = {name: {each.number for each in search.attempts()} for name, search in self.study.searches.items()}
        trials = {name: max(number, len(begun[name])) if number else 0 for name, number in trials.items()}
        self._run_trials(trials, is_first=True)
        while self._add_trials(self._keeper, trials):
            pass
        self._expect_no_more()
        self._say_promotions_left()
        return self._select()

    def _add_trials(self, keeper: TimeKeeper, trials: dict[str, int]) -> bool:
        """Run more trials in the time that is left; whether any attempt had room in it."""
        searches = self.study.searches
        added = {name: more for name, number in trials.items() if (more := keeper.more_trials(name, number))}
        before = sum(each.counts for name in added for each in searches[name].attempts())
        trials |= {name: trials[name] + number for name, number in added.items()}
        self._expect(sum(added.values()))
        self._run_trials(trials)
        return sum(each.counts for name in added for each in searches[name].attempts()) > before

    def _expect(self, more: int) -> None:
        """Count on more runs of the searches than before, or on fewer."""
        self._expected += more
        self.progress.expect_runs(more)

    def _expect_no_more(self) -> None:
        """Count on the runs of the searches that there are."""
        ended = sum(each.counts for search in self.study.searches.values() for each in search.attempts())
        self._expect(ended - self._expected)

    def _run_trials(self, trials: dict[str, int], seconds: float = math.inf, is_first: bool = False) -> None:
        """Run trials until each arm has as many, or the time is over.

        Workers start with the next arm as soon as no trial of the first is queued. Each arm has an equal share of the
        time that is left when the arm before it is done; of a study's time, for its search and its final runs. There
        ``trials`` becomes the number of those that began, where slow ones would leave no time to continue any.
        """
        began = float(os.environ.pop(SEARCH_BEGAN_VARIABLE, time.monotonic()))
        try:
            self._run_trials_until(trials, began + seconds, is_first)
        except RestartRequiredError:
            os.environ[SEARCH_BEGAN_VARIABLE] = str(began)
            raise

    def _run_trials_until(self, trials: dict[str, int], deadline: float, is_first: bool) -> None:
        keeper, searches, is_eager = self._keeper, self.study.searches, self.study.bound.settings.timeout is not None

        def targets(name: str, attempts: list[Attempt]) -> dict[int, int]:
            if keeper is None:
                return searches[name].targets(trials[name], attempts, is_eager)
            return keeper.next_round(name, searches[name].targets(trials[name], attempts, False, keeper.too_slow(name)))

        def is_done(name: str) -> bool:
            return self._is_done(name, lambda found: targets(name, found), searches[name].task)

        for search in searches.values():
            search.set_open(True)
        left = list(searches)
        until = _split_time(deadline, len(left))
        while left:
            for name in [name for name in left if is_done(name)]:
                left.remove(name)
                until = _split_time(deadline, len(left))
            if keeper is not None and left:
                until = self._end_of_search(keeper, left[0])
                if is_first and keeper.has_begun_enough(left[0], until - time.monotonic()):
                    trials[left[0]] = self._begin_no_more(left[0], trials[left[0]])
                # No attempt begins that would end in the time of others.
                until -= keeper.next_seconds(left[0], targets(left[0], searches[left[0]].attempts()))
            if left and time.monotonic() >= until:
                self._close(left.pop(0))
                until = _split_time(deadline, len(left))
            elif left:
                self._check_failures(left[0])
                self._poll()

    def _end_of_search(self, keeper: TimeKeeper, name: str) -> float:
        """The time until which an arm of a study that has a time may start trials."""
        ended = [each for each in self.study.searches[name].attempts() if each.counts]
        if all(each.is_out for each in ended) and len(ended) < MOST_IN_VAIN and not keeper.is_over:
            # However slow the arms before were, without a trial that can be retrained it would have no answer.
            return math.inf
        return time.monotonic() + keeper.search_seconds(name)

    def _begin_no_more(self, name: str, trials: int) -> int:
        """Take back the trials of an arm that have not begun, if others are continued; how many there are now."""
        search = self.study.searches[name]
        begun = [each.number for each in search.attempts() if each.counts or each.state == RunState.RUNNING]
        if not search.halves or not begun or max(begun) + 1 >= trials:
            return trials
        search.withdraw(begun)
        self._expect(max(begun) + 1 - trials)
        self.progress.say(
            f"{name}: after {len(set(begun))} of {trials} trials, which were slow, no further one begins: the time that"
            " is left is for continuing the better half, and for final runs"
        )
        return max(begun) + 1

    def _close(self, name: str) -> None:
        """Start no further trial of an arm, and wait for the running ones."""
        search = self.study.searches[name]
        search.set_open(False)
        if self._keeper is not None:
            # What did not fit does not begin before what is added later.
            search.withdraw(())
        while any(each.state == RunState.RUNNING for each in search.attempts()):
            self.stop.check()
            search.reclaim()
            self._poll()
        self._read(name)

    def _select(self) -> dict[str, Selection]:
        """The best of each arm that has a complete trial; the others are said, and have no final runs.

        Raises:
            StudyStoppedError: no arm has one.
        """
        found = {name: self._best(name) for name in self.study.searches}
        self._unanswered = {name: best for name, best in found.items() if isinstance(best, str)}
        if len(self._unanswered) == len(found):
            raise StudyStoppedError("; ".join(self._unanswered.values()))
        for name, reason in self._unanswered.items():
            self.progress.say(f"{name} has no final runs: {reason}")
            for _ in range(self.study.bound.settings.seeds):
                self.progress.finish_run(f"{name} final", timed=False)
        return {name: best for name, best in found.items() if isinstance(best, Selection)}

    def _best(self, name: str) -> Selection | str:
        """An arm's best trial, or why it has none."""
        if not self.study.bound.study.arm(name).sweep:
            return Selection(None)
        search = self.study.searches[name]
        # In a search that ended before any trial did, that which came furthest.
        best = search.best() or search.furthest() if self._keeper is None else self._keeper.best(name)
        ended = sorted(search.settled().values(), key=lambda each: each.ended)
        if best is not None:
            return Selection(best.number, best.values)
        if not ended:
            settings = self.study.bound.settings
            limit = (
                f"timeout={settings.timeout}"
                if settings.time is None
                else f"the search's share of time={settings.time:g}"
            )
            return f"{limit} ended before any {name} trial did: allow more time"
        return none_completed(name, [(str(each.state), each.reason) for each in ended])

    def _finals(self, selected: dict[str, Selection]) -> None:
        """Retrain each selected configuration from several seeds, and measure each model once on test."""
        self.study.record.finals.set_open(True)
        if self._keeper is None:
            self._train(self.study.final_tasks(selected))
            return
        for search in self.study.searches.values():
            search.set_open(False)
        tasks: list[Task] = []
        for place, (name, trial) in enumerate(selected.items()):
            evaluations = self._keeper.decide_evaluations(name, trial, list(selected)[place:], place > 0)
            interval = images_between_evaluations(self._config(name, trial).training)
            self.progress.say(f"{name}: final runs of {evaluations * interval:,} images")
            tasks += self.study.final_tasks({name: trial}, {name: evaluations})
            self._train(tasks)

    def _without_final_run(self, configs: dict[str, RunConfig]) -> dict[str, str]:
        """Of the arms whose final runs all failed, how these ended."""
        ended, found = [each for each in self.study.record.finals.attempts() if each.counts], {}
        for name, config in configs.items():
            own = [each for each in ended if (each.note["arm"], each.note["config_hash"]) == (name, config.hash)]
            if own and not any(each.state == RunState.COMPLETE for each in own):
                found[name] = none_completed(name, [(str(each.state), each.reason) for each in own], "final run")
                self.progress.say(found[name])
        return found

    def _train(self, tasks: list[Task]) -> None:
        """Have final runs done."""
        by_number = {task.number: task for task in tasks}
        targets = {number: task.evaluations for number, task in by_number.items()}
        # Of an earlier command, which wanted more seeds or had selected other trials.
        self.study.record.finals.withdraw(targets)
        while not self._is_done(FINALS, lambda found: targets, lambda number, target: by_number[number]):
            self._poll()

    def _poll(self) -> None:
        """Have work done; in a study that has a time, the arm whose run it was is charged for it."""
        if self._keeper is None:
            self.executor.poll()
            return
        before, began = self._begun(), self.clock.seconds
        try:
            self.executor.poll()
        finally:
            # Also where the run was interrupted: this process has one alone at a time. A storage that is away, or was
            # removed, is not asked again.
            if not isinstance(sys.exception(), TrackingError | StudyStoppedError):
                for arm in {arm for key, arm in self._begun().items() if key not in before}:
                    self.clock.charge(arm, self.clock.seconds - began)

    def _begun(self) -> dict[str, str]:
        """The arm of each attempt that has begun, by its key."""
        return {
            each.key: each.note["arm"] if kind == FINALS else kind
            for kind, queue in self.study.queues.items()
            for each in queue.attempts()
            if each.state is not None
        }

    def _is_done(
        self, kind: str, targets: Callable[[list[Attempt]], dict[int, int]], task: Callable[[int, int], Task]
    ) -> bool:
        """Whether all tasks are settled; requeues those of dead processes, and queues those that are missing.

        Args:
            kind: the queue.
            targets: the evaluation to which each task is to be trained, given all attempts.
            task: the task of a number and an evaluation.
        """
        self.stop.check()
        self._check()
        self.check_lock()
        self.clock.save()
        queue = self.study.queues[kind]
        lost = queue.reclaim()
        for attempt in lost:
            again = "; it is queued again" if attempt.state == RunState.INTERRUPTED else ""
            self.progress.say(f"{kind} {attempt.number}, attempt {attempt.attempt}: {attempt.reason}{again}")
        if lost and time.monotonic() >= self._tracking_due:
            self._tracking.bring_up_to_date(patience=0.0)
            self._tracking_due = time.monotonic() + TRACKING_SECONDS
        attempts = self._read(kind)
        wanted = targets(attempts)
        settled = {each.number for each in attempts if each.counts and each.reached >= wanted.get(each.number, 0)}
        under_way = {each.number for each in attempts if each.state == RunState.RUNNING}
        waiting = {each.number for each in attempts if each.state is None}
        left = [number for number in wanted if number not in settled]
        ahead = max(TASKS_AHEAD, len(under_way)) - len(waiting)
        if self._keeper is not None and waiting - set(left):
            # Held meanwhile, as the trial that was to come to its rung too has failed.
            queue.withdraw(left)
        missing = [number for number in left if number not in under_way | waiting][: max(0, ahead)]
        queue.offer([task(number, wanted[number]) for number in missing])
        return not left

    def _check_failures(self, name: str) -> None:
        ended = sorted(self.study.searches[name].settled().values(), key=lambda each: each.ended)
        latest = ended[-FAILURES_IN_A_ROW:]
        if len(latest) == FAILURES_IN_A_ROW and all(each.state == RunState.FAILED for each in latest):
            last = latest[-1]
            of_its_run = "the artifact traceback.txt of its MLflow run"
            raise StudyStoppedError(
                f"{FAILURES_IN_A_ROW} {name} trials in a row failed, the last one by: {last.reason}; its traceback is "
                f"{of_its_run if last.could_begin else 'in the log of the process that claimed it'}"
            )

    def _say_foreign(self, kind: str, foreign: int) -> None:
        if foreign > self._foreign.get(kind, 0):
            self.progress.say(
                f"ignored: {counted(foreign, 'trial')} of {self.study.queues[kind].name} in the storage, added or "
                "changed by somebody in Optuna"
            )
        self._foreign[kind] = foreign

    def _read(self, kind: str) -> list[Attempt]:
        """The attempts; counts the tasks that ended since the last call, and prints how those of others ended."""
        attempts, foreign = self.study.queues[kind].read()
        self._say_foreign(kind, foreign)
        ended = {each.key: each for each in attempts if each.counts}
        earlier = self._shown.get(kind)
        self._shown[kind] = set(ended)
        for each in [each for key, each in ended.items() if key not in (earlier or set())]:
            if earlier is not None and not each.is_own:
                self.progress.say(_format_attempt(kind, each, self.progress.unit))
            arm_kind = f"{each.note['arm']} final" if kind == FINALS else f"{kind} search"
            self.progress.finish_run(arm_kind, timed=earlier is not None)
        if kind != FINALS and len(ended) // TIDY_EVERY > len(earlier or ()) // TIDY_EVERY:
            self.study.tidy_search(kind)
        if kind != FINALS and (best := self.study.searches[kind].best()):
            self.progress.show_best(kind, best.objective or 0.0, best.number)
        return attempts


def _format_attempt(kind: str, attempt: Attempt, unit: str) -> str:
    """How an attempt of another process ended, in one line."""
    if kind == FINALS:
        name = f"{attempt.note['arm']} final, seed {attempt.note['seed'] + 1}"
    else:
        values = " ".join(f"{name}={format_value(value)}" for name, value in attempt.values.items())
        name = f"{kind} #{attempt.number} {values}"
    result = attempt.reason if attempt.objective is None else f"{attempt.objective:.4f} {unit} on validation"
    return f"{name}: {attempt.state}, {result}"


def _split_time(deadline: float, arms: int) -> float:
    """The time until which the next of ``arms`` may start trials: each has an equal share of what is left."""
    now = time.monotonic()
    return now + (deadline - now) / max(1, arms)
