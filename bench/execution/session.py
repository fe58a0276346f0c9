"""A study as one of its processes holds it: what to do, where the work is waited for, where it is logged."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.errors import DataError, TrackingError
from bench.core.extensions import load_extension
from bench.core.metrics import own_metrics
from bench.data.dataset import Dataset, TuningData
from bench.data.registry import load
from bench.data.shared import open_shared
from bench.runtime.backend import select_backend
from bench.runtime.provenance import code_version, provenance
from bench.search.queue import Queue, Task
from bench.search.sampler import Search, SearchObjects
from bench.search.storage import open_storage
from bench.search.study_record import StudyRecord, find_study
from bench.study import search_space as space
from bench.study.config import RunConfig
from bench.study.definition import ENGINE, FINALS, BoundStudy, StudySettings
from bench.study.serialization import check_code, from_json, to_json
from bench.tracking.schema import StudyDescription
from bench.tracking.writer import ParentRun, Tracker
from bench.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)

_CHECKPOINT = re.compile(r"\.?(?P<kind>.+)-(?P<task>\d+)\.npz")
"""A checkpoint's file, or what is left of one that was being written."""


@dataclass(frozen=True)
class Selection:
    """What is retrained of an arm: the values of its best trial, or nothing but its own where nothing is swept.

    Attributes:
        number: the trial's number; None where nothing is swept.
        values: of the swept parameters.
    """

    number: int | None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudySession:
    """What coordinator and workers have in common.

    Attributes:
        bound: the study with its settings and data.
        record: the study in the storage.
        searches: the search of each arm, by its name, in their order.
        tracker: the connection to the tracking store.
        parent: the study's run there.
    """

    bound: BoundStudy
    record: StudyRecord
    searches: dict[str, Search]
    tracker: Tracker
    parent: ParentRun

    @property
    def queues(self) -> dict[str, Queue]:
        """All work by its kind, in the order in which it is done."""
        return {**self.searches, FINALS: self.record.finals}

    def final_tasks(self, selected: Mapping[str, Selection]) -> list[Task]:
        """A task for each final run of what was selected; those of earlier selections keep theirs."""
        known = {(each.note["config_hash"], each.note["seed"]): each.number for each in self.record.finals.attempts()}
        tasks: list[Task] = []
        for name, trial in selected.items():
            config = self.bound.configure(self.bound.study.arm(name), trial.values)
            for seed in range(self.bound.settings.seeds):
                number = known.get((config.hash, seed), max(known.values(), default=-1) + 1)
                known[config.hash, seed] = number
                note = {
                    "arm": name,
                    "trial": trial.number,
                    "values": dict(trial.values),
                    "config": config.model_dump(mode="json"),
                    "config_hash": config.hash,
                    "seed": seed,
                }
                tasks.append(Task(number, note=note))
        return tasks

    def checkpoint(self, kind: str, task: int, config: RunConfig, seed: int) -> Checkpoint:
        """Where the training of a task is kept while it lasts."""
        code = code_version(self.bound.settings.backend)["code"]
        return Checkpoint(self._checkpoints / f"{kind}-{task}.npz", config.hash, seed, code)

    def remove_checkpoints_of_settled_tasks(self) -> None:
        """Remove what a process left that died between the end of its task and the removal of its checkpoint."""
        if not self._checkpoints.is_dir():
            return
        settled = {kind: queue.settled() for kind, queue in self.queues.items()}
        for file in self._checkpoints.iterdir():
            found = _CHECKPOINT.match(file.name)
            if found and int(found["task"]) in settled.get(found["kind"], ()):
                file.unlink(missing_ok=True)

    @property
    def _checkpoints(self) -> Path:
        return self.bound.settings.output / "checkpoints" / self.bound.study_id


