"""Reads a study's results from an MLflow tracking store, for reports. Imports no framework."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import psutil
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from bench.core.digests import file_digest
from bench.core.errors import SettingsError, TrackingError
from bench.core.logs import shorten
from bench.core.metrics import METRICS, Metric
from bench.core.redaction import redact
from bench.core.results import (
    EQUIVALENCE,
    HISTORY_COLUMNS,
    MEASUREMENT_COLUMNS,
    RUN_COLUMNS,
    Bound,
    BoundKind,
    Equivalence,
    ImageGrid,
    StudyResults,
    Unbegun,
    WonImages,
)
from bench.core.validation import format_validation_error
from bench.data.dataset import DatasetInfo
from bench.data.preparation import Preparation
from bench.tracking.connection import connect, raise_tracking_errors
from bench.tracking.deletion import deleted_children, deleted_studies, only_run, was_deleted
from bench.tracking.location import Artifacts
from bench.tracking.reading.listed import ListedStudy
from bench.tracking.reading.reference_codes import read_reference_codes
from bench.tracking.reading.sources import ClientSource, StoredRun, open_source
from bench.tracking.registry import model_location
from bench.tracking.run_tags import RunTags, is_own, raise_if_edited, read_json
from bench.tracking.runs import PARENT_TAG, experiment_ids, search_runs
from bench.tracking.schema import (
    DETAILS_TAG,
    ERROR_SUFFIX,
    EVALUATION_SUFFIX,
    IMAGE_FOLDER,
    MODEL_DIGEST_TAG,
    MODEL_FILE,
    MODEL_FOLDER,
    MONTE_CARLO_SUFFIX,
    PROMOTED_TAG,
    TABLE_FOLDER,
    TRAINING_MODE,
    UI_ADDRESS,
    UNAVAILABLE_TAG,
    UNBEGUN_TAG,
    WON_TAG,
)
from bench.tracking.views import VIEWS, view_address

log = logging.getLogger(__name__)

CURVES = ("train/bits_per_dim", "validation/bits_per_dim")
"""Learning curves that reports draw."""
TRIALS_PICTURED = 12
"""The number of best trials of an arm whose pictures are read."""


def list_studies(uri: str) -> list[str]:
    """Identifiers of the studies in a store, newest first.

    Raises:
        TrackingError: the store cannot be reached.
    """
    return [each.study_id for each in describe_studies(uri)]


def describe_studies(uri: str) -> list[ListedStudy]:
    """The studies in a store, newest first.

    Raises:
        TrackingError: the store cannot be reached.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        known = [(run.info, run.data.tags) for run in _parents(client, "")]
    return [
        ListedStudy.of(
            tags["reparam.study_id"],
            *(info.start_time, info.status),
            *(tags.get(f"reparam.{name}") for name in ("state", "study")),
        )
        for info, tags in known
        if "reparam.study_id" in tags
    ]


def newest_view(uri: str) -> str | None:
    """The address of the final runs of the newest study, relative to the UI's address; None without a study.

    Raises:
        TrackingError: the store cannot be reached.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        newest = next(_parents(client, ""), None)
    return None if newest is None else view_address(newest.info.experiment_id, VIEWS[0])


def list_deleted(uri: str) -> list[str]:
    """Identifiers of the studies whose runs were deleted in a store, which keeps them until ``mlflow gc``.

    Raises:
        TrackingError: the store cannot be reached.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        return list(deleted_studies(client))


def find_study_run(uri: str, study_id: str) -> str:
    """MLflow's identifier of a study's parent run.

    Raises:
        TrackingError: the store cannot be reached, or holds no such study.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        return str(_parent(client, uri, study_id).info.run_id)


def load_results(uri: str, study_id: str) -> StudyResults:
    """Load everything that a study logged, whether it is finished, stopped or running.

    Raises:
        TrackingError: the store cannot be reached, or holds no such study, or the study's tags are malformed.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        return _load(client, uri, study_id)


