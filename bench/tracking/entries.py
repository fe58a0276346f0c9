"""What MLflow takes of measurements, parameters and ends: metrics, tags and texts without credentials."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.core.redaction import redact
from bench.core.results import Measurement, RunState
from bench.tracking.descriptions import plain
from bench.tracking.schema import (
    DETAILS_TAG,
    ERROR_SUFFIX,
    HEADLINE,
    MAX_VALUE_LENGTH,
    MONTE_CARLO_SUFFIX,
    NOTE_TAG,
)


def as_parameters(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow takes them."""
    return {name: clean(str(value))[:MAX_VALUE_LENGTH] for name, value in values.items()}


def clean(text: str) -> str:
    """Text without credentials, with undecodable bytes escaped, such as those of a file name."""
    return redact(text).encode(errors="backslashreplace").decode()


def as_metrics_and_tags(measurements: Sequence[Measurement]) -> tuple[dict[str, float], dict[str, str]]:
    """Measurements as metrics and as tags, which hold what else describes them."""
    metrics: dict[str, float] = {}
    details: dict[str, dict[str, dict[str, Any]]] = {}
    for row in measurements:
        metrics[row.key] = float(row.value)
        for suffix, error in ((ERROR_SUFFIX, row.standard_error), (MONTE_CARLO_SUFFIX, row.monte_carlo_error)):
            if error is not None:
                metrics[f"{row.key}{suffix}"] = float(error)
        details.setdefault(row.split, {})[row.metric] = {
            **({} if row.n is None else {"n": row.n}),
            **({} if row.bound is None else asdict(row.bound)),
            **({"conditions": clean(row.conditions)} if row.conditions else {}),
        }
    return metrics, {f"{DETAILS_TAG}{split}": json.dumps(known) for split, known in details.items()}


def headline_metrics(values: Mapping[str, float], suffix: str = "") -> dict[str, float]:
    """The copies of a run's bits/dim that its charts in the MLflow UI begin with."""
    splits = {key.removesuffix(f"/{HEADLINE}"): value for key, value in values.items() if key.endswith(f"/{HEADLINE}")}
    return {f"{HEADLINE}/{split}{suffix}": float(value) for split, value in splits.items()}


def timestamp() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def continues(continuation: str) -> str:
    """Which attempt a run continues, as its description says it; empty if none."""
    return f"Continues {plain(continuation)}" if continuation else ""


def end_tags(note: str, state: RunState, reason: str) -> dict[str, str]:
    """The tags of a run that has ended."""
    tags = {"reparam.state": state, NOTE_TAG: note}
    return tags | ({"reparam.reason": clean(reason)[:MAX_VALUE_LENGTH]} if reason else {})