def open_session(bound: BoundStudy, objects: SearchObjects | None = None) -> StudySession:
    """Make what a study needs in storage and tracking store, or find it there.

    Args:
        bound: the study.
        objects: a sampler or pruner that was given as an object.

    Raises:
        TrackingError: one of them cannot be reached.
        SettingsError: other code began the study.
    """
    settings = bound.settings
    settings.output.mkdir(parents=True, exist_ok=True)
    storage = open_storage(settings.storage_url)
    tracker = _tracker(bound)
    record = StudyRecord(storage, bound.study_id, settings.lease)
    earlier = record.specification
    if earlier is not None:
        check_code(earlier, settings.mixed_code)
    specification = to_json(bound)
    codes = [] if earlier is None else [code for code in earlier["codes"] if code != specification["code"]["code"]]
    codes.append(specification["code"]["code"])
    parent = _parent(tracker, _description(bound, codes), earlier)
    record.publish({**specification, "codes": codes, "experiment_id": parent.experiment_id, "run_id": parent.run_id})
    return StudySession(bound, record, _searches(bound, record, objects), tracker, parent)


def _parent(tracker: Tracker, description: StudyDescription, earlier: Mapping[str, Any] | None) -> ParentRun:
    """The study's run; where the store is away, that of an earlier process, for the work does not wait for the store.

    Raises:
        TrackingError: the store cannot be reached, and no earlier process has opened the study.
    """
    try:
        return tracker.open_study(description)
    except TrackingError as error:
        if earlier is None:
            raise
        log.warning("the study goes on without its tracking store: %s", error)
        return tracker.join_study(description, earlier["experiment_id"], earlier["run_id"])


def join_session(
    study_id: str,
    storage: str | None,
    tracking_uri: str | None,
    output: Path,
    extensions: Sequence[Path] = (),
) -> StudySession:
    """Hold a study that another process has opened.

    Args:
        study_id: its identifier, or how it alone begins.
        storage: the storage's address; by default the one of the output folder.
        tracking_uri: the tracking store's; by default the one of the output folder.
        output: folder for what this process leaves: checkpoints, its log, what is not uploaded yet.
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
    # Before a file is imported that may import Keras.
    select_backend(str(written["settings"]["backend"]))
    for file in extensions:
        load_extension(file)
    bound = from_json(written, storage, tracking_uri, output)
    record = StudyRecord(opened, found, bound.settings.lease)
    tracker = _tracker(bound)
    parent = tracker.join_study(_description(bound, written["codes"]), written["experiment_id"], written["run_id"])
    return StudySession(bound, record, _searches(bound, record), tracker, parent)


def open_data(bound: BoundStudy) -> Dataset:
    """The study's images: as another process of this machine holds them in memory already, or loaded.

    Raises:
        DataError: they cannot be loaded, or are others than the study's.
    """
    settings = bound.settings
    shared = open_shared(bound.info, bound.digest, settings.output / "data")
    if shared is not None:
        return shared
    dataset = load(settings.dataset, settings.grey_levels)
    if dataset.digest != bound.digest:
        raise DataError(
            f"the data set {settings.dataset!r} is another here (digest {dataset.digest[:12]}) than where the study "
            f"began ({bound.digest[:12]}): give this worker the same data"
        )
    return dataset


def limited(dataset: Dataset, evaluation_images: int | None) -> TuningData:
    """Training and validation images, validation cut to the first ``evaluation_images``."""
    tuning = dataset.tuning
    return TuningData(tuning.info, tuning.digest, tuning.train, tuning.validation.head(evaluation_images))


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
    """What is logged of the study; ``codes`` are the versions of the code that worked on it, the latest last."""
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
                exclude={"storage", "tracking_uri", "output", "epochs", "images", "lease", "mixed_code", *ENGINE},
            ),
            "sampler": bound.sampler,
            "training_images": {name: config.steps * config.batch_size for name, config in training.items()},
        },
        provenance={**provenance(settings.backend), "code": ", then ".join(codes)},
        dataset=bound.info,
        digest=bound.digest,
        metrics=own_metrics(),
    )
