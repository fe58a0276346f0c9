"""Train a published model by its own recipe, and set what is obtained beside what was published."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import pandas as pd

from bench.core.results import EvaluationRecord, Measurement, RunState
from bench.core.seeds import derive_seed
from bench.data.dataset import Dataset
from bench.evaluation.likelihood import log_likelihood
from bench.execution.session import limited
from bench.runtime.provenance import provenance
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.schema import StudyDescription
from bench.tracking.writer import DRAIN_SECONDS, ModelRun, Tracker
from bench.training.history import TrainingLog
from bench.training.loop import train
from bench.workflows.published_result import PublishedResult
from models.registry import build_model

STUDY = "reproduce"


@dataclass(frozen=True)
class Budget:
    """How much of an published's recipe is run.

    Attributes:
        images: training images seen; None for the published number.
        seeds: runs, each from a seed of its own.
        importance_samples: k of the test bound; None for the published one.
        evaluation_images: test images used; None for all.
    """

    images: int | None = None
    seeds: int = 1
    importance_samples: int | None = None
    evaluation_images: int | None = None


@dataclass(frozen=True)
class Obtained:
    """What one run obtained: a row of ``obtained.csv``, and its learning curve."""

    row: dict[str, object]
    curve: list[EvaluationRecord] = field(repr=False)


def reproduce(
    published: PublishedResult,
    dataset: Dataset,
    budget: Budget,
    source: str,
    backend: str,
    tracker: Tracker,
    on_evaluation: Callable[[EvaluationRecord], None] = lambda record: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Obtained]:
    """Train an published within a budget, measure it on test, and log every run to MLflow.

    Args:
        published: what to reproduce.
        dataset: its data, perhaps from a file of the user's.
        budget: how much of it to run.
        source: where the data came from: a built-in name, or a path.
        backend: the Keras backend that runs.
        tracker: where runs are logged.
        on_evaluation: receives the learning curve as it grows.
        on_progress: receives (done, total) log-weights of the test evaluation.

    Raises:
        SettingsError: the model cannot take these images.
        DivergedError: training diverged.
    """
    published.check_data(dataset.info)
    images = budget.images or published.training.images
    training = TrainingConfig.model_validate({**published.training.model_dump(), "images": images})
    config = RunConfig.model_validate(
        {
            "model": published.model.model_dump(),
            "training": training,
            "dataset_digest": dataset.digest,
            "backend": backend,
        }
    )
    origin = provenance(backend)
    parent = tracker.open_study(
        StudyDescription(
            study_id=f"{STUDY}-{published.name}-{config.hash}",
            name=STUDY,
            question=f"Does {published.title} come out as published?",
            swept={published.model.family: []},
            settings={"model": published.name, "dataset": source, **published.training.model_dump(mode="json")},
            provenance=origin,
            dataset=dataset.info,
            digest=dataset.digest,
        )
    )
    data, test = limited(dataset, budget.evaluation_images), dataset.open_test().head(budget.evaluation_images)
    obtained = []
    for number in range(budget.seeds):
        seed = derive_seed(STUDY, number)
        run = parent.start_run(f"{published.name}, seed {number + 1}", "final", published.model.family, seed, config)
        curve: list[EvaluationRecord] = []

        def watch(record: EvaluationRecord, curve: list[EvaluationRecord] = curve, run: ModelRun = run) -> None:
            curve.append(record)
            run.log_evaluation(record)
            on_evaluation(record)

        try:
            keras.utils.clear_session()
            keras.utils.set_random_seed(derive_seed(seed, "weights and noise"))
            model = build_model(config.model, dataset.info.image_shape, dataset.info.grey_levels)
            log = train(model, data, training, seed, watch)
            run.log_model(model, data.validation.images[:1])
            k = budget.importance_samples or published.importance_samples
            likelihood = log_likelihood(model, test.images, k, derive_seed("test"), on_progress=on_progress)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            run.finish(RunState.INTERRUPTED if stopped else RunState.FAILED, str(error))
            tracker.drain(DRAIN_SECONDS)
            parent.finish_if_reachable(RunState.INTERRUPTED if stopped else RunState.FAILED)
            raise
        measurements = likelihood.measurements("test")
        run.log_measurements(measurements)
        run.finish(RunState.COMPLETE)
        figure = next(m for m in measurements if m.metric == published.metric)
        tracker.drain(DRAIN_SECONDS)
        # While the store is away, the run's key: the tag by which it will be found there.
        run_id = run.run_id or run.key
        obtained.append(Obtained(_row(published, config, figure, log, number, origin, run_id), curve))
    parent.finish_if_reachable(RunState.COMPLETE)
    return obtained


def _row(
    published: PublishedResult,
    config: RunConfig,
    figure: Measurement,
    log: TrainingLog,
    seed: int,
    origin: dict[str, object],
    run_id: str,
) -> dict[str, object]:
    return {
        "model": published.name,
        "title": published.title,
        "metric": published.metric,
        "published": published.published,
        "source": published.source,
        "obtained": figure.value,
        "standard_error": figure.standard_error,
        "monte_carlo_error": figure.monte_carlo_error,
        "importance_samples": figure.bound.importance_samples if figure.bound else None,
        "test_images": figure.n,
        "images_seen": config.training.steps * config.training.batch_size,
        "published_images": published.training.images,
        "training_seconds": log.seconds,
        "seed": seed,
        "deviations": published.deviations,
        "backend": origin["backend"],
        "device": origin["device"],
        "processor": origin["processor"],
        "cores": origin["cores"],
        "commit": origin["commit"],
        "dirty": origin["dirty"],
        "run_id": run_id,
        "config": json.dumps(config.model_dump(mode="json"), sort_keys=True),
    }


def record(obtained: Sequence[Obtained], folder: Path) -> None:
    """Add runs to ``obtained.csv`` and their learning curves to ``curves.csv``, each file replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame([each.row for each in obtained])
    points = pd.DataFrame(
        [
            {"run_id": each.row["run_id"], "model": each.row["model"], "seed": each.row["seed"]}
            | {"images": point.images, "seconds": point.seconds}
            | point.values
            for each in obtained
            for point in each.curve
        ]
    )
    for name, frame in (("obtained.csv", rows), ("curves.csv", points)):
        path = folder / name
        whole = pd.concat([pd.read_csv(path), frame]) if path.is_file() else frame
        temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
        whole.to_csv(temporary, index=False)
        temporary.replace(path)
