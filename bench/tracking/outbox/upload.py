"""Uploads one outbox: sends its records to the tracking store in order, so that repeating any request is harmless.

Values keep the time at which they were logged, tags and parameters overwrite themselves, files keep their names. Runs
and logged models get their identifiers from MLflow: if an earlier request may have created one, this searches for it
first.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.tracking import MlflowClient
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image
from pydantic import ValidationError

from bench.core.logs import shorten
from bench.tracking.outbox.inside import RefusedPathError
from bench.tracking.outbox.outbox import REJECTED, Outbox, State
from bench.tracking.outbox.records import RECORD, Creation, End, File, Package, Record, Samples, Values
from bench.tracking.outbox.retry import is_transient
from bench.tracking.schema import KEY_TAG, MODEL_DIGEST_TAG, MODEL_FOLDER

# MLflow's client would repeat a request without a response, and so create a run twice. Set at import, since changing
# the environment while other threads read it is not safe.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

VALUES_PER_REQUEST = 900
"""MLflow takes 1,000 values, parameters and tags in one, of which 100 parameters and 100 tags."""
_UNFIT_FOR_MODELS = re.compile(r"[/:.%\"']+")
"""Characters that MLflow rejects in the name of a logged model."""

log = logging.getLogger(__name__)


class RunRejectedError(Exception):
    """The store rejects the creation of the run, so nothing of it can be uploaded."""


@dataclass(frozen=True)
class _Part:
    """What a line contributes to a batch."""

    line: bytes
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class Upload:
    """Uploads an outbox, starting where the last upload stopped.

    Args:
        client: client of the tracking store.
        outbox: an outbox locked by this process.
        on_rejection: called with a message when the store rejects a record, once per run.
        is_stopped: called between records; True leaves the rest for later.
    """

    def __init__(
        self,
        client: MlflowClient,
        outbox: Outbox,
        on_rejection: Callable[[str], None],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.outbox = outbox
        self.on_rejection = on_rejection
        self.is_stopped = is_stopped
        self._read = outbox.state.sent
        self._batch: list[_Part] = []

    def send(self) -> None:
        """Upload all records that are written when this begins.

        Raises:
            RunRejectedError: the store rejects the creation of the run.
            OutboxError: the disk cannot be written.
            Exception: any transient error; the next upload continues from here.
        """
        if self.outbox.taken_over:
            self._check_state()
        for line in self.outbox.unsent():
            if self.is_stopped():
                break
            self._send(line)
            self._read += len(line)
            if not self._batch:
                self.outbox.save(sent=self._read)
        self._flush()

    def _check_state(self) -> None:
        """Begin again if the run that the state names is another one: a repeated upload changes nothing.

        Raises:
            RunRejectedError: the store has no such run any more.
        """
        run_id = self.outbox.state.run_id
        if run_id is None:
            return
        try:
            key = self.client.get_run(run_id).data.tags.get(KEY_TAG)
        except MlflowException as error:
            if is_transient(error):
                raise
            raise RunRejectedError(shorten(str(error))) from error
        if key != self.outbox.creation.tags[KEY_TAG]:
            self.outbox.save(**State().model_dump())
            self._read = 0

    def _send(self, line: bytes) -> None:
        """Send a record or add it to the batch."""
        try:
            record = RECORD.validate_json(line)
        except ValidationError as error:
            self._reject(line, ValueError(error.errors()[0]["msg"]))
            return
        if not isinstance(record, Values | End):
            self._flush()
        self._attempt(line, lambda: self._handle(line, record))
        if isinstance(record, End):
            self.outbox.save(ended=True)
            if (rejected := self.outbox.num_rejected()) > 1:
                name = self.outbox.creation.name
                self.on_rejection(f"{rejected} records of run {name!r} are not uploaded; {self._rejected} says why")

    def _handle(self, line: bytes, record: Record) -> None:
        match record:
            case Values():
                self._add(_Part(line, metrics=self._metrics(record), tags=record.tags))
            case Creation():
                self._create_run(record)
                self._add(_Part(line, parameters=record.parameters))
            case File():
                self._log_file(record)
            case Samples():
                self._log_samples(record)
                self._add(_Part(line, tags={"mlflow.loggedImages": "True"}))
            case Package():
                self._log_model(record)
                # A record of an earlier version has none.
                self._add(_Part(line, tags={MODEL_DIGEST_TAG: record.digest} if record.digest else {}))
            case End():
                self._add(_Part(line, tags=record.tags))
                self._flush()
                self._end_run(record)

    def _attempt(self, line: bytes, action: Callable[[], None]) -> None:
        """Do what uploads a line; if the store rejects it, keep the line and continue with the next."""
        try:
            action()
        except Exception as error:
            if is_transient(error):
                raise
            self._reject(line, error)

    @property
    def _rejected(self) -> Path:
        return self.outbox.folder / REJECTED

    def _reject(self, line: bytes, error: Exception) -> None:
        is_first = not self._rejected.exists()
        reason = shorten(f"{type(error).__name__}: {error}")
        self.outbox.reject(line, reason)
        log.error("rejected from %s: %s", self.outbox.folder, reason, exc_info=error)
        if is_first:
            name = self.outbox.creation.name
            who = "the tracking store" if isinstance(error, MlflowException) else "the upload"
            self.on_rejection(f"{who} rejected a record of run {name!r} ({reason}); kept in {self._rejected}")

    def _add(self, part: _Part) -> None:
        if sum(len(each.metrics) for each in self._batch) + len(part.metrics) > VALUES_PER_REQUEST:
            self._flush()
        self._batch.append(part)

    def _flush(self) -> None:
        """Send the batch; if the store rejects it, send each part alone to find the one at fault."""
        batch, self._batch = self._batch, []
        if batch:
            try:
                self._log_batch(batch)
            except Exception as error:
                if is_transient(error):
                    raise
                for part in batch:
                    self._attempt(part.line, lambda part=part: self._log_batch([part]))  # type: ignore[misc]
            self.outbox.save(sent=self._read)

    def _log_batch(self, batch: list[_Part]) -> None:
        tags = {name: value for part in batch for name, value in part.tags.items()}
        self.client.log_batch(
            self._run_id,
            metrics=[metric for part in batch for metric in part.metrics],
            params=[Param(*each) for part in batch for each in part.parameters.items()],
            tags=[RunTag(*each) for each in tags.items()],
        )

    @property
    def _run_id(self) -> str:
        run_id = self.outbox.state.run_id
        if run_id is None:
            raise RunRejectedError(f"{self.outbox.folder} does not begin with the creation of its run")
        return run_id

    def _find_or_create(self, find: Callable[[], list[str]], create: Callable[[], str]) -> str:
        """The identifier of a run or logged model, which may exist if an earlier request has no known outcome."""
        state = self.outbox.state
        may_exist = self.outbox.taken_over or state.creating
        found = find() if may_exist else []
        self.outbox.save(creating=True, doubtful=state.doubtful or may_exist)
        return found[0] if found else create()

    def _create_run(self, record: Creation) -> None:
        """Create the run, with the data set as its input."""

        def create() -> str:
            run = self.client.create_run(record.experiment_id, record.at, record.tags, record.name)
            return str(run.info.run_id)

        if self.outbox.state.run_id is None:
            try:
                run_id = self._find_or_create(self._find_runs, create)
            except RefusedPathError:
                raise
            except Exception as error:
                if is_transient(error):
                    raise
                raise RunRejectedError(shorten(str(error))) from error
            self.outbox.save(creating=False, run_id=run_id)
        tag = InputTag("mlflow.data.context", record.context)
        self.client.log_inputs(self._run_id, datasets=[DatasetInput(Dataset(**record.dataset), [tag])])

    def _find_runs(self) -> list[str]:
        """The runs with this run's key: none, one, or two if a request was handled after its client gave it up."""
        creation = self.outbox.creation
        condition = f"tags.`{KEY_TAG}` = '{creation.tags[KEY_TAG]}'"
        return [run.info.run_id for run in self.client.search_runs([creation.experiment_id], condition)]

    def _metrics(self, record: Values) -> list[Metric]:
        dataset, model_id = self.outbox.creation.dataset, self.outbox.state.model_id
        model = {
            "model_id": model_id,
            "dataset_name": dataset["name"],
            "dataset_digest": dataset["digest"],
            "run_id": self.outbox.state.run_id,
        }
        return [
            Metric(key, value, record.at, record.step, **(model if model_id and key in record.of_model else {}))
            for key, value in record.metrics.items()
        ]

    def _log_file(self, record: File) -> None:
        folder = Path(record.name).parent.as_posix()
        with self.outbox.copied(record.path) as copy:
            _check_file(copy, record.path)
            self.client.log_artifact(self._run_id, str(copy), None if folder == "." else folder)

    def _log_samples(self, record: Samples) -> None:
        """Log a grid as MLflow's ``log_image`` does, but under a name that stays the same when repeated."""
        with self.outbox.copied(record.path) as picture:
            _check_file(picture, record.path)
            image = _read_png(picture)
            self.client.log_artifact(self._run_id, str(picture), "images")
            small = picture.with_name(f"{picture.stem}+compressed.webp")
            compress_image_size(image).save(small)
            self.client.log_artifact(self._run_id, str(small), "images")

    def _log_model(self, record: Package) -> None:
        """Log the package as the run's logged model; in a store without logged models, as artifacts of the run."""
        if self.outbox.state.model_id is None:
            model_id = self._find_or_create(self._find_models, lambda: self._create_model(record))
            self.outbox.save(creating=False, model_id=model_id)
        model_id = self.outbox.state.model_id or ""
        with self.outbox.copied(record.path) as folder:
            described = Model.load(str(folder))
            described.run_id, described.model_id, described.model_uuid = (
                self._run_id,
                model_id or None,
                model_id or None,
            )
            described.save(str(folder / MLMODEL_FILE_NAME))
            if not model_id:
                self.client.log_artifacts(self._run_id, str(folder), MODEL_FOLDER)
                return
            self.client.log_model_artifacts(model_id, str(folder))
        self.client.finalize_logged_model(model_id, "READY")
        outputs = self.client.get_run(self._run_id).outputs
        if model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
            self.client.log_outputs(self._run_id, [LoggedModelOutput(model_id, step=0)])

    def _create_model(self, record: Package) -> str:
        """The new logged model's identifier; empty in a store without logged models."""
        creation = self.outbox.creation
        try:
            logged = self.client.create_logged_model(
                creation.experiment_id,
                _UNFIT_FOR_MODELS.sub("-", creation.name),
                self._run_id,
                params=creation.parameters,
                model_type=record.model_type,
            )
        except MlflowException as error:
            if is_transient(error):
                raise
            log.info("%s has no logged models: %s", creation.store, error)
            return ""
        return str(logged.model_id)

    def _find_models(self) -> list[str]:
        """The run's logged models."""
        found = self.client.search_logged_models(
            [self.outbox.creation.experiment_id], f"source_run_id = '{self._run_id}'"
        )
        return [model.model_id for model in found]

    def _end_run(self, record: End) -> None:
        if self.outbox.state.doubtful:
            for duplicate in self._find_runs():
                if duplicate != self._run_id:
                    self.client.delete_run(duplicate)
        self.client.set_terminated(self._run_id, record.status, record.at)


def _check_file(copy: Path, path: str) -> None:
    if not copy.is_file():
        raise ValueError(f"{path} is a folder: a file is accepted")


def _read_png(path: Path) -> Image.Image:
    """A picture; only PNG, since decoders of other formats start programs.

    Raises:
        ValueError: it is damaged, or none; an error of the disk is another one.
    """
    content = BytesIO(path.read_bytes())
    try:
        image = Image.open(content, formats=("PNG",))
        image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} is no PNG picture: {error}") from error
    return image
