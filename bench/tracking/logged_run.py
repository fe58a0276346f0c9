"""A model run in the tracking store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.core.results import RunState
from bench.tracking.schema import EVALUATION_SUFFIX, KEY_TAG


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

    @classmethod
    def of(cls, run: Any) -> LoggedRun:
        """Convert MLflow's own run."""
        tags = run.data.tags
        number = tags.get("reparam.number")
        return cls(
            run_id=run.info.run_id,
            role=tags["reparam.role"],
            arm=tags["reparam.arm"],
            number=None if number is None else int(number),
            seed=int(tags["reparam.seed"]),
            config_hash=tags["reparam.config_hash"],
            state=RunState(tags["reparam.state"]),
            status=run.info.status,
            validation=run.data.metrics.get(f"validation/bits_per_dim{EVALUATION_SUFFIX}"),
            attempt=int(tags.get("reparam.attempt", 1)),
            key=tags.get(KEY_TAG, ""),
        )
