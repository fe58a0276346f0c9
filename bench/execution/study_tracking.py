"""Keeps the tracking server in agreement with a study's storage, which decides."""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain
from typing import Any, Literal

from bench.core.counted import counted
from bench.core.errors import OutboxError, StudyStoppedError, TrackingError
from bench.core.results import RunState, Unbegun
from bench.execution.agreement import runless
from bench.execution.progress import StudyProgress
from bench.execution.session import StudySession
from bench.search.queue import DIED, Attempt
from bench.study.config import RunConfig
from bench.study.definition import FINALS
from bench.tracking.logged_run import LoggedRun
from bench.tracking.tracker import DRAIN_SECONDS


class StudyTracking:
    """What a coordinator logs of its study, beside the runs that its workers log.

    A tracking server that cannot be reached is said, and stops nothing: the next call does what is left.

    Args:
        study: the opened study.
        progress: shows what cannot be logged.
    """

    def __init__(self, study: StudySession, progress: StudyProgress) -> None:
        self.study = study
        self.progress = progress
        self._unbegun: list[Unbegun] = []
        self._promoted: dict[str, list[int]] = {}

    def bring_up_to_date(self, patience: float | None = None) -> None:
        """Upload what dead processes logged, and end the runs whose attempts have ended.

        The state of an attempt in the storage is final, whatever the state of its run.

        Args:
            patience: seconds to wait for processes that may still report the end of an attempt; by default the
                longest time of an upload.
        """
        patience = DRAIN_SECONDS if patience is None else patience
        tracker, parent = self.study.tracker, self.study.parent
        try:
            tracker.upload_orphans()
            self._log_unbegun()
            self._log_promoted()
            if patience and (left := tracker.drain(patience)):
                self.progress.say(f"{left} records wait in {tracker.outbox}: `reparam-bench upload` uploads them")
                return
            until = time.monotonic() + patience
            while (
                any(_may_still_report(attempt) for _, attempt in self._find_mismatches()) and time.monotonic() < until
            ):
                time.sleep(1.0)
            for run, attempt in self._find_mismatches():
                if patience or not _may_still_report(attempt):
                    parent.end_run(run.run_id, attempt.state or RunState.INTERRUPTED, attempt.reason)
        except StudyStoppedError as error:
            self.progress.say(str(error))
        except (OutboxError, TrackingError) as error:
            self.progress.say(f"the tracking server is updated later: {error}")

    def record_selection(self, chosen: dict[str, dict[str, Any]]) -> bool:
        """Log the selection; False if the tracking server cannot be reached, for which final runs do not wait."""
        try:
            self.study.parent.select(chosen)
        except TrackingError as error:
            self.progress.say(f"the selection is not recorded: {error}")
            return False
        return True

    def register(self, configs: dict[str, RunConfig]) -> None:
        """Register the final run of each arm that is best on validation, not on test."""
        complete = [each for each in self.study.record.finals.complete() if each.objective is not None]
        best: dict[str, Attempt] = {}
        for name, config in configs.items():
            wanted = (name, config.hash)
            own = [each for each in complete if (each.note["arm"], each.note["config_hash"]) == wanted]
            if own:
                best[name] = min(own, key=lambda each: (each.objective, each.number))
        try:
            runs: dict[str, LoggedRun] = {run.key: run for run in self.study.parent.children()}
            self.study.parent.register({name: runs[each.key] for name, each in best.items() if each.key in runs})
            if missing := [name for name, each in best.items() if each.key not in runs]:
                self.progress.say(
                    f"not registered: {', '.join(missing)}, whose runs are not uploaded yet; the same command does it"
                )
        except TrackingError as error:
            # The models stay logged with their runs.
            self.progress.say(f"not registered: {error}")

    def name_runless(self) -> None:
        """Say which runs are not the study's, and of which trials that count no run is logged or waits for upload."""
        attempts = {kind: queue.attempts() for kind, queue in self.study.queues.items()}
        if unbegun := [(kind, each) for kind, found in attempts.items() for each in found if not each.could_begin]:
            kind, first = unbegun[0]
            self.progress.say(
                f"not in MLflow: {counted(len(unbegun), 'trial')} or final runs that failed before they began, which "
                f"the report counts, such as {kind} {first.number}: {first.reason}"
            )
        try:
            runs, foreign = self.study.parent.read_children()
            if foreign:
                self.progress.say(
                    f"ignored: {counted(foreign, 'run')} below the study's in MLflow, made or stripped of its tags by "
                    "somebody"
                )
            if self.study.tracker.drain(0.0) or not (missing := runless(runs, chain(*attempts.values()))):
                return
        except TrackingError:
            # Said already.
            return
        self.progress.say(
            f"not in MLflow: {counted(len(missing), 'run')} of finished trials or final runs, such as attempt "
            f"{missing[0].key}, waiting in the outbox of another folder or machine (`reparam-bench upload` there), or "
            "removed by somebody"
        )

    def _find_mismatches(self) -> list[tuple[LoggedRun, Attempt]]:
        """Runs whose state is not that of their attempt; of two runs of one attempt, the open one is removed.

        A request to create a run may succeed after its timeout, when a second run was created already.
        """
        attempts = [each for queue in self.study.queues.values() for each in queue.attempts()]
        ended = {each.key: each for each in attempts if each.state not in (None, RunState.RUNNING)}
        runs = [run for run in self.study.parent.children() if run.key in ended]
        closed = {run.key for run in runs if run.state != RunState.RUNNING}
        for run in runs:
            if run.state == RunState.RUNNING and run.key in closed:
                self.study.parent.remove_run(run.run_id)
        return [
            (run, ended[run.key])
            for run in runs
            if run.state != ended[run.key].state and not (run.state == RunState.RUNNING and run.key in closed)
        ]

    def _log_unbegun(self) -> None:
        """Log what failed before it had a run, where that is new."""
        found: Counter[tuple[Literal["search", "final"], str, str]] = Counter(
            ("final", str(each.note["arm"]), each.reason) if kind == FINALS else ("search", kind, each.reason)
            for kind, queue in self.study.queues.items()
            for each in queue.attempts()
            if not each.could_begin
        )
        unbegun = [Unbegun(*about, count) for about, count in found.most_common()]
        if unbegun != self._unbegun:
            self.study.parent.log_unbegun(unbegun)
            self._unbegun = unbegun

    def _log_promoted(self) -> None:
        """Log which trials a person promoted, where that is new."""
        promoted = {name: sorted(found) for name, each in self.study.searches.items() if (found := each.promoted)}
        if promoted != self._promoted:
            self.study.parent.log_promoted(promoted)
            self._promoted = promoted


def _may_still_report(attempt: Attempt) -> bool:
    """Whether the process that ended an attempt may still report it to the tracking server."""
    return attempt.reason != DIED and attempt.ended_seconds_ago < DRAIN_SECONDS
