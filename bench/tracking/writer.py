"""Writing: studies and runs into an MLflow tracking store.

A study's own run is written at once, by the coordinator. The runs of its models are written to outboxes on disk, and
uploaded by an uploader: training neither waits for the store nor stops where it is away.
"""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from bench.core.errors import OutboxError, TrackingError
from bench.core.logs import shortened
from bench.core.redaction import redact
from bench.core.results import EvaluationRecord, Measurement, RunState
from bench.tracking.descriptions import (
    experiment_note,
    plain,
    registered_model_note,
    run_note,
    study_note,
    version_note,
)
from bench.tracking.logged_run import LoggedRun
from bench.tracking.outbox.outbox import Outbox, outboxes, stores, writing
from bench.tracking.outbox.records import Creation, End, File, Package, Record, Samples, Values
from bench.tracking.outbox.retry import may_pass
from bench.tracking.outbox.upload import RunRejectedError, Upload
from bench.tracking.outbox.uploader import Uploader
from bench.tracking.registry import register
from bench.tracking.schema import (
    DETAILS_TAG,
    ERROR_SUFFIX,
    EVALUATION_SUFFIX,
    IMAGE_FOLDER,
    KEY_TAG,
    LARGEST_VALUE,
    LOST,
    MODEL_FOLDER,
    MONTE_CARLO_SUFFIX,
    NOTE_TAG,
    STATUS,
    TABLE_FOLDER,
    TRAINING_MODE,
    StudyDescription,
)
from bench.tracking.views import saved_views

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.dataset import Images
    from bench.study.config import RunConfig
    from models.base.likelihood_model import LikelihoodModel

