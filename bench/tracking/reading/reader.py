"""Reads a study's results from an MLflow tracking store, for reports. Imports no framework."""

from __future__ import annotations

import logging
import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from bench.core.errors import TrackingError
from bench.core.logs import shorten
from bench.core.metrics import METRICS, Metric
from bench.core.redaction import redact
from bench.core.results import (
    EQUIVALENCE,
    HISTORY_COLUMNS,
    MEASUREMENT_COLUMNS,
    RUN_COLUMNS,
    Equivalence,
    StudyResults,
    Unbegun,
    WonImages,
)
from bench.core.validation import format_validation_error
from bench.data.dataset import DatasetInfo
from bench.tracking.connection import connect, raise_tracking_errors
from bench.tracking.deletion import deleted_children, was_deleted
from bench.tracking.location import Artifacts
from bench.tracking.long_tags import of_tags
from bench.tracking.reading.child import Child, Selected, download
from bench.tracking.reading.reference_codes import read_reference_codes
from bench.tracking.reading.sources import ClientSource, open_source
from bench.tracking.reading.studies import parent_run
from bench.tracking.run_tags import is_own
from bench.tracking.schema import (
    EVALUATION_SUFFIX,
    IMAGE_FOLDER,
    PROMOTED_TAG,
    UNBEGUN_TAG,
    WON_TAG,
)

log = logging.getLogger(__name__)
CURVES = ("train/bits_per_dim", "validation/bits_per_dim")
"""Learning curves that reports draw."""
SPENT = {"images": "cost/images_seen", "seconds": "cost/seconds"}
"""Columns of the histories that say what was spent until a point, and the metrics that hold it."""
TRIALS_PICTURED = 12
"""The number of best trials of an arm whose pictures are read."""


def load_results(uri: str, study_id: str) -> StudyResults:
    """Load everything that a study logged, whether it is finished, stopped or running.

    Raises:
        TrackingError: the store cannot be reached, or holds no such study, or the study's tags are malformed.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        return _load(client, uri, study_id)


def _load(client: MlflowClient, uri: str, study_id: str) -> StudyResults:
    parent = parent_run(client, uri, study_id)
    tags = parent.data.tags
    try:
        study = _StudyTag.model_validate_json(of_tags(tags, "reparam.study"))
        dataset, provenance = (
            _OBJECT.validate_json(of_tags(tags, f"reparam.{name}")) for name in ("dataset", "provenance")
        )
        # Earlier versions knew images alone.
        dataset = {"kind": "image", "encoding": "", "sample_rate": None, **dataset}
        dataset["symbols"] = [chr(code) for code in _CODE_POINTS.validate_python(dataset.get("symbols", []))]
        _DATASET.validate_python({name: value for name, value in dataset.items() if name not in ("digest", "held_out")})
        settings = _OBJECT.validate_json(of_tags(tags, "reparam.settings"))
        selected = _SELECTED.validate_json(tags.get("reparam.selected", "{}"))
        equivalence = _EQUIVALENCE.validate_python(settings.get("equivalence", EQUIVALENCE))
        unbegun = _UNBEGUN.validate_json(tags.get(UNBEGUN_TAG, "[]"))
        promoted = _PROMOTED.validate_json(tags.get(PROMOTED_TAG, "{}"))
        won = _WON.validate_json(tags.get(WON_TAG, "[]"))
        space = _SPACE.validate_json(of_tags({"reparam.space": "{}", **tags}, "reparam.space"))
        # Defines the user's own metrics where the file that registers them is not imported.
        for metric in _METRIC_LIST.validate_json(of_tags({"reparam.metrics": "[]", **tags}, "reparam.metrics")):
            METRICS.setdefault(metric.name, metric)
    except (KeyError, ValueError, TypeError) as error:
        raise TrackingError(
            f"{study_id} in {redact(uri)} is not as a study logs it ({_reason(error)}): the command that began it "
            f"writes the tags of its run {parent.info.run_id} again"
        ) from error
    source, artifacts = open_source(client, uri), Artifacts(uri)
    below = list(source.children(parent.info.experiment_id, parent.info.run_id))
    children = [Child(run, selected) for run in below if is_own(run.tags)]
    deleted = deleted_children(client, parent.info.experiment_id, parent.info.run_id)
    settings["deleted_runs"] = len(deleted.keys() - {child.tags.key for child in children})
    if settings["deleted_runs"] and not children:
        raise was_deleted(client, f"all {settings['deleted_runs']} runs of {study_id} were", parent.info.experiment_id)
    settings["foreign_runs"] = len(below) - len(children)
    finals = [child for child in children if child.role == "final"]
    settings["superseded_final_runs"] = sum(child.role == "superseded" for child in children)
    runs, holders = _runs_frame(children, uri), _holders(children)
    measurements = pd.DataFrame.from_records(
        [row for child in children for row in child.measurements(study_id)], columns=MEASUREMENT_COLUMNS
    )
    images = [grid for child in [*finals, *_best(children)] for grid in child.pictures(artifacts)]
    tables = _tables(finals, artifacts)
    unavailable = {child.run_id: child.unavailable for child in finals if child.unavailable}
    del below, children, finals  # their tags and values would take memory beside the histories
    return StudyResults(
        study_id=study_id,
        name=study.name,
        question=study.question,
        arms=study.arms,
        titles=study.titles,
        swept=study.swept,
        dataset=dataset,
        settings=settings,
        provenance=provenance,
        runs=runs,
        measurements=measurements,
        histories=_histories(source, parent.info.run_id, runs["run_id"].tolist(), holders),
        images=images,
        tables=tables,
        space=space,
        unavailable=unavailable,
        reference_codes=read_reference_codes(parent.info.run_id, tags, parent.data.metrics),
        unbegun=unbegun,
        equivalence=equivalence,
        promoted=promoted,
        won_images=[each.read(parent.info.artifact_uri, artifacts) for each in won],
    )


class _StudyTag(BaseModel):
    """The tag ``reparam.study``."""

    name: str
    question: str
    arms: dict[str, str]
    titles: dict[str, str] = {}
    swept: dict[str, list[str]]


class _Won(BaseModel):
    """What the tag ``reparam.won_images`` says of a picture."""

    winner: str
    loser: str
    images: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=100)]
    picture: Annotated[str, Field(pattern=r"^won_images-[0-9a-f]{16}$")]

    def read(self, location: str, artifacts: Artifacts) -> WonImages:
        png = download(artifacts, f"{location}/{IMAGE_FOLDER}/{self.picture}.png")
        return WonImages(self.winner, self.loser, self.images, png)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return shorten(format_validation_error(error, "a tag"))
    return f"{error} is missing" if isinstance(error, KeyError) else shorten(str(error))


_OBJECT = TypeAdapter(dict[str, Any])
_DATASET = TypeAdapter(DatasetInfo)
_CODE_POINTS = TypeAdapter(list[Annotated[int, Field(ge=0, le=0x10FFFF)]])
_SELECTED = TypeAdapter(dict[str, Selected])
_EQUIVALENCE = TypeAdapter(Equivalence)
_UNBEGUN = TypeAdapter(list[Unbegun])
_PROMOTED = TypeAdapter(dict[str, list[int]])
_WON = TypeAdapter(Annotated[list[_Won], Field(max_length=100)])
_METRIC_LIST = TypeAdapter(list[Metric])
_SPACE = TypeAdapter(dict[str, dict[str, dict[str, Any]]])
"""The ranges of the swept parameters, by arm and name."""


def _best(children: list[Child]) -> list[Child]:
    """The best trials of each arm: reading the pictures of all would take thousands of requests."""
    key = "validation/bits_per_dim"
    measured = [c for c in children if c.role == "search" and math.isfinite(c.run.metrics.get(key, math.nan))]
    by_arm: dict[str, list[Child]] = {}
    for child in sorted(measured, key=lambda child: float(child.run.metrics[key])):
        by_arm.setdefault(child.arm, []).append(child)
    return [child for of_arm in by_arm.values() for child in of_arm[:TRIALS_PICTURED]]


def _tables(children: list[Child], artifacts: Artifacts) -> dict[str, pd.DataFrame]:
    """The tables of some runs, concatenated by name."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for child in children:
        for name, table in child.tables(artifacts):
            parts.setdefault(name, []).append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def _holders(children: list[Child]) -> dict[str, list[str]]:
    """The runs that logged each metric of the histories."""
    return {
        metric: [child.run_id for child in children if f"{metric}{EVALUATION_SUFFIX}" in child.run.metrics]
        for metric in (*SPENT.values(), *CURVES)
    }


