"""Writing: studies and runs into an MLflow tracking store."""

from __future__ import annotations

import io
import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from PIL import Image

from bench.errors import TrackingError
from bench.redaction import redact
from bench.results import EpochRecord, Measurement, RunState
from bench.tracking.connection import connect
from bench.tracking.contract import (
    DETAILS_TAG,
    EPOCH_SUFFIX,
    ERROR_SUFFIX,
    IMAGE_FOLDER,
    LARGEST_VALUE,
    MODEL_FOLDER,
    MONTE_CARLO_SUFFIX,
    STATUS,
    TABLE_FOLDER,
    TRAINING_MODE,
    StudyDescription,
)
from bench.tracking.notes import experiment_note, registered_model_note, run_note, study_note, version_note
from bench.tracking.registry import register
from bench.tracking.views import saved_views

if TYPE_CHECKING:
    import pandas as pd

    from bench.config import RunConfig
    from bench.data.dataset import Images
    from models.likelihood_model import LikelihoodModel

FLUSH_SECONDS = 2.0
"""Learning curves are sent this often, not once an epoch: a request costs more than a short epoch."""
NOTE_TAG = "mlflow.note.content"
"""MLflow shows it, as Markdown, as the description of a run or an experiment."""
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow that these are training runs, which it would otherwise have to guess."""
_UNFIT_FOR_MODELS = re.compile(r"[/:.%\"']+")
"""Characters that MLflow refuses in the name of a logged model."""
SAMPLES_KEY = "samples/by epoch"
"""The section and the name under which the UI shows sample grids, with a slider."""


class Tracker:
    """A connection to a tracking store.

    Args:
        uri: any MLflow tracking URI; ``sqlite:///path`` keeps everything in one file.
        artifacts: folder for artifacts of an embedded store; a server has its own place for them.

    Raises:
        TrackingError: the store cannot be reached.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self.client = connect(uri, make=True)

    def open_study(self, study: StudyDescription) -> StudyRun:
        """The parent run of the study: the one that exists, or a new one."""
        experiment_id = self._experiment(study)
        found = self._search(
            [experiment_id], f"tags.`reparam.study_id` = '{study.study_id}' AND tags.`reparam.role` = 'study'"
        )
        if found:
            run_id = found[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
        else:
            date = time.strftime("%Y-%m-%d", time.gmtime())
            run = self.client.create_run(
                experiment_id,
                run_name=f"{study.name} {study.dataset.name} {date}",
                tags={"reparam.study_id": study.study_id, "reparam.role": "study"},
            )
            run_id = run.info.run_id
            self._log_parameters(run_id, study.settings)
        parent = StudyRun(self, run_id, experiment_id, study)
        parent.describe()
        return parent

    def _experiment(self, study: StudyDescription) -> str:
        full_name = f"reparam-bench/{study.name}"
        experiment = self.client.get_experiment_by_name(full_name)
        if experiment is not None:
            return cast(str, experiment.experiment_id)
        embedded = self.uri.startswith("sqlite:")
        location = (self.artifacts / study.name).resolve().as_uri() if embedded else None
        experiment_id = cast(str, self.client.create_experiment(full_name, location, _EXPERIMENT_TAGS))
        # Written once, so that a person's own changes stay.
        tags = {NOTE_TAG: experiment_note(study, experiment_id), **saved_views(study)}
        for name, value in tags.items():
            self.client.set_experiment_tag(experiment_id, name, value)
        return experiment_id

    def _search(self, experiment_ids: Sequence[str], condition: str) -> list[Any]:
        """All runs that meet the condition, page by page, oldest first."""
        runs: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs(
                list(experiment_ids),
                condition,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _log_parameters(self, run_id: str, parameters: Mapping[str, Any]) -> None:
        rows = [Param(name, redact(str(value))[:LARGEST_VALUE]) for name, value in parameters.items()]
        self.client.log_batch(run_id, params=rows)


class StudyRun:
    """The parent run of a study."""

    def __init__(self, tracker: Tracker, run_id: str, experiment_id: str, study: StudyDescription) -> None:
        self.tracker = tracker
        self.client = tracker.client
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.study = study

    def address(self, artifact: str = "") -> str:
        """The page of the run, or of an artifact of it, relative to the UI's."""
        shown = f"/artifacts/{artifact}" if artifact else ""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}{shown}?{TRAINING_MODE}"

    def describe(self) -> None:
        """Log what the study is and where it runs, anew each time that it is continued."""
        study = self.study
        data = asdict(study.dataset) | {"digest": study.digest}
        tags = {
            "reparam.study": json.dumps(
                {"id": study.study_id, "name": study.name, "question": study.question, "swept": study.swept}
            ),
            "reparam.dataset": json.dumps(data),
            "reparam.settings": json.dumps(study.settings),
            "reparam.provenance": json.dumps(study.provenance),
            "mlflow.source.git.commit": str(study.provenance["commit"]),
            NOTE_TAG: study_note(study),
        }
        self.client.log_batch(self.run_id, tags=[RunTag(name, redact(value)) for name, value in tags.items()])
        self.log_dataset(self.run_id, "all splits")

    def log_dataset(self, run_id: str, context: str) -> None:
        """Log the data set as an input of a run, with its digest."""
        info = self.study.dataset
        entity = DatasetEntity(
            name=info.name,
            digest=self.study.digest[:36],
            source_type="reparam-bench",
            source=json.dumps({"source": info.source}),
            profile=json.dumps({"sizes": info.sizes, "grey_levels": info.grey_levels, "image_shape": info.image_shape}),
        )
        tag = InputTag("mlflow.data.context", context)
        self.client.log_inputs(run_id, datasets=[DatasetInput(entity, [tag])])

    def start_run(
        self,
        name: str,
        role: str,
        family: str,
        seed: int,
        config: RunConfig,
        number: int | None = None,
        **parameters: Any,
    ) -> ModelRun:
        """Begin the run of one trained model.

        Args:
            name: how MLflow shows it.
            role: ``search`` or ``final``.
            family: the model's family.
            seed: the run's seed.
            config: what is trained.
            number: the trial's number within the family.
            parameters: what else there is to log beside the configuration's own parameters.
        """
        tags = {
            "mlflow.parentRunId": self.run_id,
            "reparam.study_id": self.study.study_id,
            "reparam.role": role,
            "reparam.family": family,
            "reparam.seed": str(seed),
            "reparam.config_hash": config.hash,
            "reparam.config": config.model_dump_json(),
            "reparam.state": RunState.RUNNING,
            **({} if number is None else {"reparam.number": str(number)}),
        }
        run = self.client.create_run(self.experiment_id, run_name=name, tags=tags)
        self.tracker._log_parameters(run.info.run_id, {**config.parameters(), **parameters})
        self.log_dataset(run.info.run_id, "training and validation" if role == "search" else "all splits")
        return ModelRun(self, run.info.run_id)

    def children(self) -> list[LoggedRun]:
        """The study's model runs, oldest first."""
        condition = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        return [LoggedRun.of(run) for run in self.tracker._search([self.experiment_id], condition)]

    def resume_run(self, run_id: str) -> ModelRun:
        """A run that another process began, to end it."""
        return ModelRun(self, run_id)

    def select(self, chosen: Mapping[str, Mapping[str, Any]]) -> None:
        """Record the selected trial of each family: its number and its configuration's hash."""
        self.client.set_tag(self.run_id, "reparam.selected", json.dumps(chosen))

    def register(self, champions: Mapping[str, LoggedRun]) -> list[str]:
        """Register the model of a final run of each family, as ``models:/NAME@champion``.

        Args:
            champions: the final run by family.

        Returns:
            The names of the registered models.

        Raises:
            TrackingError: the store keeps no registry, or refuses.
        """
        names = []
        for family, run in champions.items():
            name = f"reparam-bench.{self.study.study_id}.{family}"
            about = registered_model_note(self.study, name, self.tracker.uri)
            try:
                names.append(register(self.client, name, run.run_id, about, version_note(run)))
            except MlflowException as error:
                reason = redact(str(error).splitlines()[0])
                raise TrackingError(f"{redact(self.tracker.uri)} does not register {name!r}: {reason}") from error
        return names

    def log_report(self, folder: Path, headline: str = "") -> None:
        """Keep the report's files as artifacts of the parent run, and its ``headline`` in the run's description."""
        self.client.log_artifacts(self.run_id, str(folder), "report")
        note = study_note(self.study, headline, self.address("report/report.html"))
        self.client.set_tag(self.run_id, NOTE_TAG, note)

    def finish(self, state: RunState) -> None:
        """End the parent run."""
        self.client.set_tag(self.run_id, "reparam.state", state)
        self.client.set_terminated(self.run_id, STATUS[state])


@dataclass(frozen=True)
class LoggedRun:
    """What a continued study needs to know of a model run that is in the store already."""

    run_id: str
    role: str
    family: str
    number: int | None
    seed: int
    config_hash: str
    state: RunState
    status: str
    validation: float | None
    """One-sample bound in bits/dim on validation at the last look of its training."""

    @classmethod
    def of(cls, run: Any) -> LoggedRun:
        """From MLflow's own run."""
        tags = run.data.tags
        number = tags.get("reparam.number")
        return cls(
            run_id=run.info.run_id,
            role=tags["reparam.role"],
            family=tags["reparam.family"],
            number=None if number is None else int(number),
            seed=int(tags["reparam.seed"]),
            config_hash=tags["reparam.config_hash"],
            state=RunState(tags["reparam.state"]),
            status=run.info.status,
            validation=run.data.metrics.get(f"validation/bits_per_dim{EPOCH_SUFFIX}"),
        )


class ModelRun:
    """The run of one trained model, while it is written."""

    def __init__(self, study: StudyRun, run_id: str) -> None:
        self.study = study
        self.client = study.client
        self.run_id = run_id
        self._measured: list[Measurement] = []
        self._model: dict[str, Any] = {}
        self._pending: list[Metric] = []
        self._flushed = time.monotonic()

    def log_epoch(self, record: EpochRecord) -> None:
        """Log one point of the learning curve; sent with others every few seconds and at the end."""
        now = int(time.time() * 1000)
        values = {
            **{f"{key}{EPOCH_SUFFIX}": value for key, value in record.values.items()},
            f"cost/images_seen{EPOCH_SUFFIX}": float(record.images),
            f"cost/seconds{EPOCH_SUFFIX}": record.seconds,
        }
        self._pending += [Metric(key, value, now, record.epoch) for key, value in values.items()]
        if record.samples is not None:
            picture = Image.open(io.BytesIO(record.samples))
            self.client.log_image(self.run_id, picture, key=SAMPLES_KEY, step=record.epoch)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        # MLflow takes at most 1,000 metrics a request.
        while self._pending:
            batch, self._pending = self._pending[:1000], self._pending[1000:]
            self.client.log_batch(self.run_id, metrics=batch)
        self._flushed = time.monotonic()

    def log_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Log values with their errors, and what else there is to know of them; also those of the logged model."""
        self._measured += measurements
        now = int(time.time() * 1000)
        details: dict[str, dict[str, dict[str, Any]]] = {}
        for row in measurements:
            self._pending.append(Metric(row.key, row.value, now, 0, **self._model))
            for suffix, error in ((ERROR_SUFFIX, row.standard_error), (MONTE_CARLO_SUFFIX, row.monte_carlo_error)):
                if error is not None:
                    self._pending.append(Metric(f"{row.key}{suffix}", error, now, 0))
            details.setdefault(row.split, {})[row.metric] = {
                **({} if row.n is None else {"n": row.n}),
                **({} if row.bound is None else asdict(row.bound)),
                **({"conditions": redact(row.conditions)} if row.conditions else {}),
            }
        self._flush()
        tags = [RunTag(f"{DETAILS_TAG}{split}", json.dumps(known)) for split, known in details.items()]
        self.client.log_batch(self.run_id, tags=tags)

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Keep tables of the result schema under ``tables/``, as CSV."""
        for name, table in tables.items():
            self.log_file(table.to_csv(index=False), f"{TABLE_FOLDER}/{name}.csv")
        self.client.set_tag(self.run_id, "reparam.tables", json.dumps(list(tables)))

    def log_refused(self, refused: Mapping[str, str]) -> None:
        """Keep why metrics could not be measured."""
        self.client.set_tag(self.run_id, "reparam.refused", json.dumps(dict(refused)))

    def log_file(self, content: bytes | str, name: str) -> None:
        """Keep a small file as an artifact; ``name`` may have folders, ``pictures/samples.png``."""
        path = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, path.name)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                file.write_text(redact(content), encoding="utf-8")
            self.client.log_artifact(self.run_id, str(file), str(path.parent) if path.parent.name else None)

    def log_pictures(self, pictures: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep pictures (kind, caption, PNG) under ``pictures/``."""
        for kind, _, png in pictures:
            self.log_file(png, f"{IMAGE_FOLDER}/{kind}.png")
        captions = {kind: caption for kind, caption, _ in pictures}
        self.client.set_tag(self.run_id, "reparam.captions", json.dumps(captions))

    def log_model(self, model: LikelihoodModel, example: Images) -> None:
        """Keep the model, ready to be served, as the run's logged model; what is measured next is measured of it.

        A store that knows no logged models keeps the same files as artifacts of the run.

        Args:
            model: the trained model.
            example: an image (1, h, w, c) to show what it takes.
        """
        # Here, for reading a store takes no framework.
        from bench.tracking.package import write_package

        run = self.client.get_run(self.run_id)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, MODEL_FOLDER)
            try:
                logged = self.client.create_logged_model(
                    self.study.experiment_id,
                    _UNFIT_FOR_MODELS.sub("-", run.info.run_name),
                    self.run_id,
                    params=run.data.params,
                    model_type=str(model.configuration.family),
                )
            except MlflowException:
                write_package(model, example, folder, self.run_id, None)
                self.client.log_artifacts(self.run_id, str(folder), MODEL_FOLDER)
                return
            write_package(model, example, folder, self.run_id, logged.model_id)
            self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        data = self.study.study
        self._model = {
            "model_id": logged.model_id,
            "dataset_name": data.dataset.name,
            "dataset_digest": data.digest[:36],
            "run_id": self.run_id,
        }

    def finish(self, state: RunState, reason: str = "", standing: str = "") -> None:
        """End the run in a state, with its reason, and in words where it stands among the others."""
        self._flush()
        note = run_note(self.study.study, self.study.address(), state, reason, standing, self._measured)
        tags = [RunTag("reparam.state", state), RunTag(NOTE_TAG, note)]
        if reason:
            tags.append(RunTag("reparam.reason", redact(reason)[:LARGEST_VALUE]))
        self.client.log_batch(self.run_id, tags=tags)
        self.client.set_terminated(self.run_id, STATUS[state])