Result = TypeVar("Result")

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
"""How long a command waits at its end for what it logged to be uploaded; the rest is left to a later one."""
PAUSES = (0.5, 1.0)
"""Seconds between attempts at what is written at once."""
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow that these are training runs, which it would otherwise have to guess."""
SAMPLES_KEY = "samples/by evaluation"
"""The section and the name under which the UI shows sample grids, with a slider."""


class Waiting(NamedTuple):
    """What waits to be uploaded: runs, and lines of them."""

    runs: int
    lines: int


class Tracker:
    """A tracking store, and the outboxes of what waits to be uploaded to it.

    Args:
        uri: any MLflow tracking URI; ``sqlite:///path`` keeps everything in one file.
        artifacts: folder for artifacts of an embedded store; a server has its own place for them.
        outbox: folder in which what is logged waits until the store has it.
    """

    def __init__(self, uri: str, artifacts: Path, outbox: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self.outbox = outbox
        self.store = redact(uri).rstrip("/")
        """The URI without its credentials: what outboxes are marked with."""
        self.uploader = Uploader(lambda: self.client, self.store, outbox)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's own; for a database it is opened by the first use, and may fail."""
        return MlflowClient(tracking_uri=self.uri)

    def open_study(self, study: StudyDescription) -> ParentRun:
        """The parent run of the study: the one that exists, or a new one.

        Raises:
            TrackingError: the store cannot be reached, or rejects.
        """
        return self.asked(lambda: self._opened(study))

    def join_study(self, study: StudyDescription, experiment_id: str, run_id: str) -> ParentRun:
        """The parent run of a study that another process opened. The store is not asked, and may be away.

        Args:
            study: as it was opened.
            experiment_id: :attr:`ParentRun.experiment_id` of the run that was opened.
            run_id: its :attr:`ParentRun.run_id`.
        """
        return ParentRun(self, run_id, experiment_id, study)

    def asked(self, call: Callable[[], Result], fault: str = "cannot be reached") -> Result:
        """The outcome of a call to the store that may be repeated; a failure that passes at once is none.

        Args:
            call: what to do.
            fault: what to say of the store if it fails.

        Raises:
            TrackingError: it failed.
        """
        pauses = list(PAUSES)
        while True:
            try:
                return call()
            except (MlflowException, SQLAlchemyError, OSError) as error:
                if not pauses or not may_pass(error):
                    reason = shortened(str(error))
                    raise TrackingError(f"tracking store {redact(self.uri)} {fault}: {reason}") from error
            time.sleep(pauses.pop(0))

    def upload_orphans(self) -> int:
        """Upload what processes logged that are gone, to its end; a run that its process did not end is interrupted.

        Several processes may do so at once: each run is uploaded by one of them.

        Returns:
            How many runs were uploaded.

        Raises:
            TrackingError: the store cannot be reached; what is left waits.
            OutboxError: the outboxes cannot be written.
        """
        uploaded = 0
        for folder in outboxes(self.outbox):
            outbox = Outbox.take(folder, self.store)
            if outbox is not None:
                uploaded += self._uploaded(outbox)
        return uploaded

    def _uploaded(self, outbox: Outbox) -> bool:
        """Upload an outbox that was taken over; whether the store took the run."""
        try:
            outbox.end_if_lost()
            Upload(self.client, outbox, self.uploader.tell).send()
        except RunRejectedError as error:
            outbox.release()
            self.uploader.tell(f"the tracking store refused a run ({error}); what it logged is kept in {outbox.folder}")
            return False
        except Exception as error:
            outbox.release()
            if isinstance(error, OutboxError):
                raise
            waiting = self.waiting()
            raise TrackingError(
                f"tracking store {redact(self.uri)} cannot be reached: {shortened(str(error))}; {waiting.lines} "
                f"records of {waiting.runs} runs wait in {self.outbox}: `reparam-bench upload` uploads them"
            ) from error
        outbox.finish()
        return True

    def waiting(self) -> Waiting:
        """What :meth:`upload_orphans` would upload."""
        runs = lines = 0
        for folder in outboxes(self.outbox):
            outbox = Outbox.take(folder, self.store)
            if outbox is not None:
                runs, lines = runs + 1, lines + outbox.waiting()
                outbox.release()
        return Waiting(runs, lines)

    def waiting_elsewhere(self) -> dict[str, int]:
        """How many runs wait for other stores, by their URIs without credentials."""
        return {store: runs for store, runs in stores(self.outbox).items() if store != self.store}

    def drain(self, seconds: float = math.inf) -> int:
        """Wait until all that this process logged is uploaded, or the time is over.

        Args:
            seconds: how long to wait at most.

        Returns:
            How many lines are left.
        """
        return self.uploader.drain(seconds)

    def problems(self) -> list[str]:
        """What the store refused so far, in sentences."""
        return list(self.uploader.problems)

    def close(self) -> None:
        """Stop uploading; what is left is uploaded by a later process, and so is the end of a run that has none."""
        self.uploader.close()

    def _opened(self, study: StudyDescription) -> ParentRun:
        experiment_id = self._experiment(study)
        found = self._search(
            [experiment_id], f"tags.`reparam.study_id` = '{study.study_id}' AND tags.`reparam.role` = 'study'"
        )
        if found:
            run_id, known = found[0].info.run_id, found[0].data.params
            self.client.update_run(run_id, status="RUNNING")
        else:
            date = time.strftime("%Y-%m-%d", time.gmtime())
            run = self.client.create_run(
                experiment_id,
                run_name=f"{study.name} {study.dataset.name} {date}",
                tags={"reparam.study_id": study.study_id, "reparam.role": "study"},
            )
            run_id, known = run.info.run_id, {}
        # Those of an earlier process stay, which a continued study may not change, and which it may not have written.
        rows = [Param(name, value) for name, value in _parameters(study.settings).items() if name not in known]
        self.client.log_batch(run_id, params=rows)
        parent = ParentRun(self, run_id, experiment_id, study)
        parent._describe()
        return parent

    def _experiment(self, study: StudyDescription) -> str:
        full_name = f"reparam-bench/{study.name}"
        experiment = self.client.get_experiment_by_name(full_name)
        if experiment is None:
            embedded = self.uri.startswith("sqlite:")
            location = (self.artifacts / study.name).resolve().as_uri() if embedded else None
            experiment_id = cast(str, self.client.create_experiment(full_name, location, _EXPERIMENT_TAGS))
            known = {}
        else:
            experiment_id, known = cast(str, experiment.experiment_id), experiment.tags
        # Written once, so that a person's own changes stay.
        tags = {NOTE_TAG: experiment_note(study, experiment_id), **saved_views(study)}
        for name, value in tags.items():
            if name not in known:
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


def keep_folder(uri: str, run_id: str, folder: Path, name: str) -> None:
    """Keep a folder as an artifact of a run.

    Raises:
        TrackingError: the store cannot be reached.
    """
    try:
        MlflowClient(tracking_uri=uri).log_artifacts(run_id, str(folder), name)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = shortened(str(error))
        raise TrackingError(f"tracking store {redact(uri)} does not take {name}: {reason}") from error