def _histories(source: ClientSource, parent_id: str, runs: list[str], holders: dict[str, list[str]]) -> pd.DataFrame:
    """The learning curves of some runs, in their order; each point has the images and the seconds until then."""
    order = pd.CategoricalDtype(runs)
    points = {
        metric: source.history(parent_id, having, f"{metric}{EVALUATION_SUFFIX}") for metric, having in holders.items()
    }
    steps = np.unique(np.concatenate([np.unique(frame["step"]) for frame in points.values()]))
    # Millions of points: each form of them is dropped once the next is there.
    values = {metric: _by_place(points.pop(metric), order, steps) for metric in holders}
    curves = [values.pop(metric) for metric in CURVES]
    places = np.concatenate([curve.index.to_numpy() for curve in curves])
    metrics = np.repeat(np.arange(len(CURVES), dtype=np.int8), [len(curve) for curve in curves])
    # Each curve is in the order of runs and steps already.
    by_run = np.argsort(places // len(steps), kind="stable")
    places = places[by_run]
    codes, numbers = np.divmod(places, len(steps))
    columns: dict[str, Any] = {
        "run_id": pd.Categorical.from_codes(codes, dtype=order),
        "metric": pd.Categorical.from_codes(metrics[by_run], dtype=pd.CategoricalDtype(list(CURVES))),
        "step": steps[numbers],
        **{name: values.pop(spent).reindex(places).to_numpy() for name, spent in SPENT.items()},
        "value": np.concatenate([curve.to_numpy() for curve in curves])[by_run],
    }
    return pd.DataFrame(columns)[HISTORY_COLUMNS]


def _by_place(points: pd.DataFrame, order: pd.CategoricalDtype, steps: npt.NDArray[Any]) -> pd.Series:
    """The values of a metric, ordered by run and step.

    Its index is one integer for both, the number of the run times that of all steps plus the number of the step:
    pairs take longer to sort and to join.
    """
    runs = points["run_id"].astype(order).cat.codes.to_numpy(np.int64)
    values = points["value"].set_axis(runs * len(steps) + np.searchsorted(steps, points["step"].to_numpy()))
    return values[~values.index.duplicated(keep="last")].sort_index()  # a repeated attempt logs again


def _runs_frame(children: list[Child], uri: str) -> pd.DataFrame:
    rows = [child.row(uri) for child in children]
    parameters = sorted({name for row in rows for name in row if name.startswith("param.")})
    return pd.DataFrame(rows, columns=[*RUN_COLUMNS, *parameters])
