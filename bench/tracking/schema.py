"""Names in MLflow that writing and reading share: tags, suffixes of metrics, artifact folders."""

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
"""MLflow status of each state, of which MLflow has fewer; the tag ``reparam.state`` holds the state itself."""

ENDS = frozenset(STATUS.values()) - {STATUS[RunState.RUNNING]}
"""MLflow statuses of runs that have ended."""

ERROR_SUFFIX = "_standard_error"
MONTE_CARLO_SUFFIX = "_monte_carlo_error"
HEADLINE = "bits_per_dim"
"""The group of metrics with which the MLflow UI begins a run's charts, as it orders groups by name.

It holds copies of the run's bits/dim, by split: ``bits_per_dim/test``.
"""
EVALUATION_SUFFIX = "_by_evaluation"
"""Distinguishes a learning curve from the final metric of the same name, which is a tighter bound."""
NOTE_TAG = "mlflow.note.content"
"""The description of a run or an experiment in MLflow, Markdown."""
KEY_TAG = "reparam.key"
"""Identifies a run before MLflow does, and finds a run whose creation may have failed."""
LOST = "its process ended before it did"
"""The reason of a run whose process died before the run ended."""
MAX_VALUE_LENGTH = 500
"""Longest parameter or reason in characters; some stores reject longer ones."""
LONGEST_TAG = 5_000
"""Characters of a tag that all versions of MLflow's server take."""

UI_ADDRESS = "http://127.0.0.1:5000"
"""Where ``reparam-bench ui`` shows an embedded store."""
TRAINING_MODE = "workflowType=machine_learning"
"""In an address, opens the UI for trained models; by default it opens for language models."""

IMAGE_FOLDER = "pictures"
"""Artifact folder of a run's pictures; the tag ``reparam.captions`` holds their captions.

``images`` is MLflow's own folder for grids by step: its UI shows none of them if it finds another file there.
"""
TABLE_FOLDER = "tables"
"""Artifact folder of a run's tables, CSV; the tag ``reparam.tables`` holds their names."""
MODEL_FOLDER = "model"
"""Artifact folder of a run's model, in a store without logged models."""
MODEL_FILE = "artifacts/model.keras"
"""The trained model within its package."""
MODEL_DIGEST_TAG = "reparam.model_digest"
"""Of a run that keeps its trained model: the SHA-256 of :data:`MODEL_FILE` as it was saved."""
DETAILS_TAG = "reparam.details."
"""Prefix of a tag per split: what describes that split's measurements beside their values, as JSON.

A study's own run has those of ``reference_codes`` and ``reference_model`` once these are logged.
"""
UNAVAILABLE_TAG = "reparam.unavailable"
"""Why each metric is missing that could not be measured, as JSON."""
WON_TAG = "reparam.won_images"
"""Of a study's own run: which test images its arms win, and the names of their pictures, as JSON."""
UNBEGUN_TAG = "reparam.unbegun"
"""Of a study's own run: the trials and final runs that failed before they had a run, and why, as JSON."""
PROMOTED_TAG = "reparam.promoted"
"""Of a study's own run: the numbers of the trials that a person promoted, by arm, as JSON."""


@dataclass(frozen=True)
class StudyDescription:
    """Identifies and explains a study: the parent run's tags and parameters.

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
    titles: dict[str, str] = field(default_factory=dict)
    held_out: str = ""
