"""Upload of one outbox: its lines as requests to the tracking store, in their order, each so that it may be repeated.

Values keep the time at which they were logged, tags and parameters replace themselves, files have names that do not
change: whatever is sent again is there once. What MLflow gives an identifier of its own, a run or a logged model, is
searched for before it is created, unless it is certain that nobody tried.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.tracking import MlflowClient
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image
from pydantic import ValidationError

from bench.core.logs import shortened
from bench.tracking.outbox.outbox import REFUSED, Outbox
from bench.tracking.outbox.records import ENTRY, Creation, End, File, Package, Samples, Values
from bench.tracking.outbox.retry import may_pass
from bench.tracking.schema import KEY_TAG, MODEL_FOLDER

# MLflow's client would repeat a request whose answer it did not get, and so create a run twice. Set here and now, for
# an environment that changes while other threads read it is not safe.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

VALUES_A_REQUEST = 900
"""MLflow takes 1,000 values, parameters and tags in one, of which 100 parameters and 100 tags."""
_UNFIT_FOR_MODELS = re.compile(r"[/:.%\"']+")
"""Characters that MLflow rejects in the name of a logged model."""

log = logging.getLogger(__name__)


class RunRejectedError(Exception):
    """The store rejects to create the run: nothing of it can be uploaded."""


@dataclass(frozen=True)
class _Part:
    """What a line adds to a request that takes several."""

    line: bytes
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class Upload:
    """Delivers an outbox from where it stands.

    Args:
        client: of the tracking store.
        outbox: held by this process.
        on_rejection: told in a sentence that the store refused something of the run; once a run.
        stopped: asked between lines whether to leave the rest for later.
    """

    def __init__(
        self,
        client: MlflowClient,
        outbox: Outbox,
        on_rejection: Callable[[str], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.outbox = outbox
        self.on_rejection = on_rejection
        self.stopped = stopped
        self._read = outbox.state.sent
        self._parts: list[_Part] = []

    def send(self) -> None:
        """Upload all whole lines that there are now; those that are added meanwhile wait for others.

        Raises:
            RunRejectedError: the store rejects to create the run.
            OutboxError: how far it is uploaded cannot be remembered.
            Exception: any failure that may pass; another upload goes on where this one stopped.
        """
        size = self.outbox.size()
        while self._read < size and not self.stopped() and (lines := self.outbox.lines()):
            for line in lines:
                if self.stopped():
                    break
                self._take(line)
                self._read += len(line)
                if not self._parts:
                    self._advance()
            self._flush()

    def _take(self, line: bytes) -> None:
        """Upload a line, or put it with those of the next request."""
        try:
            record = ENTRY.validate_json(line)
        except ValidationError as error:
            self._refuse(line, error)
            return
        if isinstance(record, Values):
            self._add(_Part(line, metrics=self._metrics(record), tags=record.tags))
        elif isinstance(record, End):
            self._add(_Part(line, tags=record.tags))
            self._flush()
            self._attempt(line, lambda: self._end(record))
            self.outbox.save(ended=True)
        else:
            self._flush()
            self._attempt(line, lambda: self._handle(line, record))

    def _handle(self, line: bytes, record: Creation | File | Samples | Package) -> None:
        if isinstance(record, Creation):
            self._create(record)
            self._add(_Part(line, parameters=record.parameters))
        elif isinstance(record, File):
            self._upload(record.path, record.name)
        elif isinstance(record, Samples):
            self._show(record.path)
            self._add(_Part(line, tags={"mlflow.loggedImages": "True"}))
        else:
            self._keep_model(record)

    def _attempt(self, line: bytes, upload: Callable[[], None]) -> None:
        """Upload a line; one that is refused is kept, and the next ones have their turn."""
        try:
            upload()
        except Exception as error:
            if isinstance(error, RunRejectedError) or may_pass(error):
                raise
            self._refuse(line, error)

    def _refuse(self, line: bytes, error: Exception) -> None:
        first = not (self.outbox.folder / REFUSED).exists()
        reason = shortened(f"{type(error).__name__}: {error}")
        self.outbox.reject(line, reason)
        log.error("refused of %s: %s", self.outbox.folder, reason, exc_info=error)
        if first:
            name = self.outbox.creation.name
            kept = self.outbox.folder / REFUSED
            self.on_rejection(f"the tracking store refused something of run {name!r} ({reason}); it is kept in {kept}")

    def _add(self, part: _Part) -> None:
        if sum(len(each.metrics) for each in self._parts) + len(part.metrics) > VALUES_A_REQUEST:
            self._flush()
        self._parts.append(part)

    def _flush(self) -> None:
        """Send the parts that wait as one request; where that is refused, each by itself, to find the one at fault."""
        parts, self._parts = self._parts, []
        if parts:
            try:
                self._log(parts)
            except Exception as error:
                if may_pass(error):
                    raise
                for part in parts:
                    self._attempt(part.line, lambda part=part: self._log([part]))  # type: ignore[misc]
        self._advance()

    def _log(self, parts: list[_Part]) -> None:
        parameters: dict[str, str] = {}
        tags: dict[str, str] = {}
        for part in parts:
            parameters |= part.parameters
            tags |= part.tags
        self.client.log_batch(
            self._run_id,
            metrics=[metric for part in parts for metric in part.metrics],
            params=[Param(name, value) for name, value in parameters.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )

    def _advance(self) -> None:
        """Remember that all that was read is uploaded."""
        self.outbox.save(sent=self._read)

    @property
    def _run_id(self) -> str:
        run_id = self.outbox.state.run_id
        if run_id is None:
            raise RunRejectedError(f"{self.outbox.folder} does not begin with the creation of its run")
        return run_id

    def _create(self, record: Creation) -> None:
        """The run, and the data set as its input."""
        if self.outbox.state.run_id is None:
            tried = self.outbox.taken or self.outbox.state.creating == "run"
            try:
                runs = self._runs() if tried else []
                self.outbox.save(creating="run", doubtful=tried)
                run_id = runs[0] if runs else self._created(record)
            except Exception as error:
                if may_pass(error):
                    raise
                raise RunRejectedError(shortened(str(error))) from error
            self.outbox.save(creating="", run_id=run_id)
        tag = InputTag("mlflow.data.context", record.context)
        self.client.log_inputs(self._run_id, datasets=[DatasetInput(Dataset(**record.dataset), [tag])])

    def _created(self, record: Creation) -> str:
        run = self.client.create_run(record.experiment_id, record.at, record.tags, record.name)
        return str(run.info.run_id)

    def _runs(self) -> list[str]:
        """The runs that have this run's key: none, one, or twins."""
        creation = self.outbox.creation
        condition = f"tags.`{KEY_TAG}` = '{creation.tags[KEY_TAG]}'"
        return [run.info.run_id for run in self.client.search_runs([creation.experiment_id], condition)]

    def _metrics(self, record: Values) -> list[Metric]:
        dataset = self.outbox.creation.dataset
        model_id = self.outbox.state.model_id
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

    def _upload(self, path: str, name: str) -> None:
        folder = Path(name).parent.as_posix()
        self.client.log_artifact(self._run_id, str(self._kept(path)), None if folder == "." else folder)

    def _show(self, path: str) -> None:
        """A grid of samples as MLflow's own ``log_image`` keeps it, but under a name that is the same when repeated."""
        picture = self._kept(path)
        self.client.log_artifact(self._run_id, str(picture), "images")
        with tempfile.TemporaryDirectory() as folder, Image.open(picture) as image:
            small = Path(folder, f"{picture.stem}+compressed.webp")
            compress_image_size(image).save(small)
            self.client.log_artifact(self._run_id, str(small), "images")

    def _keep_model(self, record: Package) -> None:
        """The package as the run's logged model; in a store that knows none, as artifacts of the run."""
        folder = self._kept(record.path)
        if self.outbox.state.model_id is None:
            models = self._models() if self.outbox.taken or self.outbox.state.creating == "model" else []
            self.outbox.save(creating="model")
            self.outbox.save(creating="", model_id=models[0] if models else self._created_model(record))
        model_id = self.outbox.state.model_id or None
        described = Model.load(str(folder))
        described.run_id, described.model_id, described.model_uuid = self._run_id, model_id, model_id
        described.save(str(folder / MLMODEL_FILE_NAME))
        if model_id is None:
            self.client.log_artifacts(self._run_id, str(folder), MODEL_FOLDER)
            return
        if not self.outbox.state.uploaded:
            self.client.log_model_artifacts(model_id, str(folder))
            self.outbox.save(uploaded=True)
        self.client.finalize_logged_model(model_id, "READY")
        outputs = self.client.get_run(self._run_id).outputs
        if model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
            self.client.log_outputs(self._run_id, [LoggedModelOutput(model_id, step=0)])

    def _created_model(self, record: Package) -> str:
        """Its identifier; empty in a store that knows no logged models."""
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
            if may_pass(error):
                raise
            log.info("%s keeps no logged models: %s", creation.store, error)
            return ""
        return str(logged.model_id)

    def _models(self) -> list[str]:
        """The logged models of the run."""
        found = self.client.search_logged_models(
            [self.outbox.creation.experiment_id], f"source_run_id = '{self._run_id}'"
        )
        return [model.model_id for model in found]

    def _end(self, record: End) -> None:
        if self.outbox.state.doubtful:
            for twin in self._runs():
                if twin != self._run_id:
                    self.client.delete_run(twin)
        self.client.set_terminated(self._run_id, record.status, record.at)

    def _kept(self, path: str) -> Path:
        """A file of the outbox."""
        kept = self.outbox.folder / path
        if not kept.exists():
            raise LookupError(f"{kept} is gone")
        return kept
