"""A study's own run, which its coordinator writes directly, and the runs of its models below it."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Metric, RunTag
from mlflow.tracking import MlflowClient

from bench.core.errors import DisagreementError, TrackingError
from bench.core.redaction import redact
from bench.core.results import ReferenceCodes, RunState, Unbegun, WonImages
from bench.tracking.deletion import below, deleted_children, was_deleted
from bench.tracking.descriptions import registered_model_note, run_note, study_note, version_note
from bench.tracking.entries import (
    as_metrics_and_tags,
    as_parameters,
    clean,
    continues,
    end_tags,
    timestamp,
)
from bench.tracking.location import store_from
from bench.tracking.logged_run import LoggedRun
from bench.tracking.long_tags import in_tags
from bench.tracking.model_run import ModelRun
from bench.tracking.outbox.outbox import Outbox
from bench.tracking.outbox.records import Creation
from bench.tracking.registry import model_name, register
from bench.tracking.run_tags import is_own, read_json
from bench.tracking.runs import PARENT_TAG, search_runs
from bench.tracking.schema import (
    DETAILS_TAG,
    IMAGE_FOLDER,
    KEY_TAG,
    LONGEST_TAG,
    LOST,
    MAX_VALUE_LENGTH,
    NOTE_TAG,
    PROMOTED_TAG,
    STATUS,
    TRAINING_MODE,
    UNAVAILABLE_TAG,
    UNBEGUN_TAG,
    WON_TAG,
    StudyDescription,
)
from bench.tracking.tracker import Tracker

if TYPE_CHECKING:
    from bench.study.config import RunConfig

log = logging.getLogger(__name__)

SHORT_REASON = 100
"""Characters that say why something failed, to which reasons are cut before some are left out."""


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

    def describe(self) -> None:
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
            **identity(study.study_id),
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
        split = {part: text for name, value in tags.items() for part, text in in_tags(name, redact(value)).items()}
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in split.items()])
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
            continuation: what the attempt continues, in words: ``an earlier attempt, from evaluation 3``.
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
            **({"reparam.continuation": clean(continuation)} if continuation else {}),
            **({"reparam.continued_from": str(continued_from)} if continued_from else {}),
        }
        creation = Creation(
            store=store_from(self.tracker.store, self.tracker.outbox),
            experiment_id=self.experiment_id,
            name=clean(name),
            at=timestamp(),
            tags=tags,
            parameters=as_parameters(
                {name: value for name, value in config.parameters().items() if name not in inactive} | parameters
            ),
            dataset=self._dataset(),
            context="training and validation" if role == "search" else "all splits",
            note_if_lost=run_note(self.study, self.address(), RunState.INTERRUPTED, LOST, continues(continuation), []),
        )
        outbox = Outbox.create(self.tracker.outbox, self.study.study_id, creation)
        self.tracker.uploader.add(outbox)
        return ModelRun(outbox, self.study, self.address(), self.tracker.uploader, continuation)

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
        tags = {"reparam.reason": "", **end_tags(note, state, reason)}

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
                return register(self.client, name, run.run_id, about, version_note(run, self.study.dataset.unit))

            names.append(self.tracker.request(registered, f"does not register {name!r}"))
        return names

    def log_unbegun(self, unbegun: Sequence[Unbegun]) -> None:
        """Log which trials and final runs failed before they had a run, the most frequent reasons first.

        Where a tag has no room for all, reasons are cut, then the rarest ones of an arm and role become one.

        Raises:
            TrackingError: the store cannot be reached.
        """
        text = _unbegun_tag([replace(each, reason=clean(each.reason)) for each in unbegun])
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
        values, tags = as_metrics_and_tags(codes.measured)
        reasons = read_json(self.run_id, self._tags(), UNAVAILABLE_TAG, {}) | codes.unavailable
        for row in codes.measured:
            reasons.pop(row.metric, None)
        tags[UNAVAILABLE_TAG] = json.dumps({name: clean(reason) for name, reason in reasons.items()})
        metrics = [Metric(name, value, timestamp(), 0) for name, value in values.items()]
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


def identity(study_id: str) -> dict[str, str]:
    """The tags by which a study's own run is found."""
    return {"reparam.study_id": study_id, "reparam.role": "study"}


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
