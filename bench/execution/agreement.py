"""Whether storage and tracking store hold the same trials of a study, which a person may have changed in either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.core.errors import DisagreementError
from bench.search.queue import Attempt, Queue
from bench.study.definition import FINALS
from bench.tracking.logged_run import OBJECTIVE, LoggedRun
from bench.tracking.parent_run import ParentRun


def check_agreement(parent: ParentRun, queues: Mapping[str, Queue]) -> None:
    """Check that the runs of a study and the attempts in its storage are the same.

    Args:
        parent: the study's run.
        queues: its searches by their arms, and its final runs.

    Raises:
        DisagreementError: the storage does not know a run, the runs of attempts were deleted, or the tags of a run are
            not those that it was logged with.
        TrackingError: the store cannot be reached.
    """
    # The runs first: whatever has a run by now is in the storage.
    runs = parent.children()
    study_id = parent.study.study_id
    attempts = {each.key: (kind, each) for kind, queue in queues.items() for each in queue.attempts()}
    unknown = [run for run in runs if run.key not in attempts]
    if unknown:
        raise DisagreementError(
            f"MLflow holds {len(unknown)} runs of {study_id} that the storage does not, such as {unknown[0].run_id}: "
            f"give the --storage that began the study, or `reparam-bench delete {study_id}`, after which the same "
            "command begins again"
        )
    for run in runs:
        _check_tags(run, *attempts[run.key])
    missing = runless(runs, (attempt for _, attempt in attempts.values()))
    deleted = parent.deleted_children() if missing else {}
    gone = [deleted[each.key] for each in missing if each.key in deleted]
    if gone:
        raise parent.was_deleted(f"{len(gone)} runs of {study_id}, such as {gone[0]}, were")


def runless(runs: Iterable[LoggedRun], attempts: Iterable[Attempt]) -> list[Attempt]:
    """The attempts that count and should have a run, but have none."""
    known = {run.key for run in runs}
    return [each for each in attempts if each.counts and each.could_begin and each.key not in known]


def _check_tags(run: LoggedRun, kind: str, attempt: Attempt) -> None:
    expected: dict[str, object] = {"attempt": attempt.attempt}
    if kind == FINALS:
        expected |= {"role": FINALS, "arm": attempt.note["arm"], "config_hash": attempt.note["config_hash"]}
    else:
        expected |= {"role": "search", "arm": kind, "number": attempt.number}
    for name, value in expected.items():
        if getattr(run, name) != value:
            raise DisagreementError(
                f"run {run.run_id} has reparam.{name}={getattr(run, name)!r} in MLflow, and {value!r} in the storage: "
                "set the tag back"
            )
    if kind != FINALS and None not in (run.objective, attempt.objective) and run.objective != attempt.objective:
        raise DisagreementError(
            f"run {run.run_id} has {OBJECTIVE}={run.objective} in MLflow, and {attempt.objective} in the storage: log "
            "that value there again, at a later step"
        )
