"""Delivery of one spool: its lines as requests to the tracking store, in their order, each so that it may be repeated.

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
from bench.tracking.outbox.outbox import REFUSED, Spool
from bench.tracking.outbox.records import ENTRY, Creation, End, File, Package, Samples, Values
from bench.tracking.outbox.retry import may_pass
from bench.tracking.schema import KEY_TAG, MODEL_FOLDER

# MLflow's client would repeat a request whose answer it did not get, and so create a run twice. Set here and now, for
# an environment that changes while other threads read it is not safe.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

VALUES_A_REQUEST = 900
"""MLflow takes 1,000 values, parameters and tags in one, of which 100 parameters and 100 tags."""
_UNFIT_FOR_MODELS = re.compile(r"[/:.%\"']+")
"""Characters that MLflow refuses in the name of a logged model."""

log = logging.getLogger(__name__)


class RunRefusedError(Exception):
    """The store refuses to create the run: nothing of it can be delivered."""


@dataclass(frozen=True)
class _Part:
    """What a line adds to a request that takes several."""

    line: bytes
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class Delivery:
    """Delivers a spool from where it stands.

    Args:
        client: of the tracking store.
        spool: held by this process.
        on_refusal: told in a sentence that the store refused something of the run; once a run.
        stopped: asked between lines whether to leave the rest for later.
    """

    def __init__(
        self,
        client: MlflowClient,
        spool: Spool,
        on_refusal: Callable[[str], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.spool = spool
        self.on_refusal = on_refusal
        self.stopped = stopped
        self._read = spool.state.delivered
        self._parts: list[_Part] = []

    def send(self) -> None:
        """Deliver all whole lines that there are now; those that are added meanwhile wait for others.

        Raises:
            RunRefusedError: the store refuses to create the run.
            SpoolError: how far it is delivered cannot be remembered.
            Exception: any failure that may pass; another delivery goes on where this one stopped.
        """
        size = self.spool.size()
        while self._read < size and not self.stopped() and (lines := self.spool.lines()):
            for line in lines:
                if self.stopped():
                    break
                self._take(line)
                self._read += len(line)
                if not self._parts:
                    self._advance()
            self._flush()

    def _take(self, line: bytes) -> None:
        """Deliver a line, or put it with those of the next request."""
        try:
            entry = ENTRY.validate_json(line)
        except ValidationError as error:
            self._refuse(line, error)
            return
        if isinstance(entry, Values):
            self._add(_Part(line, metrics=self._metrics(entry), tags=entry.tags))
        elif isinstance(entry, End):
            self._add(_Part(line, tags=entry.tags))
            self._flush()
            self._attempt(line, lambda: self._end(entry))
            self.spool.save(ended=True)
        else:
            self._flush()
            self._attempt(line, lambda: self._handle(line, entry))

    def _handle(self, line: bytes, entry: Creation | File | Samples | Package) -> None:
        if isinstance(entry, Creation):
            self._create(entry)
            self._add(_Part(line, parameters=entry.parameters))
        elif isinstance(entry, File):
            self._upload(entry.path, entry.name)
        elif isinstance(entry, Samples):
            self._show(entry.path)
            self._add(_Part(line, tags={"mlflow.loggedImages": "True"}))
        else:
            self._keep_model(entry)

    def _attempt(self, line: bytes, deliver: Callable[[], None]) -> None:
        """Deliver a line; one that is refused is kept, and the next ones have their turn."""
        try:
            deliver()
        except Exception as error:
            if isinstance(error, RunRefusedError) or may_pass(error):
                raise
            self._refuse(line, error)

    def _refuse(self, line: bytes, error: Exception) -> None:
        first = not (self.spool.folder / REFUSED).exists()
        reason = shortened(f"{type(error).__name__}: {error}")
        self.spool.refuse(line, reason)
        log.error("refused of %s: %s", self.spool.folder, reason, exc_info=error)
        if first:
            name = self.spool.creation.name
            kept = self.spool.folder / REFUSED
            self.on_refusal(f"the tracking store refused something of run {name!r} ({reason}); it is kept in {kept}")

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
        """Remember that all that was read is delivered."""
        self.spool.save(delivered=self._read)

    @property
    def _run_id(self) -> str:
        run_id = self.spool.state.run_id
        if run_id is None:
            raise RunRefusedError(f"{self.spool.folder} does not begin with the creation of its run")
        return run_id

    def _create(self, entry: Creation) -> None:
        """The run, and the data set as its input."""
        if self.spool.state.run_id is None:
            tried = self.spool.taken or self.spool.state.creating == "run"
            try:
                runs = self._runs() if tried else []
                self.spool.save(creating="run", doubtful=tried)
                run_id = runs[0] if runs else self._created(entry)
            except Exception as error:
                if may_pass(error):
                    raise
                raise RunRefusedError(shortened(str(error))) from error
            self.spool.save(creating="", run_id=run_id)
        tag = InputTag("mlflow.data.context", entry.context)
        self.client.log_inputs(self._run_id, datasets=[DatasetInput(Dataset(**entry.dataset), [tag])])

    def _created(self, entry: Creation) -> str:
        run = self.client.create_run(entry.experiment_id, entry.at, entry.tags, entry.name)
        return str(run.info.run_id)

    def _runs(self) -> list[str]:
        """The runs that have this run's key: none, one, or twins."""
        creation = self.spool.creation
        condition = f"tags.`{KEY_TAG}` = '{creation.tags[KEY_TAG]}'"
        return [run.info.run_id for run in self.client.search_runs([creation.experiment_id], condition)]

    def _metrics(self, entry: Values) -> list[Metric]:
        dataset = self.spool.creation.dataset
        model_id = self.spool.state.model_id
        model = {
            "model_id": model_id,
            "dataset_name": dataset["name"],
            "dataset_digest": dataset["digest"],
            "run_id": self.spool.state.run_id,
        }
        return [
            Metric(key, value, entry.at, entry.step, **(model if model_id and key in entry.of_model else {}))
            for key, value in entry.metrics.items()
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

    def _keep_model(self, entry: Package) -> None:
        """The package as the run's logged model; in a store that knows none, as artifacts of the run."""
        folder = self._kept(entry.path)
        if self.spool.state.model_id is None:
            models = self._models() if self.spool.taken or self.spool.state.creating == "model" else []
            self.spool.save(creating="model")
            self.spool.save(creating="", model_id=models[0] if models else self._created_model(entry))
        model_id = self.spool.state.model_id or None
        described = Model.load(str(folder))
        described.run_id, described.model_id, described.model_uuid = self._run_id, model_id, model_id
        described.save(str(folder / MLMODEL_FILE_NAME))
        if model_id is None:
            self.client.log_artifacts(self._run_id, str(folder), MODEL_FOLDER)
            return
        if not self.spool.state.uploaded:
            self.client.log_model_artifacts(model_id, str(folder))
            self.spool.save(uploaded=True)
        self.client.finalize_logged_model(model_id, "READY")
        outputs = self.client.get_run(self._run_id).outputs
        if model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
            self.client.log_outputs(self._run_id, [LoggedModelOutput(model_id, step=0)])

    def _created_model(self, entry: Package) -> str:
        """Its identifier; empty in a store that knows no logged models."""
        creation = self.spool.creation
        try:
            logged = self.client.create_logged_model(
                creation.experiment_id,
                _UNFIT_FOR_MODELS.sub("-", creation.name),
                self._run_id,
                params=creation.parameters,
                model_type=entry.model_type,
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
            [self.spool.creation.experiment_id], f"source_run_id = '{self._run_id}'"
        )
        return [model.model_id for model in found]

    def _end(self, entry: End) -> None:
        if self.spool.state.doubtful:
            for twin in self._runs():
                if twin != self._run_id:
                    self.client.delete_run(twin)
        self.client.set_terminated(self._run_id, entry.status, entry.at)

    def _kept(self, path: str) -> Path:
        """A file of the spool."""
        kept = self.spool.folder / path
        if not kept.exists():
            raise LookupError(f"{kept} is gone")
        return kept
