"""Trains a logged run again, and compares its learning curve with the logged one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pandas as pd

from bench.core.errors import SettingsError
from bench.core.results import EvaluationRecord
from bench.data.dataset import Dataset
from bench.execution.session import limit_validation
from bench.execution.trial import train_model
from bench.study.config import RunConfig
from bench.tracking.reading.model_runs import LoggedModel


def repeat(
    logged: LoggedModel, curve: pd.DataFrame, dataset: Dataset, on_evaluation: Callable[[EvaluationRecord], None]
) -> pd.DataFrame:
    """Train a run again from its configuration and seed, up to its last logged evaluation.

    With the same device, backend and versions all values are bitwise equal, if the device computes deterministically,
    as processors do.

    Args:
        logged: the run.
        curve: its learning curve, ``evaluation metric value``, by :func:`bench.tracking.reading.model_runs.load_curve`.
        dataset: the data that it was trained on.
        on_evaluation: receives each evaluation.

    Returns:
        ``evaluation metric logged again difference``, one row per logged value.

    Raises:
        SettingsError: the data is not what the run was trained on, or the run has no learning curve.
        DivergedError: the run diverges earlier than it did.
    """
    config = RunConfig.from_json(logged.config)
    logged.check_data(dataset.info.name, dataset.digest)
    if curve.empty:
        raise SettingsError(
            f"run {logged.name!r} has no learning curve to compare with: it ended before its first evaluation"
        )
    last = int(curve["evaluation"].max())
    again: list[dict[str, object]] = []

    def collect(record: EvaluationRecord) -> None:
        on_evaluation(record)
        again.extend({"evaluation": record.evaluation, "metric": k, "again": v} for k, v in record.values.items())
        if record.evaluation == last:
            raise _AllRepeated

    with contextlib.suppress(_AllRepeated):
        train_model(config, limit_validation(dataset, logged.evaluation_images), logged.seed, collect)
    again_frame = pd.DataFrame(again)
    compared = curve.rename(columns={"value": "logged"}).merge(again_frame, on=["evaluation", "metric"], how="left")
    return compared.assign(difference=compared["again"] - compared["logged"])


class _AllRepeated(Exception):  # noqa: N818 - not an error: it ends training
    """The last logged evaluation is repeated."""