def _parent(client: MlflowClient, uri: str, study_id: str) -> Any:
    parents = list(_parents(client, f" AND tags.`reparam.study_id` = '{_quoted(study_id)}'"))
    if not parents:
        if (experiment_id := deleted_studies(client).get(study_id)) is not None:
            raise was_deleted(client, f"the runs of {study_id} were", experiment_id)
        known = list_studies(uri)
        raise TrackingError(
            f"no study {study_id!r} in {redact(uri)}: " + (f"it holds {', '.join(known)}" if known else "it holds none")
        )
    return only_run(client, study_id, parents)


def _load(client: MlflowClient, uri: str, study_id: str) -> StudyResults:
    parent = _parent(client, uri, study_id)
    tags = parent.data.tags
    try:
        study = _StudyTag.model_validate_json(tags["reparam.study"])
        dataset, provenance = (_OBJECT.validate_json(tags[f"reparam.{name}"]) for name in ("dataset", "provenance"))
        # Earlier versions knew images alone.
        dataset = {"kind": "image", "encoding": "", "sample_rate": None, **dataset}
        dataset["symbols"] = [chr(code) for code in _CODE_POINTS.validate_python(dataset.get("symbols", []))]
        _DATASET.validate_python({name: value for name, value in dataset.items() if name not in ("digest", "held_out")})
        settings = _OBJECT.validate_json(tags["reparam.settings"])
        selected = _SELECTED.validate_json(tags.get("reparam.selected", "{}"))
        equivalence = _EQUIVALENCE.validate_python(settings.get("equivalence", EQUIVALENCE))
        unbegun = _UNBEGUN.validate_json(tags.get(UNBEGUN_TAG, "[]"))
        promoted = _PROMOTED.validate_json(tags.get(PROMOTED_TAG, "{}"))
        won = _WON.validate_json(tags.get(WON_TAG, "[]"))
        space = _SPACE.validate_json(tags.get("reparam.space", "{}"))
        # Defines the user's own metrics where the file that registers them is not imported.
        for metric in _METRIC_LIST.validate_json(tags.get("reparam.metrics", "[]")):
            METRICS.setdefault(metric.name, metric)
    except (KeyError, ValueError, TypeError) as error:
        raise TrackingError(
            f"{study_id} in {redact(uri)} is not as a study logs it ({_reason(error)}): the command that began it "
            f"writes the tags of its run {parent.info.run_id} again"
        ) from error
    source, artifacts = open_source(client, uri), Artifacts(uri)
    below = list(source.children(parent.info.experiment_id, parent.info.run_id))
    children = [_Child(run, selected) for run in below if is_own(run.tags)]
    deleted = deleted_children(client, parent.info.experiment_id, parent.info.run_id)
    settings["deleted_runs"] = len(deleted.keys() - {child.tags.key for child in children})
    if settings["deleted_runs"] and not children:
        raise was_deleted(client, f"all {settings['deleted_runs']} runs of {study_id} were", parent.info.experiment_id)
    settings["foreign_runs"] = len(below) - len(children)
    finals = [child for child in children if child.role == "final"]
    settings["superseded_final_runs"] = sum(child.role == "superseded" for child in children)
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
        runs=_runs_frame(children, uri),
        measurements=pd.DataFrame.from_records(
            [tuple(row.values()) for child in children for row in child.measurements(study_id)],
            columns=MEASUREMENT_COLUMNS,
        ),
        histories=_histories(source, parent.info.run_id, children),
        images=[grid for child in [*finals, *_best(children)] for grid in child.pictures(artifacts)],
        tables=_tables(finals, artifacts),
        space=space,
        unavailable={child.run_id: child.unavailable for child in finals if child.unavailable},
        reference_codes=read_reference_codes(parent.info.run_id, tags, parent.data.metrics),
        unbegun=unbegun,
        equivalence=equivalence,
        promoted=promoted,
        won_images=[each.read(parent.info.artifact_uri, artifacts) for each in won],
    )


