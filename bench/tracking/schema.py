"""The names under which things stand in MLflow: what writing and reading agree on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.core.metrics import Metric
from bench.core.results import RunState
from bench.data.dataset import DatasetInfo

STATUS = {
    RunState.RUNNING: "RUNNING",
    RunState.COMPLETE: "FINISHED",
    RunState.PRUNED: "KILLED",
    RunState.INTERRUPTED: "KILLED",
    RunState.DIVERGED: "FAILED",
    RunState.OUT_OF_MEMORY: "FAILED",
    RunState.FAILED: "FAILED",
}
"""How a run's state shows in MLflow, which knows fewer; the state itself is the tag ``reparam.state``."""

ERROR_SUFFIX = "_standard_error"
MONTE_CARLO_SUFFIX = "_monte_carlo_error"
EVALUATION_SUFFIX = "_by_evaluation"
"""Keeps a learning curve apart from the final figure of the same name, which is a tighter bound."""
NOTE_TAG = "mlflow.note.content"
"""MLflow shows it, as Markdown, as the description of a run or an experiment."""
KEY_TAG = "reparam.key"
"""Identifies a run from before it is created: by it a run is found of which it is not known whether it was created."""
LOST = "its process ended before it did"
"""The reason of a run that its process did not live to end."""
LARGEST_VALUE = 500
"""Characters that MLflow is given of a parameter or reason; more would be refused by some stores."""

UI_ADDRESS = "http://127.0.0.1:5000"
"""Where ``reparam-bench ui`` shows an embedded store."""
TRAINING_MODE = "workflowType=machine_learning"
"""In an address, opens the UI as one of trained models; by itself it opens as one of language models."""

IMAGE_FOLDER = "pictures"
"""Artifact folder of a run's pictures; their captions are in the tag ``reparam.captions``.

``images`` is MLflow's own, for grids by epoch: its UI shows none of them if it finds another file there.
"""
TABLE_FOLDER = "tables"
"""Artifact folder of a run's tables, CSV; their names are in the tag ``reparam.tables``."""
MODEL_FOLDER = "model"
"""Artifact folder of a run's model, in a store that knows no logged models."""
MODEL_FILE = "artifacts/model.keras"
"""The trained model within its package."""
DETAILS_TAG = "reparam.details."
"""Followed by a split: what there is to know of that split's measurements beside their values, as JSON."""


@dataclass(frozen=True)
class StudyDescription:
    """What identifies and explains a study: the parent run's tags and parameters.

    ``arms`` holds the family of each arm, ``space`` the ranges of the swept parameters by arm and name, as
    :func:`bench.study.search_space.to_json` writes them, ``metrics`` what the user's own metrics mean.
    """

    study_id: str
    name: str
    question: str
    arms: dict[str, str]
    swept: dict[str, list[str]]
    settings: dict[str, Any]
    provenance: dict[str, Any]
    dataset: DatasetInfo
    digest: str
    space: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
