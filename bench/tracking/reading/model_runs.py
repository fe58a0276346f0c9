"""Reads one run of a model: its configuration, its learning curve, its weights. Imports no framework."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from mlflow.tracking import MlflowClient

from bench.core.digests import file_digest
from bench.core.errors import SettingsError, TrackingError
from bench.core.redaction import redact
from bench.data.preparation import Preparation
from bench.tracking.connection import connect, raise_tracking_errors
from bench.tracking.location import Artifacts
from bench.tracking.long_tags import of_tags
from bench.tracking.reading.reader import log
from bench.tracking.registry import model_location
from bench.tracking.run_tags import RunTags, raise_if_edited, read_json
from bench.tracking.runs import PARENT_TAG, experiment_ids, search_runs
from bench.tracking.schema import (
    EVALUATION_SUFFIX,
    MODEL_DIGEST_TAG,
    MODEL_FILE,
    MODEL_FOLDER,
)


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
    of_study = parent.data.tags
    with raise_if_edited(parent.info.run_id):
        whole = {name: of_tags(of_study, name) for name in ("reparam.settings",) if name in of_study}
    settings = read_json(parent.info.run_id, whole, "reparam.settings", {})
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
