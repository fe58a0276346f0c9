"""What a Ray task runs in a study that faults are tried on: imported by Ray's processes, it puts the stand-in there."""

from __future__ import annotations

from bench.execution.executors.ray import Where
from bench.execution.executors.ray import run_queued_trial as do_real_task
from tests.faults import stand_in

EVALUATION_SECONDS = 0.4


def run_queued_trial(where: Where) -> bool:
    """Do one task of a study, as :func:`bench.execution.executors.ray.run_queued_trial` does."""
    stand_in.evaluation_seconds = EVALUATION_SECONDS
    return do_real_task(where)
