"""A process's handle on a study: its settings, queues and tracker."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.core.digests import json_digest
from bench.core.errors import CheckpointError, DataError, DisagreementError, SettingsError, TrackingError
from bench.core.extensions import load_extension
from bench.core.metrics import own_metrics
from bench.data.dataset import Dataset, TuningData
from bench.data.kept import find_kept
from bench.data.registry import load
from bench.data.shared import open_shared
from bench.execution.agreement import check_agreement
from bench.execution.promotion import new_promotions
from bench.runtime.backend import select_backend
from bench.runtime.provenance import code_version, provenance
from bench.search.queue import Queue, Task
from bench.search.sampler import Search, SearchObjects
from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord, find_study, list_studies
from bench.study import search_space as space
from bench.study.config import RunConfig
from bench.study.definition import (
    BUDGETS,
    ENGINE,
    FINALS,
    MOST_EVALUATIONS_EXTENDED,
    BoundStudy,
    Earlier,
    StudySettings,
)
from bench.study.rungs import REDUCTION
from bench.study.serialization import check_code, earlier_budgets, from_json, to_json
from bench.tracking.opening import join_study, open_study
from bench.tracking.parent_run import ParentRun
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from bench.training.checkpoint import Checkpoint
from models.base.registry import registered

log = logging.getLogger(__name__)

_CHECKPOINT = re.compile(r"(?P<unfinished>\.?)(?P<kind>.+)-(?P<task>\d+)\.npz")
"""A checkpoint's file, or a half-written one."""
CHECKPOINTS_KEPT = 16
"""Trials of an arm whose checkpoints outlast a study that is complete: a larger budget continues the best of them."""
OUTSIDE_DIGEST = "outside_digest"
"""Where a study's specification has the digest of its outside data."""
EXTRACTOR = "extractor_opened"
"""Where it has the description of the network that scores samples, with the digest of its weights."""