def _parameters(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow takes them."""
    return {name: _clean(str(value))[:LARGEST_VALUE] for name, value in values.items()}


def _clean(text: str) -> str:
    """Text without credentials, and with what is no text, as of the name of a file, spelt out."""
    return redact(text).encode(errors="backslashreplace").decode()


class ParentRun:
    """The parent run of a study. What it does it does at once, and may be repeated: a failure loses nothing."""

    def __init__(self, tracker: Tracker, run_id: str, experiment_id: str, study: StudyDescription) -> None:
        self.tracker = tracker
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.study = study

    @property
    def client(self) -> MlflowClient:
        """MLflow's own."""
        return self.tracker.client

    def address(self, artifact: str = "") -> str:
        """The page of the run, or of an artifact of it, relative to the UI's."""
        shown = f"/artifacts/{artifact}" if artifact else ""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}{shown}?{TRAINING_MODE}"

    def _describe(self) -> None:
        """Log what the study is and where it runs, anew each time that it is continued."""
        study = self.study
        data = asdict(study.dataset) | {"digest": study.digest}
        tags = {
            "reparam.study": json.dumps(
                {
                    "id": study.study_id,
                    "name": study.name,
                    "question": study.question,
                    "arms": study.arms,
                    "swept": study.swept,
                }
            ),
            "reparam.space": json.dumps(study.space),
            "reparam.metrics": json.dumps([asdict(metric) for metric in study.metrics]),
            "reparam.dataset": json.dumps(data),
            "reparam.settings": json.dumps(study.settings),
            "reparam.provenance": json.dumps(study.provenance),
            "mlflow.source.git.commit": str(study.provenance["commit"]),
            NOTE_TAG: study_note(study),
        }
        self.client.log_batch(self.run_id, tags=[RunTag(name, redact(value)) for name, value in tags.items()])
        tag = InputTag("mlflow.data.context", "all splits")
        self.client.log_inputs(self.run_id, datasets=[DatasetInput(DatasetEntity(**self._dataset()), [tag])])

    def _dataset(self) -> dict[str, str]:
        """The data set as an input of a run, with its digest."""
        info = self.study.dataset
        return {
            "name": info.name,
            "digest": self.study.digest[:36],
            "source_type": "reparam-bench",
            "source": json.dumps({"source": redact(info.source)}),
            "profile": json.dumps(
                {"sizes": info.sizes, "grey_levels": info.grey_levels, "image_shape": info.image_shape}
            ),
        }

    def start_run(
        self,
        name: str,
        role: str,
        arm: str,
        seed: int,
        config: RunConfig,
        number: int | None = None,
        attempt: int = 1,
        key: str | None = None,
        continuation: str = "",
        inactive: Collection[str] = (),
        **parameters: Any,
    ) -> ModelRun:
        """Begin the run of one trained model.

        Args:
            name: how MLflow shows it.
            role: ``search`` or ``final``.
            arm: the arm of the study that it belongs to.
            seed: the run's seed.
            config: what is trained.
            number: the trial's number within the arm.
            attempt: which attempt at this trial it is, counted from 1.
            key: tells it from all other runs; made up where there is none yet.
            continuation: in words, what it goes on from: ``attempt 1, from epoch 3``.
            inactive: swept parameters whose condition the run does not meet, which have no value in it.
            parameters: what else there is to log beside the configuration's own parameters.

        Raises:
            OutboxError: it cannot be kept on disk.
        """
        key = key or uuid.uuid4().hex
        tags = {
            "mlflow.parentRunId": self.run_id,
            KEY_TAG: key,
            "reparam.study_id": self.study.study_id,
            "reparam.role": role,
            "reparam.arm": arm,
            "reparam.family": config.model.family,
            "reparam.seed": str(seed),
            "reparam.config_hash": config.hash,
            "reparam.config": config.model_dump_json(),
            "reparam.attempt": str(attempt),
            "reparam.state": RunState.RUNNING,
            **({} if number is None else {"reparam.number": str(number)}),
            **({"reparam.continuation": _clean(continuation)} if continuation else {}),
        }
        creation = Creation(
            store=self.tracker.store,
            experiment_id=self.experiment_id,
            name=_clean(name),
            at=_now(),
            tags=tags,
            parameters=_parameters(
                {name: value for name, value in config.parameters().items() if name not in inactive} | parameters
            ),
            dataset=self._dataset(),
            context="training and validation" if role == "search" else "all splits",
            note_if_lost=run_note(self.study, self.address(), RunState.INTERRUPTED, LOST, _continues(continuation), []),
        )
        outbox = Outbox.begin(self.tracker.outbox, self.study.study_id, creation)
        self.tracker.uploader.add(outbox)
        return ModelRun(self, outbox, continuation)

    def children(self) -> list[LoggedRun]:
        """The study's model runs that the store has, oldest first.

        Raises:
            TrackingError: the store cannot be reached.
        """
        condition = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        runs = self.tracker.asked(lambda: self.tracker._search([self.experiment_id], condition))
        return [LoggedRun.of(run) for run in runs]

    def end_run(self, run_id: str, state: RunState, reason: str = "") -> None:
        """End a model run that another process began, and that has no outbox any more.

        Raises:
            TrackingError: the store cannot be reached.
        """
        note = run_note(self.study, self.address(), state, reason, "", [])
        # Whoever uploaded the rest of what its process logged may have taken it for interrupted.
        tags = {"reparam.reason": "", **_end_tags(note, state, reason)}

        def end() -> None:
            self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            self.client.set_terminated(run_id, STATUS[state])

        self.tracker.asked(end)

    def remove_run(self, run_id: str) -> None:
        """Delete a run that stands for an attempt of which there is another run.

        Raises:
            TrackingError: the store cannot be reached.
        """
        self.tracker.asked(lambda: self.client.delete_run(run_id))

    def select(self, chosen: Mapping[str, Mapping[str, Any]]) -> None:
        """Record the selected trial of each arm: its number and its configuration's hash.

        Raises:
            TrackingError: the store cannot be reached.
        """
        self.tracker.asked(lambda: self.client.set_tag(self.run_id, "reparam.selected", json.dumps(chosen)))

    def register(self, champions: Mapping[str, LoggedRun]) -> list[str]:
        """Register the model of a final run of each arm, as ``models:/NAME@champion``.

        Args:
            champions: the final run by arm.

        Returns:
            The names of the registered models.

        Raises:
            TrackingError: the store cannot be reached, keeps no registry, or rejects.
        """
        names = []
        for arm, run in champions.items():
            name = f"reparam-bench.{self.study.study_id}.{arm}"
            about = registered_model_note(self.study, name, self.tracker.uri)

            def registered(name: str = name, run: LoggedRun = run, about: str = about) -> str:
                return register(self.client, name, run.run_id, about, version_note(run))

            names.append(self.tracker.asked(registered, f"does not register {name!r}"))
        return names

    def log_report(self, folder: Path, headline: str = "") -> None:
        """Keep the report's files as artifacts of the parent run, and its ``headline`` in the run's description.

        Raises:
            TrackingError: the store cannot be reached.
        """
        note = study_note(self.study, headline, self.address("report/report.html"))

        def keep() -> None:
            self.client.log_artifacts(self.run_id, str(folder), "report")
            self.client.set_tag(self.run_id, NOTE_TAG, note)

        self.tracker.asked(keep)

    def finish_if_reachable(self, state: RunState) -> None:
        """End the parent run; a store that is away is told of, for the results that there are do not depend on it."""
        try:
            self.finish(state)
        except TrackingError as error:
            log.warning("the study's own run is not ended: %s", error)

    def finish(self, state: RunState) -> None:
        """End the parent run.

        Raises:
            TrackingError: the store cannot be reached.
        """

        def end() -> None:
            self.client.set_tag(self.run_id, "reparam.state", state)
            self.client.set_terminated(self.run_id, STATUS[state])

        self.tracker.asked(end)


