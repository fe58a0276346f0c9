"""A model run in the tracking store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.core.results import RunState
from bench.tracking.run_tags import RunTags
from bench.tracking.schema import EVALUATION_SUFFIX

OBJECTIVE = "validation/bits_per_dim"
"""The metric by which a trial is selected."""


@dataclass(frozen=True)
class LoggedRun:
    """What a continued study needs to know about a model run in the store."""

    run_id: str
    role: str
    arm: str
    number: int | None
    seed: int
    config_hash: str
    state: RunState
    status: str
    validation: float | None
    """One-sample bound in bits/dim on validation at the last evaluation of its training."""
    attempt: int = 1
    """The number of the attempt at its trial, from 1."""
    key: str = ""
    """Identifies the run before MLflow does; empty in runs of earlier versions."""
    objective: float | None = None
    """Bits/dim on validation of a trial that is complete, by which it is selected."""

    @classmethod
    def of(cls, run: Any) -> LoggedRun:
        """Convert MLflow's own run.

        Raises:
            DisagreementError: somebody edited its tags.
        """
        tags = RunTags.of(run.info.run_id, run.data.tags)
        return cls(
            run_id=run.info.run_id,
            role=tags.role,
            arm=tags.arm,
            number=tags.number,
            seed=tags.seed,
            config_hash=tags.config_hash,
            state=tags.state,
            status=run.info.status,
            validation=run.data.metrics.get(f"validation/bits_per_dim{EVALUATION_SUFFIX}"),
            attempt=tags.attempt,
            key=tags.key,
            objective=run.data.metrics.get(OBJECTIVE),
        )
