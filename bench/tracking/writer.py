"""Writes studies and runs to an MLflow tracking store.

The coordinator writes a study's own run directly. The runs of its models go to outboxes on disk, which a thread
uploads, so that training neither waits for the store nor stops while it is unreachable.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from bench.core.databases import MLFLOW, check_database, is_database, parse_url, sqlite_file
from bench.core.digests import file_digest
from bench.core.errors import DisagreementError, OutboxError, TrackingError
from bench.core.logs import shorten
from bench.core.redaction import redact
from bench.core.results import EvaluationRecord, Measurement, ReferenceCodes, RunState, Unbegun, WonImages
from bench.tracking.deletion import below, deleted_children, only_run, was_deleted
from bench.tracking.descriptions import (
    experiment_note,
    plain,
    registered_model_note,
    run_note,
    study_note,
    version_note,
)
from bench.tracking.location import database_file, settle, store_from, store_name
from bench.tracking.logged_run import LoggedRun
from bench.tracking.new_database import create_database
from bench.tracking.outbox.inside import RefusedPathError
from bench.tracking.outbox.outbox import Outbox, count_runs, outboxes, raise_outbox_errors
from bench.tracking.outbox.records import Creation, End, File, Package, Record, Samples, Values
from bench.tracking.outbox.retry import is_transient
from bench.tracking.outbox.upload import RunRejectedError, Upload
from bench.tracking.outbox.uploader import Uploader
from bench.tracking.registry import model_name, register
from bench.tracking.run_tags import is_own, read_json
from bench.tracking.runs import PARENT_TAG, experiment_ids, search_runs
from bench.tracking.schema import (
    DETAILS_TAG,
    ERROR_SUFFIX,
    EVALUATION_SUFFIX,
    HEADLINE,
    IMAGE_FOLDER,
    KEY_TAG,
    LONGEST_TAG,
    LOST,
    MAX_VALUE_LENGTH,
    MODEL_FILE,
    MODEL_FOLDER,
    MONTE_CARLO_SUFFIX,
    NOTE_TAG,
    PROMOTED_TAG,
    STATUS,
    TABLE_FOLDER,
    TRAINING_MODE,
    UNAVAILABLE_TAG,
    UNBEGUN_TAG,
    WON_TAG,
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
"""Seconds that a command waits at its end for its uploads; a later command uploads the rest."""
SHORT_REASON = 100
"""Characters that say why something failed, to which reasons are cut before some are left out."""
PAUSES = (0.5, 1.0)
"""Seconds between attempts at direct requests."""
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": f"{HEADLINE}/test",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "False",
}
"""Marks the runs as training runs, so that MLflow does not have to guess, and the metric that decides."""
SAMPLES_KEY = "samples/by evaluation"
"""The section and the name under which the UI shows sample grids, with a slider."""


class Waiting(NamedTuple):
    """The number of runs that wait to be uploaded, and of their records."""

    runs: int
    records: int


class Tracker:
    """A tracking store and the outboxes of the runs that wait to be uploaded to it.

    Args:
        uri: any MLflow tracking URI; ``sqlite:///path`` keeps everything in one file.
        artifacts: folder for artifacts of an embedded store; a server configures its own.
        outbox: folder that keeps what is logged until the store has it.
    """

    def __init__(self, uri: str, artifacts: Path, outbox: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self.outbox = outbox
        self.store = store_name(uri)
        """The URI without its credentials."""
        self.refused: dict[Path, str] = {}
        """Why outboxes of dead processes are not uploaded: they are damaged, or the store rejects them or fails."""
        self._settled: IO[bytes] | None = None
        self.uploader = Uploader(lambda: self.client, self.store, outbox)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client; the first use opens a database, which may fail, and settles its addresses."""
        if is_database(self.uri):
            # MLflow itself would change the tables of an earlier version, and create them where others can see them
            # half made.
            held = check_database(self.uri, MLFLOW, "tracking store")
            file = sqlite_file(parse_url(self.uri))
            if file is not None and not held:
                create_database(file)
        client = MlflowClient(tracking_uri=self.uri)
        self._settled = settle(self.uri)
        return client

    def open(self) -> None:
        """Open the store now, and not at the first request; rewrites the addresses of a folder that was moved.

        Raises:
            TrackingError: it cannot be opened.
            SettingsError: its addresses cannot be rewritten.
        """
        self.request(lambda: self.client, "cannot be opened")

    def open_study(
        self,
        study: StudyDescription,
        known: tuple[str, str] | None = None,
        check: Callable[[ParentRun], None] = lambda parent: None,
    ) -> ParentRun:
        """Find or create the parent run of a study.

        Args:
            study: what the run logs.
            known: :attr:`ParentRun.experiment_id` and :attr:`ParentRun.run_id` of a study of which runs were logged, so
                that its run must be there.
            check: called with a run that was found, before anything is written.

        Returns:
            The parent run.

        Raises:
            DisagreementError: the known run is not there or was deleted, or several claim to be it.
            TrackingError: the store cannot be reached, or rejects a request.
        """
        return self.request(lambda: self._open_study(study, known, check))

    def join_study(self, study: StudyDescription, experiment_id: str, run_id: str) -> ParentRun:
        """The parent run of a study that another process opened; sends no request, so the store may be unreachable.

        Args:
            study: the description that the other process opened it with.
            experiment_id: :attr:`ParentRun.experiment_id` of that run.
            run_id: its :attr:`ParentRun.run_id`.
        """
        return ParentRun(self, run_id, experiment_id, study)

    def request(self, call: Callable[[], Result], fault: str = "cannot be reached") -> Result:
        """Make requests to the store, and repeat them after a transient failure.

        Args:
            call: makes the requests, which must be repeatable.
            fault: what the error message says about the store.

        Returns:
            What ``call`` returns.

        Raises:
            TrackingError: the requests failed.
        """
        pauses = list(PAUSES)
        while True:
            try:
                return call()
            except (MlflowException, SQLAlchemyError, OSError) as error:
                if not pauses or not is_transient(error):
                    reason = shorten(str(error))
                    raise TrackingError(f"tracking store {redact(self.uri)} {fault}: {reason}") from error
            time.sleep(pauses.pop(0))

    def upload_orphans(self) -> int:
        """Upload what dead processes logged; runs that their process did not end become interrupted.

        Several processes may do so at once: one of them uploads each run.

        Returns:
            The number of uploaded runs.

        Raises:
            TrackingError: the store cannot be reached; what is left waits.
            OutboxError: the disk cannot be written.
        """
        self.refused.clear()
        try:
            return sum(self._upload(outbox) for outbox in self._orphans())
        finally:
            for reason in self.refused.values():
                self.uploader.report(reason)

    def _orphans(self) -> Iterator[Outbox]:
        for folder in outboxes(self.outbox):
            try:
                outbox = Outbox.take_over(folder, self.store)
            except RefusedPathError as error:
                self._refuse(folder, str(error))
                continue
            if outbox is not None:
                yield outbox

    def _upload(self, outbox: Outbox) -> bool:
        """Upload a dead process's outbox; False if the store rejects the run, or it leads outside its folder."""
        try:
            outbox.end_if_lost()
            Upload(self.client, outbox, self.uploader.report).send()
        except RunRejectedError as error:
            outbox.release()
            self.refused[outbox.folder] = (
                f"the tracking store rejected a run ({error}); what it logged is kept in {outbox.folder}"
            )
            return False
        except RefusedPathError as error:
            outbox.release()
            self._refuse(outbox.folder, str(error))
            return False
        except Exception as error:
            outbox.release()
            if isinstance(error, OutboxError | TrackingError):
                raise
            reason = shorten(str(error)) or type(error).__name__
            if self._answers():
                failure = f"the tracking store fails on {outbox.folder} ({reason}): it is tried again"
                self._refuse(outbox.folder, failure)
                return False
            waiting = self._count_orphans()
            raise TrackingError(
                f"tracking store {redact(self.uri)} cannot be reached: {reason}; {waiting.records} "
                f"records of {waiting.runs} runs wait in {self.outbox}: `reparam-bench upload` uploads them"
            ) from error
        outbox.finish()
        return True

    def _refuse(self, folder: Path, reason: str) -> None:
        self.refused[folder] = f"an outbox is not uploaded: {reason}"

    def _answers(self) -> bool:
        """Whether the store answers, so that what failed concerns one run alone."""
        try:
            self.client.search_experiments(max_results=1)
        except (MlflowException, SQLAlchemyError, OSError):
            return False
        return True

    def waiting(self) -> Waiting:
        """What :meth:`upload_orphans` would upload."""
        self.refused.clear()
        return self._count_orphans()

    def _count_orphans(self) -> Waiting:
        runs = records = 0
        for outbox in self._orphans():
            runs, records = runs + 1, records + outbox.num_unsent()
            outbox.release()
        return Waiting(runs, records)

    def waiting_elsewhere(self) -> dict[str, int]:
        """The number of runs that wait for other stores, by their URIs without credentials."""
        return {store: runs for store, runs in count_runs(self.outbox).items() if store != self.store}

    def drain(self, seconds: float = math.inf) -> int:
        """Wait until everything that this process logged is uploaded.

        Args:
            seconds: the longest wait.

        Returns:
            The number of records that are left.
        """
        return self.uploader.drain(seconds)

    def problems(self) -> list[str]:
        """What the store rejected so far, in sentences."""
        return list(self.uploader.problems)

    def close(self) -> None:
        """Stop uploading; a later process uploads what is left, and ends runs that have not ended."""
        self.uploader.close()
        if self._settled is not None:
            self._settled.close()

    def _open_study(
        self, study: StudyDescription, known: tuple[str, str] | None, check: Callable[[ParentRun], None]
    ) -> ParentRun:
        run = self._find_study(study.study_id, known)
        if run is None:
            experiment_id = self._experiment(study)
            date = time.strftime("%Y-%m-%d", time.gmtime())
            run = self.client.create_run(
                experiment_id,
                run_name=f"{study.name} {study.dataset.name} {date}",
                tags=_identity(study.study_id),
            )
            logged = {}
        else:
            experiment_id, logged = run.info.experiment_id, run.data.params
            check(ParentRun(self, run.info.run_id, experiment_id, study))
            self.client.update_run(run.info.run_id, status="RUNNING")
        run_id = run.info.run_id
        # MLflow's parameters cannot change, and an earlier process may have died before it wrote all of them.
        rows = [Param(name, value) for name, value in _parameters(study.settings).items() if name not in logged]
        self.client.log_batch(run_id, params=rows)
        parent = ParentRun(self, run_id, experiment_id, study)
        parent._describe()
        return parent

    def _find_study(self, study_id: str, known: tuple[str, str] | None) -> Any:
        """The run of a study, in whatever experiment; None if it is to be created."""
        condition = f"tags.`reparam.study_id` = '{study_id}' AND tags.`reparam.role` = 'study'"
        found = list(search_runs(self.client, experiment_ids(self.client), condition))
        if found or known is None:
            return only_run(self.client, study_id, found) if found else None
        # A person deleted it, or edited its tags, which are then logged again.
        try:
            run = self.client.get_run(known[1])
        except MlflowException as error:
            if is_transient(error):
                raise
            raise DisagreementError(
                f"the storage holds trials of {study_id}, and tracking store {redact(self.uri)} lacks its run "
                f"{known[1]}: give the --tracking-uri that has it, or `reparam-bench delete {study_id}`, after which "
                "the same command begins again"
            ) from error
        if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
            raise was_deleted(self.client, f"the runs of {study_id} were", run.info.experiment_id)
        return run

    def _experiment(self, study: StudyDescription) -> str:
        full_name = f"reparam-bench/{study.name}"
        experiment = self.client.get_experiment_by_name(full_name)
        if experiment is not None and experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise was_deleted(self.client, f"the runs of {full_name} were", experiment.experiment_id)
        if experiment is None:
            location = None
            if database_file(self.uri) is not None:
                folder = (self.artifacts / study.name).resolve()
                # So that it is found if the folder is moved before anything lies there.
                folder.mkdir(parents=True, exist_ok=True)
                location = folder.as_uri()
            experiment_id = cast(str, self.client.create_experiment(full_name, location, _EXPERIMENT_TAGS))
            known = {}
        else:
            experiment_id, known = cast(str, experiment.experiment_id), experiment.tags
        # Written once: later changes are a person's own.
        tags = {NOTE_TAG: experiment_note(study, experiment_id), **saved_views(study)}
        for name, value in tags.items():
            if name not in known:
                self.client.set_experiment_tag(experiment_id, name, value)
        return experiment_id