@dataclass(frozen=True)
class Selection:
    """What is retrained of an arm: its best trial, or its own configuration if it sweeps nothing.

    Attributes:
        number: the trial's number; None if nothing is swept.
        values: values of the swept parameters.
    """

    number: int | None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudySession:
    """What coordinator and workers share.

    Attributes:
        bound: the study with its settings and data.
        record: the study in the storage.
        searches: the search of each arm, by its name, in order.
        tracker: the connection to the tracking server.
        parent: the study's parent run there.
        is_new: whether the storage did not know the study before.
    """

    bound: BoundStudy
    record: StudyRecord
    searches: dict[str, Search]
    tracker: Tracker
    parent: ParentRun
    is_new: bool = False

    @property
    def queues(self) -> dict[str, Queue]:
        """The queues by kind, in the order in which they are worked on."""
        return {**self.searches, FINALS: self.record.finals}

    def final_tasks(
        self, selected: Mapping[str, Selection], evaluations: Mapping[str, int] | None = None
    ) -> list[Task]:
        """A task for each final run of the selection; a run of an earlier selection keeps its task.

        Args:
            selected: what is retrained of each arm.
            evaluations: to which evaluation it is trained; by default as long as a trial.
        """
        notes = [(each.note, each.number) for each in self.record.finals.attempts()]
        # By arm too: two may select the same configuration.
        known = {(note["arm"], note["config_hash"], note["seed"]): number for note, number in notes}
        tasks: list[Task] = []
        for name, trial in selected.items():
            config = self.bound.configure(self.bound.study.arm(name), trial.values)
            if evaluations is not None:
                config = config.model_copy(update={"training": config.training.lasting(evaluations[name])})
            for seed in range(self.bound.settings.seeds):
                number = known.get((name, config.hash, seed), max(known.values(), default=-1) + 1)
                known[name, config.hash, seed] = number
                note = {
                    "arm": name,
                    "trial": trial.number,
                    "values": dict(trial.values),
                    "config": config.model_dump(mode="json"),
                    "config_hash": config.hash,
                    "seed": seed,
                }
                tasks.append(Task(number, note=note, evaluations=config.training.evaluations))
        return tasks

    def checkpoint(self, kind: str, task: int, config: RunConfig, seed: int) -> Checkpoint:
        """The checkpoint of a task, from which no process with other code or other versions of libraries resumes."""
        code = json_digest(code_version(self.bound.settings.backend))[:12]
        return Checkpoint(self._checkpoints / f"{kind}-{task}.npz", config.hash, seed, code)

    def has_checkpoint(self, kind: str, task: int) -> bool:
        """Whether the checkpoint of a task is in this process's folder."""
        return (self._checkpoints / f"{kind}-{task}.npz").is_file()

    def tidy_checkpoints(self, selected: Container[str]) -> None:
        """Remove the checkpoints of settled tasks, but for those that a larger budget is likely to continue.

        Without a checkpoint a training starts again: what is removed costs time, and changes no result.

        Args:
            selected: the hashes of the configurations whose final runs are kept.
        """
        settled = {kind: set(queue.settled()) for kind, queue in self.queues.items()}
        extended = {arm.name for arm in self.bound.study.arms if not self.bound.depends_on_budget(arm)}
        kept = {name: self.searches[name].foremost(CHECKPOINTS_KEPT) for name in extended}
        finals = [each for each in self.record.finals.complete() if each.note["arm"] in extended]
        kept[FINALS] = {each.number for each in finals if each.note["config_hash"] in selected}
        self._remove_checkpoints(settled, kept)

    def tidy_search(self, name: str) -> None:
        """Remove the checkpoints of an arm's trials that are not among those that are likely to be continued.

        Where trials halve, the better half of all may be: a search needs room for these at most.
        """
        search, kept = self.searches[name], CHECKPOINTS_KEPT
        if search.halves:
            kept = max(kept, math.ceil(max(self.bound.settings.trials, len(search.settled())) / REDUCTION))
        self._remove_checkpoints({name: set(search.settled())}, {name: search.foremost(kept)})

    def remove_checkpoint(self, kind: str, task: int) -> None:
        """Remove the checkpoint of a task, whatever its configuration was, if there is one.

        Raises:
            CheckpointError: it cannot be removed.
        """
        try:
            self._remove_checkpoints({kind: {task}})
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint of {kind} in {self._checkpoints} cannot be removed: {error.strerror}"
            ) from error

    def _remove_checkpoints(
        self, tasks: Mapping[str, Container[int]], kept: Mapping[str, Container[int]] | None = None
    ) -> None:
        """Remove those of some tasks, but for those that are kept, of which half-written files alone are removed."""
        if not self._checkpoints.is_dir():
            return
        for file in self._checkpoints.iterdir():
            found = _CHECKPOINT.match(file.name)
            if not found or int(found["task"]) not in tasks.get(found["kind"], ()):
                continue
            if found["unfinished"] or int(found["task"]) not in (kept or {}).get(found["kind"], ()):
                file.unlink(missing_ok=True)

    @property
    def _checkpoints(self) -> Path:
        return self.bound.settings.output / "checkpoints" / self.bound.study_id


def open_session(bound: BoundStudy, objects: SearchObjects | None = None) -> StudySession:
    """Create the study in storage and tracking server, or find it there.

    Args:
        bound: the study.
        objects: a sampler or pruner given as an object.

    Raises:
        DisagreementError: storage and server do not hold the same trials.
        TrackingError: storage or server cannot be reached.
        SettingsError: other code began the study, or a trial cannot be promoted.
    """
    settings = bound.settings
    settings.output.mkdir(parents=True, exist_ok=True)
    storage = open_storage(settings.storage_url)
    if settings.promote and bound.study_id not in list_studies(storage):
        # Before it is made there.
        raise _has_no_trials(bound)
    tracker = _tracker(bound)
    record = StudyRecord(storage, bound.study_id, settings.lease)
    earlier = record.specification
    if earlier is not None:
        check_code(earlier, settings.mixed_code)
        bound = _extended(bound, earlier_budgets(earlier), record)
    specification = to_json(bound)
    codes = [] if earlier is None else [code for code in earlier["codes"] if code != specification["code"]["code"]]
    codes.append(specification["code"]["code"])
    # Those of a study that the storage does not know are created once the server agrees that it is new.
    begun = _searches(bound, record, objects) if earlier is not None else {}
    if settings.promote and not begun:
        raise _has_no_trials(bound)
    new_promotions(begun, settings.promotions)
    parent = _parent(tracker, _description(bound, codes), earlier, {**begun, FINALS: record.finals})
    searches = begun or _searches(bound, record, objects)
    _describe(bound, record, searches)
    known = {} if earlier is None else {name: earlier[name] for name in (OUTSIDE_DIGEST, EXTRACTOR) if name in earlier}
    record.publish(
        {**specification, **known, "codes": codes, "experiment_id": parent.experiment_id, "run_id": parent.run_id}
    )
    return StudySession(bound, record, searches, tracker, parent, is_new=earlier is None)


