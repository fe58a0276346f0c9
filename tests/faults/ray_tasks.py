"""What a Ray task runs in a study that faults are tried on: imported by Ray's processes, it puts the stand-in there."""

from __future__ import annotations

from bench.execution.executors.ray import Where
from bench.execution.executors.ray import do_task as do_real_task
from tests.faults import stand_in

LOOK_SECONDS = 0.4


def do_task(where: Where) -> bool:
    """Do one task of a study, as :func:`bench.execution.executors.ray.do_task` does."""
    stand_in.look_seconds = LOOK_SECONDS
    return do_real_task(where)