def _identity(study_id: str) -> dict[str, str]:
    """The tags by which a study's own run is found."""
    return {"reparam.study_id": study_id, "reparam.role": "study"}


def keep_folder(uri: str, run_id: str, folder: Path, name: str) -> None:
    """Log a folder as artifacts of a run.

    Args:
        uri: the tracking URI.
        run_id: MLflow's identifier of the run.
        folder: the folder.
        name: the artifacts' folder.

    Raises:
        TrackingError: the store cannot be reached.
    """
    try:
        MlflowClient(tracking_uri=uri).log_artifacts(run_id, str(folder), name)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = shorten(str(error))
        raise TrackingError(f"tracking store {redact(uri)} does not take {name}: {reason}") from error


def _parameters(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow takes them."""
    return {name: _clean(str(value))[:MAX_VALUE_LENGTH] for name, value in values.items()}


def _clean(text: str) -> str:
    """Text without credentials, with undecodable bytes escaped, such as those of a file name."""
    return redact(text).encode(errors="backslashreplace").decode()


class ParentRun:
    """The parent run of a study. Its methods make their requests directly and can be repeated after a failure."""

    def __init__(self, tracker: Tracker, run_id: str, experiment_id: str, study: StudyDescription) -> None:
        self.tracker = tracker
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.study = study

    @property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        return self.tracker.client

    def address(self, artifact: str = "") -> str:
        """The page of the run or of one of its artifacts, relative to the UI's address."""
        shown = f"/artifacts/{artifact}" if artifact else ""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}{shown}?{TRAINING_MODE}"

    def _describe(self) -> None:
        """Log what the study is and where it runs; each process that continues it logs this again."""
        study = self.study
        # The names of a thousand classes are longer than a tag may be. Symbols are code points, in which nothing looks
        # like a credential that is to be redacted.
        data = asdict(replace(study.dataset, class_names=())) | {
            "symbols": [ord(symbol) for symbol in study.dataset.symbols],
            "digest": study.digest,
            "held_out": study.held_out,
        }
        tags = {
            **_identity(study.study_id),
            "reparam.study": json.dumps(
                {
                    "id": study.study_id,
                    "name": study.name,
                    "question": study.question,
                    "arms": study.arms,
                    "titles": study.titles,
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
        """The data set as MLflow takes it for the input of a run."""
        info = self.study.dataset
        return {
            "name": info.name,
            "digest": self.study.digest[:36],
            "source_type": "reparam-bench",
            "source": json.dumps({"source": redact(info.source)}),
            "profile": json.dumps(
                {"sizes": info.sizes, "grey_levels": info.grey_levels, "image_shape": info.image_shape}
                | ({} if info.kind == "image" else {"kind": info.kind, "encoding": info.encoding})
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
        continued_from: int = 0,
        inactive: Collection[str] = (),
        **parameters: Any,
    ) -> ModelRun:
        """Start the run of one trained model.

        Args:
            name: the run's name.
            role: ``search`` or ``final``.
            arm: the arm of the study that it belongs to.
            seed: the run's seed.
            config: what is trained.
            number: the trial's number within the arm.
            attempt: the number of the attempt at this trial, from 1.
            key: identifies the run before MLflow does; by default a new one.
            continuation: what the attempt continues, in words: ``attempt 1, from evaluation 3``.
            continued_from: the evaluation after which it continues earlier attempts; 0 if it begins from the start.
            inactive: swept parameters without a value in this run, since it does not meet their condition.
            parameters: further parameters to log beside the configuration's own.

        Returns:
            The run, to log to.

        Raises:
            OutboxError: the disk cannot be written.
        """
        key = key or uuid.uuid4().hex
        tags = {
            PARENT_TAG: self.run_id,
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
            **({"reparam.continued_from": str(continued_from)} if continued_from else {}),
        }
        creation = Creation(
            store=store_from(self.tracker.store, self.tracker.outbox),
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
        outbox = Outbox.create(self.tracker.outbox, self.study.study_id, creation)
        self.tracker.uploader.add(outbox)
        return ModelRun(self, outbox, continuation)

    def children(self) -> list[LoggedRun]:
        """The model runs of the study that the store has, oldest first.

        Raises:
            TrackingError: the store cannot be reached.
        """
        return self.read_children()[0]

    def read_children(self) -> tuple[list[LoggedRun], int]:
        """The model runs as :meth:`children` gives them, and the number of others, made or untagged by people.

        Raises:
            TrackingError: the store cannot be reached.
        """
        condition = below(self.run_id)
        runs = self.tracker.request(lambda: list(search_runs(self.client, [self.experiment_id], condition)))
        own = [run for run in runs if is_own(run.data.tags)]
        return [LoggedRun.of(run) for run in own], len(runs) - len(own)

    def deleted_children(self) -> dict[str, str]:
        """The model runs of the study that were deleted in the store: MLflow's identifiers by the runs' keys.

        Raises:
            TrackingError: the store cannot be reached.
        """
        return self.tracker.request(lambda: deleted_children(self.client, self.experiment_id, self.run_id))

    def was_deleted(self, what: str) -> DisagreementError:
        """The error that runs of the study were deleted; ``what`` is the subject of a sentence."""
        return was_deleted(self.client, what, self.experiment_id)

    def end_run(self, run_id: str, state: RunState, reason: str = "") -> None:
        """End a model run that another process started and that has no outbox any more.

        Args:
            run_id: MLflow's identifier of the run.
            state: how the trial ended.
            reason: why, if it did not complete.

        Raises:
            TrackingError: the store cannot be reached.
        """
        note = run_note(self.study, self.address(), state, reason, "", [])
        # The process that uploaded the outbox may have marked the run as interrupted.
        tags = {"reparam.reason": "", **_end_tags(note, state, reason)}

        def end() -> None:
            self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            self.client.set_terminated(run_id, STATUS[state])

        self.tracker.request(end)

    def remove_run(self, run_id: str) -> None:
        """Delete a duplicate run of an attempt.

        Raises:
            TrackingError: the store cannot be reached.
        """
        self.tracker.request(lambda: self.client.delete_run(run_id))

    def select(self, chosen: Mapping[str, Mapping[str, Any]]) -> None:
        """Record the selected trial of each arm: its number and its configuration's hash.

        Raises:
            TrackingError: the store cannot be reached.
        """
        self.tracker.request(lambda: self.client.set_tag(self.run_id, "reparam.selected", json.dumps(chosen)))

    def register(self, champions: Mapping[str, LoggedRun]) -> list[str]:
        """Register the model of a final run of each arm, as ``models:/NAME@champion``.

        Args:
            champions: the final run by arm.

        Returns:
            The names of the registered models.

        Raises:
            TrackingError: the store cannot be reached, has no registry, or rejects a request.
        """
        names = []
        for arm, run in champions.items():
            name = model_name(self.study.study_id, arm)
            about = registered_model_note(self.study, name, self.tracker.uri)

            def registered(name: str = name, run: LoggedRun = run, about: str = about) -> str:
                return register(self.client, name, run.run_id, about, version_note(run))

            names.append(self.tracker.request(registered, f"does not register {name!r}"))
        return names

    def log_unbegun(self, unbegun: Sequence[Unbegun]) -> None:
        """Log which trials and final runs failed before they had a run, the most frequent reasons first.

        Where a tag has no room for all, reasons are cut, then the rarest ones of an arm and role become one.

        Raises:
            TrackingError: the store cannot be reached.
        """
        text = _unbegun_tag([replace(each, reason=_clean(each.reason)) for each in unbegun])
        self.tracker.request(lambda: self.client.set_tag(self.run_id, UNBEGUN_TAG, text))

    def log_promoted(self, promoted: Mapping[str, Sequence[int]]) -> None:
        """Log which trials a person promoted: their numbers by arm.

        Raises:
            TrackingError: the store cannot be reached.
        """
        self.tracker.request(lambda: self.client.set_tag(self.run_id, PROMOTED_TAG, json.dumps(promoted)))

    def has_reference_codes(self, group: str) -> bool:
        """Whether the reference codes are logged.

        Args:
            group: those that need no training, ``reference_codes``, or the ``reference_model``.

        Raises:
            TrackingError: the store cannot be reached.
        """
        return f"{DETAILS_TAG}{group}" in self._tags()

    def log_reference_codes(self, codes: ReferenceCodes) -> None:
        """Log what reference codes take for the test images, as metrics of this run, beside those it has.

        Raises:
            TrackingError: the store cannot be reached.
        """
        values, tags = _logged(codes.measured)
        reasons = read_json(self.run_id, self._tags(), UNAVAILABLE_TAG, {}) | codes.unavailable
        for row in codes.measured:
            reasons.pop(row.metric, None)
        tags[UNAVAILABLE_TAG] = json.dumps({name: _clean(reason) for name, reason in reasons.items()})
        metrics = [Metric(name, value, _now(), 0) for name, value in values.items()]
        rows = [RunTag(name, content) for name, content in tags.items()]
        self.tracker.request(lambda: self.client.log_batch(self.run_id, metrics=metrics, tags=rows))

    def log_won_images(self, won: Sequence[WonImages]) -> None:
        """Log pictures of the test images that arms win, in place of those logged before.

        Raises:
            TrackingError: the store cannot be reached.
        """
        # Named by their content: a process that dies between files and tag leaves no tag that names another picture.
        names = [f"won_images-{hashlib.sha256(each.png).hexdigest()[:16]}" for each in won]
        known = [
            {"winner": each.winner, "loser": each.loser, "images": each.images, "picture": name}
            for each, name in zip(won, names, strict=True)
        ]

        def keep() -> None:
            with tempfile.TemporaryDirectory() as folder:
                for each, name in zip(won, names, strict=True):
                    (Path(folder) / f"{name}.png").write_bytes(each.png)
                self.client.log_artifacts(self.run_id, folder, IMAGE_FOLDER)
            self.client.set_tag(self.run_id, WON_TAG, json.dumps(known))

        self.tracker.request(keep)

    def _tags(self) -> dict[str, str]:
        tags: dict[str, str] = self.tracker.request(lambda: self.client.get_run(self.run_id).data.tags)
        return tags

    def log_report(self, folder: Path, headline: str = "") -> None:
        """Log the report's files as artifacts of the parent run, and its ``headline`` in the run's description.

        Raises:
            TrackingError: the store cannot be reached.
        """
        note = study_note(self.study, headline, self.address("report/report.html"))

        def keep() -> None:
            self.client.log_artifacts(self.run_id, str(folder), "report")
            self.client.set_tag(self.run_id, NOTE_TAG, note)

        self.tracker.request(keep)

    def finish_if_reachable(self, state: RunState) -> None:
        """End the parent run; an unreachable store is only logged, since the results do not depend on it."""
        try:
            self.finish(state)
        except TrackingError as error:
            log.warning("the study's own run is not ended: %s", error)

    def finish(self, state: RunState) -> None:
        """End the parent run in a state.

        Raises:
            TrackingError: the store cannot be reached.
        """

        def end() -> None:
            self.client.set_tag(self.run_id, "reparam.state", state)
            self.client.set_terminated(self.run_id, STATUS[state])

        self.tracker.request(end)


class ModelRun:
    """The run of one trained model: its methods write to its outbox, and the uploader uploads that.

    No method waits for the store. All raise :class:`bench.core.errors.OutboxError` if the disk cannot be written.
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
        """Log one point of the learning curve."""
        now = _now()
        values = {
            **_headline(record.values, EVALUATION_SUFFIX),
            **{f"{key}{EVALUATION_SUFFIX}": float(value) for key, value in record.values.items()},
            f"cost/images_seen{EVALUATION_SUFFIX}": float(record.images),
            f"cost/seconds{EVALUATION_SUFFIX}": float(record.seconds),
        }
        self._write(Values(at=now, step=record.evaluation, metrics=values))
        if record.samples is not None:
            # The name that MLflow's client would choose, fixed here so that it is the same if it is sent again.
            name = f"{SAMPLES_KEY.replace('/', '~')}+step+{record.evaluation}+timestamp+{now}+{uuid.uuid4()}.png"
            self._write(Samples(path=self._outbox.add_file(name, record.samples)))

    def log_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Log values with their errors and conditions; once there is a logged model, as its metrics too."""
        self._measured += measurements
        metrics, tags = _logged(measurements)
        self._write(
            Values(
                at=_now(),
                metrics=_headline({row.key: row.value for row in measurements}) | metrics,
                of_model=tuple(row.key for row in measurements) if self._keeps_model else (),
                tags=tags,
            )
        )

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Log tables of the result schema under ``tables/``, as CSV."""
        for name, table in tables.items():
            self.log_file(table.to_csv(index=False), f"{TABLE_FOLDER}/{name}.csv")
        self._tag("reparam.tables", list(tables))

    def log_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Log why metrics could not be measured."""
        self._tag(UNAVAILABLE_TAG, {metric: _clean(reason) for metric, reason in unavailable.items()})

    def log_file(self, content: bytes | str, name: str) -> None:
        """Log a small file as an artifact; ``name`` may have folders, ``pictures/samples.png``."""
        data = content if isinstance(content, bytes) else _clean(content).encode()
        self._write(File(path=self._outbox.add_file(Path(name).name, data), name=name))

    def log_pictures(self, pictures: Sequence[tuple[str, str, bytes]]) -> None:
        """Log pictures (kind, caption, PNG) under ``pictures/``."""
        for kind, _, png in pictures:
            self.log_file(png, f"{IMAGE_FOLDER}/{kind}.png")
        self._tag("reparam.captions", {kind: caption for kind, caption, _ in pictures})

    def log_model(self, model: LikelihoodModel, example: Images) -> None:
        """Log the model, ready to be served, as the run's logged model; measurements that follow describe it.

        A store without logged models keeps the same files as artifacts of the run.

        Args:
            model: the trained model.
            example: an image (1, h, w, c) that shows what it takes.
        """
        # Here, since reading a store takes no framework.
        from bench.tracking.logged_model import write_package

        path = self._outbox.new_path(MODEL_FOLDER)
        folder = self._outbox.folder / path
        with raise_outbox_errors(folder):
            write_package(model, example, folder)
            digest = file_digest(folder / MODEL_FILE)
        self._write(Package(path=path, model_type=str(model.configuration.family), digest=digest))
        self._keeps_model = True

    def finish(self, state: RunState, reason: str = "", rank: str = "") -> None:
        """End the run in a state, with its reason, and its rank among the others in words."""
        about = [text for text in (_continues(self._continuation), rank) if text]
        note = run_note(self.study.study, self.study.address(), state, reason, ". ".join(about), self._measured)
        end = End(at=_now(), status=STATUS[state], tags=_end_tags(note, state, reason))
        self._write(end)

    def _tag(self, name: str, content: Any) -> None:
        self._write(Values(at=_now(), tags={name: json.dumps(content)}))

    def _write(self, record: Record) -> None:
        self._outbox.append(record)
        self.study.tracker.uploader.notify(record)


def _logged(measurements: Sequence[Measurement]) -> tuple[dict[str, float], dict[str, str]]:
    """Measurements as metrics and as tags, which hold what else describes them."""
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
    return metrics, {f"{DETAILS_TAG}{split}": json.dumps(known) for split, known in details.items()}


def _unbegun_tag(unbegun: Sequence[Unbegun]) -> str:
    """JSON of at most :data:`LONGEST_TAG` characters; what is counted of an arm and role stays with them."""
    rows, length = list(unbegun), MAX_VALUE_LENGTH
    while len(text := json.dumps([asdict(replace(row, reason=row.reason[:length])) for row in rows])) > LONGEST_TAG:
        shared = Counter((row.role, row.arm) for row in rows)
        rarest = next((row for row in reversed(rows) if shared[row.role, row.arm] > 1), None)
        if length > SHORT_REASON or (rarest is None and length):
            length //= 2
        elif rarest is None:
            rows.pop()  # More arms than a tag can name.
        else:
            rows.remove(rarest)
            i = max(i for i, row in enumerate(rows) if (row.role, row.arm) == (rarest.role, rarest.arm))
            rows[i] = replace(rarest, reason="other reasons", count=rows[i].count + rarest.count)
    return text


def _headline(values: Mapping[str, float], suffix: str = "") -> dict[str, float]:
    """The copies of a run's bits/dim that its charts in the MLflow UI begin with."""
    splits = {key.removesuffix(f"/{HEADLINE}"): value for key, value in values.items() if key.endswith(f"/{HEADLINE}")}
    return {f"{HEADLINE}/{split}{suffix}": float(value) for split, value in splits.items()}


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _continues(continuation: str) -> str:
    return f"Continues {plain(continuation)}" if continuation else ""


def _end_tags(note: str, state: RunState, reason: str) -> dict[str, str]:
    tags = {"reparam.state": state, NOTE_TAG: note}
    return tags | ({"reparam.reason": _clean(reason)[:MAX_VALUE_LENGTH]} if reason else {})