def known_budgets(bound: BoundStudy) -> Mapping[str, Earlier]:
    """The budgets that a study has had already, by arm; none if it has not begun.

    Raises:
        TrackingError: the storage cannot be reached.
    """
    bound.settings.output.mkdir(parents=True, exist_ok=True)
    storage = open_storage(bound.settings.storage_url)
    if bound.study_id not in list_studies(storage):
        return {}
    specification = StudyRecord(storage, bound.study_id, bound.settings.lease).specification
    return {} if specification is None else earlier_budgets(specification)


def _has_no_trials(bound: BoundStudy) -> SettingsError:
    return SettingsError(
        f"promote={', '.join(bound.settings.promote)}: {bound.study_id} has not begun, and has no trials yet"
    )


def _extended(bound: BoundStudy, begun: Mapping[str, Earlier], record: StudyRecord) -> BoundStudy:
    """A study that was begun with another budget: its evaluations keep their distance, and it shrinks to none.

    What counts of earlier budgets is what was trained: one that was given by mistake is forgotten.

    Raises:
        SettingsError: an arm would be evaluated too often.
    """
    trained = dict.fromkeys(begun, 0)
    for name in begun:
        search = Queue(record.storage, f"{bound.study_id}/{name}", lease=bound.settings.lease)
        # Final runs of a study that had a time may be trained for longer than its trials.
        sweeps = bool(bound.study.arm(name).sweep)
        own = search.attempts() if sweeps else [a for a in record.finals.attempts() if a.note["arm"] == name]
        trained[name] = max((each.evaluations for each in own if each.counts), default=0)
    earlier = {name: each._replace(evaluations=trained[name]) for name, each in begun.items()}
    images = dict(bound.images)
    if bound.settings.time is not None:
        most = {name: MOST_EVALUATIONS_EXTENDED * each.interval for name, each in begun.items()}
        images |= {name: min(images[name], number) for name, number in most.items() if name in images}
    extended = replace(bound, earlier=earlier, images=images)
    for arm in extended.study.arms:
        training = extended.base(arm).training
        if arm.name in begun and training.evaluations > MOST_EVALUATIONS_EXTENDED:
            raise SettingsError(
                f"{arm.name}: {training.images:,} images a trial are {training.evaluations:,} evaluations of the "
                f"{begun[arm.name].interval:,} images that {bound.study_id} was begun with, and at most "
                f"{MOST_EVALUATIONS_EXTENDED:,} are made: give a smaller budget, or another --output"
            )
    return extended


def _describe(bound: BoundStudy, record: StudyRecord, searches: Mapping[str, Search]) -> None:
    """Say in the storage what each of its studies is, for those who open it with Optuna's own tools."""
    about = {"question": bound.study.question, "data": bound.info.name}
    for name, search in searches.items():
        search.describe({**about, "arm": name, "family": bound.study.arm(name).family})
    record.finals.describe({**about, "about": "Final runs of all arms, no search: the report and MLflow show them"})


def _parent(
    tracker: Tracker, description: StudyDescription, earlier: Mapping[str, Any] | None, queues: Mapping[str, Queue]
) -> ParentRun:
    """The study's parent run; a study that is continued does not need the server for that.

    Raises:
        DisagreementError: storage and server do not hold the same trials.
        TrackingError: the server cannot be reached, and no earlier process has opened the study.
    """
    known = None if earlier is None else (earlier["experiment_id"], earlier["run_id"])
    is_begun = any(queue.attempts() for queue in queues.values())
    try:
        parent = open_study(
            tracker, description, known if is_begun else None, lambda found: check_agreement(found, queues)
        )
    except DisagreementError:
        raise
    except TrackingError as error:
        if known is None:
            raise
        log.warning("the study continues without its tracking server: %s", error)
        return join_study(tracker, description, *known)
    return parent


