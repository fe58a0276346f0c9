"""Saved views of an experiment in the MLflow UI: the rows, columns and charts that matter.

By default the UI shows a collapsed list without metrics. It saves a person's "Views" as tags of the experiment, and so
does this.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from bench.tracking.schema import ERROR_SUFFIX, HEADLINE, TRAINING_MODE, StudyDescription

_TAG = "mlflow.sharedViewState."


@dataclass(frozen=True)
class View:
    """A view: the runs of one role, best first.

    Attributes:
        key: identifies it within the experiment, and in its address.
        name: how the UI lists it.
        role: role of the runs that it shows.
        metrics: its columns, the first of which orders the runs.
    """

    key: str
    name: str
    role: str
    metrics: tuple[str, ...]


VIEWS = (
    View(
        "reparam-final",
        "Final runs, by bits/dim on test",
        "final",
        (
            "test/bits_per_dim",
            f"test/bits_per_dim{ERROR_SUFFIX}",
            "quality/frechet_distance_infinity",
            "throughput/train_images_per_second",
            "cost/training_seconds",
        ),
    ),
    View(
        "reparam-trials",
        "Trials, by bits/dim on validation",
        "search",
        (
            "validation/bits_per_dim",
            f"validation/bits_per_dim{ERROR_SUFFIX}",
            "cost/parameters",
            "cost/training_seconds",
        ),
    ),
)


def view_address(experiment_id: str, view: View) -> str:
    """The address of a view, relative to the UI's address."""
    return f"#/experiments/{experiment_id}/runs?{TRAINING_MODE}&viewStateShareKey={view.key}"


def saved_views(study: StudyDescription) -> dict[str, str]:
    """The tags that save the views with the study's experiment."""
    now = int(time.time() * 1000)
    return {
        f"{_TAG}{view.key}": json.dumps(
            {"name": view.name, "createdAt": now, "updatedAt": now, "state": json.dumps(_state(view, study))}
        )
        for view in VIEWS
    }


def _state(view: View, study: StudyDescription) -> dict[str, Any]:
    swept = dict.fromkeys(name for names in study.swept.values() for name in names)
    columns = [
        *(_column("metrics", name) for name in view.metrics),
        *(_column("params", name) for name in swept),
        _column("tags", "reparam.state"),
    ]
    return {
        "searchFilter": f"tags.`reparam.role` = '{view.role}'",
        "orderByKey": _column("metrics", view.metrics[0]),
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        # Bits/dim in the end and over the course of training.
        "chartsSearchFilter": f"^{HEADLINE}/",
    }


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