class ModelRun:
    """The run of one trained model, while it is written: to its outbox, from which the uploader uploads it.

    All its methods raise :class:`bench.core.errors.OutboxError` where the outbox cannot be written, and never wait.
    """

    def __init__(self, study: ParentRun, outbox: Outbox, continuation: str = "") -> None:
        self.study = study
        self.key = outbox.creation.tags[KEY_TAG]
        self._outbox = outbox
        self._continuation = continuation
        self._measured: list[Measurement] = []
        self._keeps_model = False

    @property
    def run_id(self) -> str | None:
        """MLflow's identifier; None until the store has the run."""
        return self._outbox.state.run_id

    def log_evaluation(self, record: EvaluationRecord) -> None:
        """Log one point of the learning curve; sent with others every few seconds and at the end."""
        now = _now()
        values = {
            **{f"{key}{EVALUATION_SUFFIX}": float(value) for key, value in record.values.items()},
            f"cost/images_seen{EVALUATION_SUFFIX}": float(record.images),
            f"cost/seconds{EVALUATION_SUFFIX}": float(record.seconds),
        }
        self._write(Values(at=now, step=record.evaluation, metrics=values))
        if record.samples is not None:
            # As MLflow's client names it, but here, so that it has the same name if it is sent again.
            name = f"{SAMPLES_KEY.replace('/', '~')}+step+{record.evaluation}+timestamp+{now}+{uuid.uuid4()}.png"
            self._write(Samples(path=self._outbox.keep(name, record.samples)))

    def log_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Log values with their errors, and what else there is to know of them; also those of the logged model."""
        self._measured += measurements
        metrics: dict[str, float] = {}
        details: dict[str, dict[str, dict[str, Any]]] = {}
        for row in measurements:
            metrics[row.key] = float(row.value)
            for suffix, error in ((ERROR_SUFFIX, row.standard_error), (MONTE_CARLO_SUFFIX, row.monte_carlo_error)):
                if error is not None:
                    metrics[f"{row.key}{suffix}"] = float(error)
            details.setdefault(row.split, {})[row.metric] = {
                **({} if row.n is None else {"n": row.n}),
                **({} if row.bound is None else asdict(row.bound)),
                **({"conditions": _clean(row.conditions)} if row.conditions else {}),
            }
        self._write(
            Values(
                at=_now(),
                metrics=metrics,
                of_model=tuple(row.key for row in measurements) if self._keeps_model else (),
                tags={f"{DETAILS_TAG}{split}": json.dumps(known) for split, known in details.items()},
            )
        )

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Keep tables of the result schema under ``tables/``, as CSV."""
        for name, table in tables.items():
            self.log_file(table.to_csv(index=False), f"{TABLE_FOLDER}/{name}.csv")
        self._tag("reparam.tables", list(tables))

    def log_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Keep why metrics could not be measured."""
        self._tag("reparam.unavailable", {metric: _clean(reason) for metric, reason in unavailable.items()})

    def log_file(self, content: bytes | str, name: str) -> None:
        """Keep a small file as an artifact; ``name`` may have folders, ``pictures/samples.png``."""
        data = content if isinstance(content, bytes) else _clean(content).encode()
        self._write(File(path=self._outbox.keep(Path(name).name, data), name=name))

    def log_pictures(self, pictures: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep pictures (kind, caption, PNG) under ``pictures/``."""
        for kind, _, png in pictures:
            self.log_file(png, f"{IMAGE_FOLDER}/{kind}.png")
        self._tag("reparam.captions", {kind: caption for kind, caption, _ in pictures})

    def log_model(self, model: LikelihoodModel, example: Images) -> None:
        """Keep the model, ready to be served, as the run's logged model; what is measured next is measured of it.

        A store that knows no logged models keeps the same files as artifacts of the run.

        Args:
            model: the trained model.
            example: an image (1, h, w, c) to show what it takes.
        """
        # Here, for reading a store takes no framework.
        from bench.tracking.logged_model import write_package

        path = self._outbox.new_path(MODEL_FOLDER)
        folder = self._outbox.folder / path
        with writing(folder):
            write_package(model, example, folder)
        self._write(Package(path=path, model_type=str(model.configuration.family)))
        self._keeps_model = True

    def finish(self, state: RunState, reason: str = "", rank: str = "") -> None:
        """End the run in a state, with its reason, and in words its rank among the others."""
        about = [text for text in (_continues(self._continuation), rank) if text]
        note = run_note(self.study.study, self.study.address(), state, reason, ". ".join(about), self._measured)
        end = End(at=_now(), status=STATUS[state], tags=_end_tags(note, state, reason))
        self._write(end, durable=True)

    def _tag(self, name: str, content: Any) -> None:
        self._write(Values(at=_now(), tags={name: json.dumps(content)}))

    def _write(self, record: Record, durable: bool = False) -> None:
        self._outbox.append(record, durable)
        self.study.tracker.uploader.notice(self._outbox, record)


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _continues(continuation: str) -> str:
    return f"Continues {plain(continuation)}" if continuation else ""


def _end_tags(note: str, state: RunState, reason: str) -> dict[str, str]:
    tags = {"reparam.state": state, NOTE_TAG: note}
    return tags | ({"reparam.reason": _clean(reason)[:LARGEST_VALUE]} if reason else {})