class _Selected(BaseModel):
    """What the tag ``reparam.selected`` says of an arm."""

    config_hash: str


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
        png = _download(artifacts, f"{location}/{IMAGE_FOLDER}/{self.picture}.png")
        return WonImages(self.winner, self.loser, self.images, png)


def _download(artifacts: Artifacts, address: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return artifacts.download(address, Path(folder)).read_bytes()


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return shorten(format_validation_error(error, "a tag"))
    return f"{error} is missing" if isinstance(error, KeyError) else shorten(str(error))


_RESCUES = f"train/rescues{EVALUATION_SUFFIX}"
_NAME = re.compile(r"[\w-][\w.-]*")
"""Of an artifact."""
_OBJECT = TypeAdapter(dict[str, Any])
_DATASET = TypeAdapter(DatasetInfo)
_CODE_POINTS = TypeAdapter(list[Annotated[int, Field(ge=0, le=0x10FFFF)]])
_SELECTED = TypeAdapter(dict[str, _Selected])
_EQUIVALENCE = TypeAdapter(Equivalence)
_UNBEGUN = TypeAdapter(list[Unbegun])
_PROMOTED = TypeAdapter(dict[str, list[int]])
_WON = TypeAdapter(Annotated[list[_Won], Field(max_length=100)])
_METRIC_LIST = TypeAdapter(list[Metric])
_SPACE = TypeAdapter(dict[str, dict[str, dict[str, Any]]])
"""The ranges of the swept parameters, by arm and name."""


def _best(children: list[_Child]) -> list[_Child]:
    """The best trials of each arm: reading the pictures of all would take thousands of requests."""
    key = "validation/bits_per_dim"
    measured = [c for c in children if c.role == "search" and math.isfinite(c.run.metrics.get(key, math.nan))]
    by_arm: dict[str, list[_Child]] = {}
    for child in sorted(measured, key=lambda child: float(child.run.metrics[key])):
        by_arm.setdefault(child.arm, []).append(child)
    return [child for of_arm in by_arm.values() for child in of_arm[:TRIALS_PICTURED]]


def _ui(uri: str) -> str:
    """The address of the MLflow UI: a server's own, or that of `reparam-bench ui` for any other store."""
    scheme, _, rest = uri.rstrip("/").partition("://")
    # Without credentials, since reports show it; a browser asks for them.
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme in ("http", "https") else UI_ADDRESS


def _tables(children: list[_Child], artifacts: Artifacts) -> dict[str, pd.DataFrame]:
    """The tables of some runs, concatenated by name."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for child in children:
        for name, table in child.tables(artifacts):
            parts.setdefault(name, []).append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


@dataclass(frozen=True)
class LoggedModel:
    """A logged model run, with everything that an evaluation of its model needs.

    Attributes:
        run_id: MLflow's identifier.
        name: the run's name.
        role: ``search`` or ``final``.
        seed: the run's seed.
        config: its configuration, as JSON of :class:`bench.study.config.RunConfig`.
        digest: the digest of the data that it was trained on.
        backend: the backend that trained it.
        evaluations: the number of validation evaluations during its training.
        dataset: the data set, as in the study's settings.
        preparation: how its images are read.
        settings: the study's settings.
        keeps_model: whether the run has its trained model.
    """

    run_id: str
    name: str
    role: str
    seed: int
    config: str
    digest: str
    backend: str
    evaluations: int
    dataset: str
    preparation: Preparation
    settings: dict[str, Any]
    keeps_model: bool

    @property
    def evaluation_images(self) -> int | None:
        """The number of validation images that its training was evaluated on; None for all."""
        limit = self.settings.get("evaluation_images")
        return None if limit is None else int(limit)

    def check_data(self, name: str, digest: str) -> None:
        """Check that a data set is the one that the run was trained on.

        Args:
            name: the data set's name.
            digest: its digest.

        Raises:
            SettingsError: it is another one.
        """
        if digest != self.digest:
            raise SettingsError(
                f"run {self.name!r} was trained on data of digest {self.digest[:12]}, but {name} has {digest[:12]}: "
                "give the same data with --dataset"
            )


def load_run(uri: str, run_id: str) -> LoggedModel:
    """Load a model run.

    Args:
        uri: the tracking URI.
        run_id: MLflow's identifier of the run, or a unique beginning of it.

    Returns:
        The run.

    Raises:
        TrackingError: the store cannot be reached, or holds no such run, or it is not the run of a model.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        run = _find_run(client, uri, run_id)
        known = run.data.tags
        if "reparam.config" not in known:
            raise TrackingError(f"run {run_id!r} is not the run of a model: give that of a trial or of a final run")
        tags = RunTags.of(run.info.run_id, known)
        with raise_if_edited(run.info.run_id):
            parent = client.get_run(known[PARENT_TAG])
        kept = (run.outputs and run.outputs.model_outputs) or client.list_artifacts(run.info.run_id, MODEL_FOLDER)
    settings = read_json(parent.info.run_id, parent.data.tags, "reparam.settings", {})
    if "dataset" not in settings:
        raise TrackingError(
            f"the study of run {run_id!r} does not say what data it used: its model cannot be evaluated"
        )
    with raise_if_edited(parent.info.run_id):
        preparation, dataset = Preparation.from_settings(settings), _text(settings["dataset"])
    with raise_if_edited(run.info.run_id):
        config = json.loads(known["reparam.config"])
        return LoggedModel(
            run_id=run.info.run_id,
            name=run.info.run_name,
            role=tags.role,
            seed=tags.seed,
            config=known["reparam.config"],
            digest=_text(config["dataset_digest"]),
            backend=_text(config["backend"]),
            evaluations=int(config["training"]["evaluations"]),
            dataset=dataset,
            preparation=preparation,
            settings=settings,
            keeps_model=bool(kept),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def load_curve(uri: str, run_id: str) -> pd.DataFrame:
    """The learning curve of a run, ``evaluation metric value``: all values of training and validation except times."""
    client = connect(uri)
    with raise_tracking_errors(uri):
        keys = [
            key
            for key in client.get_run(run_id).data.metrics
            if re.fullmatch(rf"(train|validation)/.*{EVALUATION_SUFFIX}", key)
        ]
        points = [
            {"evaluation": point.step, "metric": key.removesuffix(EVALUATION_SUFFIX), "value": point.value}
            for key in keys
            for point in client.get_metric_history(run_id, key)
        ]
    return pd.DataFrame(points, columns=["evaluation", "metric", "value"])


def _find_run(client: MlflowClient, uri: str, run_id: str) -> Any:
    if re.fullmatch(r"[0-9a-f]{4,32}", run_id):
        found = list(search_runs(client, experiment_ids(client), f"attributes.run_id LIKE '{run_id}%'"))
        if len(found) == 1:
            return found[0]
        if found:
            raise TrackingError(f"{len(found)} runs in {redact(uri)} begin with {run_id!r}: give more digits")
    raise TrackingError(
        f"no run {run_id!r} in {redact(uri)}: give a run's identifier, 32 hexadecimal digits or the first few, as "
        "runs.csv beside a report lists them"
    )


def load_model_file(uri: str, run_id: str, folder: Path) -> Path:
    """Download the ``.keras`` file of a run's model.

    Args:
        uri: the tracking URI.
        run_id: MLflow's identifier of the run.
        folder: where to put the file.

    Returns:
        The file.

    Raises:
        TrackingError: the store cannot be reached, or the file is not the one that the run logged, or no archive, or
            does not fit into memory.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        run = client.get_run(run_id)
        location, _ = model_location(client, run)
    address = f"{location}/{MODEL_FILE}"
    file = Artifacts(uri).download(address, folder)
    logged, found = run.data.tags.get(MODEL_DIGEST_TAG), file_digest(file)
    if logged is None:
        _say_unchecked(run_id)
    elif found != logged:
        raise TrackingError(
            f"the model of run {run_id} is not the one that the run logged (SHA-256 {found[:12]}, logged was "
            f"{logged[:12]}): put its own file back at {redact(Artifacts(uri).locate(address))}"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise TrackingError(f"the model of run {run_id} cannot be opened: {error}") from error
    if unpacked > psutil.virtual_memory().available:
        raise TrackingError(
            f"the model of run {run_id} takes {unpacked / 2**30:.1f} GiB: more than the available memory"
        )
    return file


def check_model_file(uri: str, run_id: str) -> None:
    """Check that a run's model is the one that the run logged, before work that takes long.

    Raises:
        TrackingError: as in :func:`load_model_file`.
    """
    with tempfile.TemporaryDirectory() as folder:
        load_model_file(uri, run_id, Path(folder))


@cache
def _say_unchecked(run_id: str) -> None:
    log.warning("run %s was logged without a digest of its model: that the model is its own is not checked", run_id)


def _quoted(text: str) -> str:
    """Text for a filter string: MLflow cannot escape quotes, and our identifiers have none."""
    return text.replace("'", "")


def _parents(client: MlflowClient, condition: str) -> Iterator[Any]:
    # In any experiment, as a person may have renamed it.
    found = search_runs(client, experiment_ids(client), f"tags.`reparam.role` = 'study'{condition}", order="DESC")
    yield from found


class _Child:
    """A model run in the store."""

    def __init__(self, run: StoredRun, selected: Mapping[str, _Selected]) -> None:
        self.run = run
        self.run_id = run.run_id
        self.tags = RunTags.of(run.run_id, run.tags)
        self.arm = self.tags.arm
        self.role: str = self.tags.role
        chosen = selected.get(self.arm)
        if self.role == "final" and chosen and chosen.config_hash != self.tags.config_hash:
            self.role = "superseded"

    @property
    def unavailable(self) -> dict[str, str]:
        """Why each metric is missing that could not be measured."""
        return dict(self._json(UNAVAILABLE_TAG, {}))

    def _json(self, tag: str, default: Any) -> Any:
        return read_json(self.run_id, self.run.tags, tag, default)

    def row(self, uri: str) -> dict[str, Any]:
        run = self.run
        row: dict[str, Any] = {
            "run_id": self.run_id,
            "name": run.name,
            "role": self.role,
            "arm": self.arm,
            "family": self.tags.family,
            "number": self.tags.number,
            "attempt": self.tags.attempt,
            "continued_from": self.tags.continued_from,
            "seed": self.tags.seed,
            "state": self.tags.state.value,
            "reason": self.tags.reason,
            "config_hash": self.tags.config_hash,
            "started": self._started(),
            "seconds": math.nan if run.end_time is None else (run.end_time - run.start_time) / 1000,
            "url": f"{_ui(uri)}/#/experiments/{run.experiment_id}/runs/{self.run_id}?{TRAINING_MODE}",
        }
        return row | {f"param.{name}": _parsed(value) for name, value in run.params.items()}

    def _started(self) -> pd.Timestamp:
        with raise_if_edited(self.run_id, "when it began"):
            return pd.Timestamp(self.run.start_time, unit="ms", tz="UTC")

    def measurements(self, study_id: str) -> Iterator[dict[str, Any]]:
        values, details = self.run.metrics, list(self._details())
        if _RESCUES in values and "cost/rescues" not in values:
            # Pruned or diverged, so that it was not measured.
            values = {**values, "cost/rescues": values[_RESCUES]}
            details.append(("cost", "rescues", {}))
        for split, metric, detail in details:
            key = f"{split}/{metric}"
            known = METRICS.get(metric)
            with raise_if_edited(self.run_id):
                bound = (
                    Bound(BoundKind(detail["kind"]), detail["importance_samples"], detail["dequantisation"])
                    if "kind" in detail
                    else None
                )
                value = values[key]
            yield {
                "study": study_id,
                "run_id": self.run_id,
                "role": self.role,
                "arm": self.arm,
                "family": self.tags.family,
                "trial": self.tags.number,
                "seed": self.tags.seed,
                "config_hash": self.tags.config_hash,
                "split": split,
                "metric": metric,
                "value": value,
                "standard_error": values.get(f"{key}{ERROR_SUFFIX}"),
                "n": detail.get("n"),
                "unit": known.unit if known else "",
                "higher_is_better": known.higher_is_better if known else None,
                "bound": bound.kind.value if bound else None,
                "importance_samples": bound.importance_samples if bound else None,
                "dequantisation": bound.dequantisation if bound else None,
                "monte_carlo_error": values.get(f"{key}{MONTE_CARLO_SUFFIX}"),
                "conditions": detail.get("conditions", ""),
            }

    def _details(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for tag in self.run.tags:
            if tag.startswith(DETAILS_TAG):
                for metric, detail in self._json(tag, {}).items():
                    yield tag.removeprefix(DETAILS_TAG), metric, detail

    def pictures(self, artifacts: Artifacts) -> Iterator[ImageGrid]:
        captions = self._json("reparam.captions", {})
        for kind, caption in captions.items():
            self._check_name(kind)
            png = self._read(artifacts, f"{IMAGE_FOLDER}/{kind}.png")
            yield ImageGrid(self.run_id, self.arm, kind, caption, png)

    def tables(self, artifacts: Artifacts) -> Iterator[tuple[str, pd.DataFrame]]:
        for name in self._json("reparam.tables", []):
            self._check_name(name)
            content = self._read(artifacts, f"{TABLE_FOLDER}/{name}.csv")
            with raise_if_edited(self.run_id, f"its artifact {TABLE_FOLDER}/{name}.csv"):
                table = pd.read_csv(io.BytesIO(content))
                table.insert(0, "run_id", self.run_id)
            yield name, table

    def _check_name(self, name: object) -> None:
        """A name with a slash, which nothing that is logged has, would lead outside the run's artifacts."""
        with raise_if_edited(self.run_id, "the name of an artifact"):
            if not (isinstance(name, str) and _NAME.fullmatch(name)):
                raise ValueError(f"{name!r}, in a tag")

    def _read(self, artifacts: Artifacts, path: str) -> bytes:
        return _download(artifacts, f"{self.run.artifacts}/{path}")


def _histories(source: ClientSource, parent_id: str, children: list[_Child]) -> pd.DataFrame:
    """The learning curves of some runs; each point has the images and the seconds until then."""
    place, order = ["run_id", "step"], pd.CategoricalDtype([child.run_id for child in children])
    metrics = pd.CategoricalDtype(list(CURVES))

    def points(key: str, name: str) -> pd.DataFrame:
        logged = f"{key}{EVALUATION_SUFFIX}"
        runs = [child.run_id for child in children if logged in child.run.metrics]
        frame = source.history(parent_id, runs, logged)
        frame = frame.drop_duplicates(place, keep="last")  # a repeated attempt logs again
        return frame.assign(run_id=frame["run_id"].astype(order)).rename(columns={"value": name})

    spent = [points("cost/images_seen", "images"), points("cost/seconds", "seconds")]
    curves = []
    for metric in CURVES:
        curve = points(metric, "value")
        for each in spent:
            curve = curve.merge(each, how="left", on=place)
        curves.append(curve.assign(metric=pd.Categorical([metric], dtype=metrics).repeat(len(curve))))
    frame = pd.concat(curves, ignore_index=True)[HISTORY_COLUMNS]
    return frame.sort_values(["run_id", "metric", "step"], ignore_index=True)


def _runs_frame(children: list[_Child], uri: str) -> pd.DataFrame:
    rows = [child.row(uri) for child in children]
    parameters = sorted({name for row in rows for name in row if name.startswith("param.")})
    return pd.DataFrame(rows, columns=[*RUN_COLUMNS, *parameters])


def _parsed(text: str) -> Any:  # MLflow stores every parameter as text
    """A parameter's value, as a number if it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
