"""What a Ray task runs in a study that faults are tried on: imported by Ray's processes, it puts the stand-in there."""

from __future__ import annotations

from bench.execution.executors.ray import Where
from bench.execution.executors.ray import do_slot as do_real_slot
from tests.faults import stand_in

LOOK_SECONDS = 0.4


def do_slot(where: Where) -> bool:
    """Do one slot of a study, as :func:`bench.execution.executors.ray.do_slot` does."""
    stand_in.look_seconds = LOOK_SECONDS
    return do_real_slot(where)