def join_session(
    study_id: str,
    storage: str | None,
    tracking_uri: str | None,
    output: Path,
    extensions: Sequence[Path] = (),
) -> StudySession:
    """Join a study that another process has opened.

    Args:
        study_id: its identifier, or a unique prefix of it.
        storage: the storage's address; by default the output folder's.
        tracking_uri: the tracking server's; by default the output folder's.
        output: folder of this process's checkpoints, log and outbox.
        extensions: the user's files that the study needs.

    Raises:
        TrackingError: the storage cannot be reached, or holds no such study.
        SettingsError: other code than this began it.
    """
    address = StudySettings(storage=storage, output=output).storage_url
    opened = open_storage(address)
    found = find_study(opened, study_id)
    written = StudyRecord(opened, found, 60.0).specification
    if written is None:
        raise TrackingError(f"{found} has not begun yet: it has no specification")
    # Before extensions, which may import Keras, are loaded.
    select_backend(str(written["settings"]["backend"]))
    for file in extensions:
        load_extension(file)
    bound = from_json(written, storage, tracking_uri, output)
    record = StudyRecord(opened, found, bound.settings.lease)
    tracker = _tracker(bound)
    parent = join_study(tracker, _description(bound, written["codes"]), written["experiment_id"], written["run_id"])
    return StudySession(bound, record, _searches(bound, record), tracker, parent)


def open_data(bound: BoundStudy) -> Dataset:
    """The study's images: shared by another process of this machine, or loaded.

    Raises:
        DataError: they cannot be loaded, or differ from the study's.
    """
    settings = bound.settings
    shared = open_shared(bound.info, bound.digest, bound.labels, settings.output / "data")
    if shared is not None:
        return shared
    dataset = load(find_kept(settings.dataset, settings.output), settings.preparation)
    for what, here, there in (
        ("digest", dataset.digest, bound.digest),
        ("digest of labels", dataset.labels_digest, bound.labels),
    ):
        if here != there:
            raise DataError(
                f"the data set {settings.dataset!r} differs here ({what} {here[:12] or 'none'}) from where the study "
                f"began ({there[:12] or 'none'}): give this worker the same data"
            )
    return dataset


def limit_validation(dataset: Dataset, evaluation_images: int | None) -> TuningData:
    """Training and validation images, validation cut to ``evaluation_images``."""
    tuning = dataset.tuning
    validation = tuning.validation.some(evaluation_images, tuning.info.kind)
    return TuningData(tuning.info, tuning.digest, tuning.train, validation)


def _tracker(bound: BoundStudy) -> Tracker:
    settings = bound.settings
    return Tracker(settings.tracking, settings.output / "artifacts", settings.output / "outbox")


def _searches(bound: BoundStudy, record: StudyRecord, objects: SearchObjects | None = None) -> dict[str, Search]:
    settings, objects = bound.settings, objects or SearchObjects()
    return {
        arm.name: Search(
            record.storage,
            f"{bound.study_id}/{arm.name}",
            space=arm.sweep,
            first=bound.first_values(arm),
            sampler=objects.sampler or bound.sampler,
            pruner=objects.pruner or settings.pruner,
            evaluations=bound.base(arm).training.evaluations,
            seed=settings.seed,
            lease=settings.lease,
        )
        for arm in bound.study.arms
    }


def _description(bound: BoundStudy, codes: Sequence[str]) -> StudyDescription:
    """The description to log; ``codes`` are the versions of the code that worked on the study, the latest last."""
    settings = bound.settings
    training = {arm.name: bound.base(arm).training for arm in bound.study.arms}
    return StudyDescription(
        study_id=bound.study_id,
        name=bound.study.name,
        question=bound.study.question,
        arms={arm.name: arm.family for arm in bound.study.arms},
        swept={arm.name: list(arm.sweep) for arm in bound.study.arms},
        space={arm.name: space.to_json(arm.sweep) for arm in bound.study.arms},
        settings={
            **settings.model_dump(
                mode="json",
                exclude={"storage", "tracking_uri", "output", *BUDGETS, "lease", "mixed_code", "promote", *ENGINE},
            ),
            "sampler": bound.sampler,
            **({} if settings.time is None else {"time": settings.time}),
            "training_images": {name: config.steps * config.batch_size for name, config in training.items()},
        },
        provenance={**provenance(settings.backend), "code": ", then ".join(codes)},
        dataset=bound.info,
        digest=bound.digest,
        held_out=bound.held_out,
        metrics=own_metrics(),
        titles={arm.family: registered(arm.family).title for arm in bound.study.arms},
    )
