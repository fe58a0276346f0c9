"""Writing: studies and runs into an MLflow tracking store."""

from __future__ import annotations

import html
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from bench.errors import TrackingError
from bench.redaction import redact
from bench.results import EpochRecord, Measurement, RunState
from bench.tracking.contract import (
    DETAILS_TAG,
    EPOCH_SUFFIX,
    ERROR_SUFFIX,
    IMAGE_FOLDER,
    LARGEST_VALUE,
    MODEL_FILE,
    MONTE_CARLO_SUFFIX,
    STATUS,
    TABLE_FOLDER,
    StudyDescription,
)

if TYPE_CHECKING:
    import pandas as pd

    from bench.config import RunConfig
    from models.likelihood_model import LikelihoodModel

FLUSH_SECONDS = 2.0
"""Learning curves are sent this often, not once an epoch: a request costs more than a short epoch."""
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow that these are training runs, which it would otherwise have to guess."""


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
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)
        except (MlflowException, OSError) as error:
            raise TrackingError(f"tracking store {redact(uri)} cannot be reached: {redact(str(error))}") from error

    def open_study(self, study: StudyDescription) -> StudyRun:
        """The parent run of the study: the one that exists, or a new one."""
        experiment_id = self._experiment(study.name)
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
                tags={
                    "reparam.study_id": study.study_id,
                    "reparam.role": "study",
                    # MLflow shows it as Markdown, in which HTML would be HTML.
                    "mlflow.note.content": html.escape(study.question, quote=False),
                },
            )
            run_id = run.info.run_id
            self._log_parameters(run_id, study.settings)
        parent = StudyRun(self, run_id, experiment_id, study)
        parent.describe()
        return parent

    def _experiment(self, name: str) -> str:
        full_name = f"reparam-bench/{name}"
        experiment = self.client.get_experiment_by_name(full_name)
        if experiment is not None:
            return cast(str, experiment.experiment_id)
        embedded = self.uri.startswith("sqlite:")
        location = (self.artifacts / name).resolve().as_uri() if embedded else None
        return cast(str, self.client.create_experiment(full_name, artifact_location=location, tags=_EXPERIMENT_TAGS))

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
        return ModelRun(self.client, run.info.run_id)

    def children(self) -> list[LoggedRun]:
        """The study's model runs, oldest first."""
        condition = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        return [LoggedRun.of(run) for run in self.tracker._search([self.experiment_id], condition)]

    def resume_run(self, run_id: str) -> ModelRun:
        """A run that another process began, to end it."""
        return ModelRun(self.client, run_id)

    def select(self, chosen: Mapping[str, Mapping[str, Any]]) -> None:
        """Record the selected trial of each family: its number and its configuration's hash."""
        self.client.set_tag(self.run_id, "reparam.selected", json.dumps(chosen))

    def log_report(self, folder: Path) -> None:
        """Keep the report's files as artifacts of the parent run."""
        self.client.log_artifacts(self.run_id, str(folder), "report")

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
        )


class ModelRun:
    """The run of one trained model, while it is written."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
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
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        # MLflow takes at most 1,000 metrics a request.
        while self._pending:
            batch, self._pending = self._pending[:1000], self._pending[1000:]
            self.client.log_batch(self.run_id, metrics=batch)
        self._flushed = time.monotonic()

    def log_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Log values with their errors, and what else there is to know of them."""
        now = int(time.time() * 1000)
        details: dict[str, dict[str, dict[str, Any]]] = {}
        for row in measurements:
            self._pending.append(Metric(row.key, row.value, now, 0))
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
        """Keep a small file as an artifact; ``name`` may have folders, ``images/samples.png``."""
        path = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, path.name)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                file.write_text(redact(content), encoding="utf-8")
            self.client.log_artifact(self.run_id, str(file), str(path.parent) if path.parent.name else None)

    def log_pictures(self, pictures: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep pictures (kind, caption, PNG) under ``images/``."""
        for kind, _, png in pictures:
            self.log_file(png, f"{IMAGE_FOLDER}/{kind}.png")
        captions = {kind: caption for kind, caption, _ in pictures}
        self.client.set_tag(self.run_id, "reparam.captions", json.dumps(captions))

    def log_model(self, model: LikelihoodModel) -> None:
        """Keep the model as ``model/model.keras``, which loads without unpickling anything.

        Its optimizer stays out: it weighs more than the model, and loading would need its class too.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, Path(MODEL_FILE).name)
            model.bare_copy().save(file)
            self.client.log_artifact(self.run_id, str(file), str(Path(MODEL_FILE).parent))

    def finish(self, state: RunState, reason: str = "") -> None:
        """End the run in a state, with its reason."""
        self._flush()
        tags = [RunTag("reparam.state", state)]
        if reason:
            tags.append(RunTag("reparam.reason", redact(reason)[:LARGEST_VALUE]))
        self.client.log_batch(self.run_id, tags=tags)
        self.client.set_terminated(self.run_id, STATUS[state])
