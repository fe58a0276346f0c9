"""Stands for training in the processes of a study that faults are tried on. It waits where a model would train.

Importing this puts the stand-in where the harness looks for training, and leaves Keras out: a process then takes a
tenth of the memory, and begins within a second. The rest is real: tasks, heartbeats, checkpoints, outboxes.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

import bench.runtime.backend
import bench.training.checkpoint
from bench.core.errors import DivergedError, StoppedAtRungError
from bench.core.results import Bound, BoundKind, EvaluationRecord, Measurement
from bench.data.bundled import load_digits
from bench.data.dataset import TuningData
from bench.study.config import RunConfig
from bench.training.checkpoint import Checkpoint
from bench.training.history import TrainingLog
from tests.faults import expected

LARGEST_PARAMETERS = 5_000
"""Numbers that a checkpoint holds beside the state."""
OFF = 100.0
"""Bits/dim that a run on other images is off by."""

evaluation_seconds = 0.2
"""How long training to an evaluation takes."""


class _Variable:
    """What a checkpoint takes for a Keras variable."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value
        self.shape, self.dtype = value.shape, value.dtype

    def assign(self, value: np.ndarray) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.value if dtype is None else self.value.astype(dtype)


class _Model:
    """What a checkpoint takes for a model."""

    def __init__(self, config: RunConfig, seed: int) -> None:
        self.configuration = config.model
        self.state = _Variable(np.asarray(expected.first_state(config, seed), np.int64))
        self.variables = [self.state, _Variable(np.zeros(LARGEST_PARAMETERS, np.float32))]
        self.optimizer = SimpleNamespace(variables=[_Variable(np.zeros((), np.int64))])


@dataclass(frozen=True)
class Outcome:
    """As :class:`bench.execution.trial.Outcome`, whose module brings Keras along."""

    model: Any
    log: TrainingLog
    measurements: list[Measurement]
    pictures: list[Any] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)


def run_trial(
    config: RunConfig,
    data: TuningData,
    seed: int,
    importance_samples: int,
    on_evaluation: Callable[[EvaluationRecord], None],
    checkpoint: Checkpoint,
    on_rescue: Callable[[str], None],
    until: int | None = None,
) -> Outcome:
    model, log = _trained(config, seed, on_evaluation, checkpoint, until=until)
    if until is not None and until <= len(log.records) < config.training.evaluations:
        raise StoppedAtRungError(f"stopped at evaluation {until} of {config.training.evaluations}")
    return Outcome(model, log, _measured("validation", log, data))


def run_final(
    config: RunConfig,
    data: TuningData,
    test: Any,
    seed: int,
    protocol: Any,
    on_evaluation: Callable[[EvaluationRecord], None],
    on_progress: Callable[[int, int], None],
    checkpoint: Checkpoint,
    on_rescue: Callable[[str], None],
    until: int | None = None,
) -> Outcome:
    model, log = _trained(config, seed, on_evaluation, checkpoint, _png(), until)
    time.sleep(evaluation_seconds)
    on_progress(1, 1)
    return Outcome(
        model, log, _measured("test", log, data), [SimpleNamespace(kind="samples", caption="None", png=_png())]
    )


def _trained(
    config: RunConfig,
    seed: int,
    on_evaluation: Callable[[EvaluationRecord], None],
    checkpoint: Checkpoint,
    samples: bytes | None = None,
    until: int | None = None,
) -> tuple[_Model, TrainingLog]:
    """In the order in which :func:`bench.training.loop.train` does it."""
    model = _Model(config, seed)
    earlier = checkpoint.restore(model)  # type: ignore[arg-type]
    log = TrainingLog([], [], expected.IMAGES_PER_EVALUATION) if earlier is None else earlier.continued()
    last = config.training.evaluations if until is None else until
    for evaluation in range(len(log.records) + 1, last + 1):
        time.sleep(evaluation_seconds)
        if expected.diverges(config, evaluation):
            raise DivergedError(f"loss became nan in evaluation {evaluation}")
        model.state.assign(np.asarray(expected.next_state(int(model.state.value)), np.int64))
        value = expected.bits_per_dim(config, int(model.state.value), evaluation)
        shown = samples if evaluation == config.training.evaluations else None
        log.interval_seconds.append(evaluation_seconds)
        log.records.append(
            EvaluationRecord(
                evaluation,
                evaluation * expected.IMAGES_PER_EVALUATION,
                evaluation * 0.5,
                {expected.VALUE: value},
                shown,
            )
        )
        on_evaluation(log.records[-1])
        best = {"model_0": np.array(model.state.value)}
        checkpoint.save(model, log, best, is_last=evaluation == last)  # type: ignore[arg-type]
    return model, log


def _measured(split: str, log: TrainingLog, data: TuningData) -> list[Measurement]:
    """Far off what is expected if the images are not those that the study is about."""
    bound = Bound(BoundKind.IMPORTANCE_WEIGHTED, 2)
    value = log.records[-1].values[expected.VALUE] + (0.0 if _are_digits(data) else OFF)
    return [Measurement(split, "bits_per_dim", value, 0.01, 64, bound)]


def _are_digits(data: TuningData) -> bool:
    digits = load_digits().tuning
    return np.array_equal(data.train.images, digits.train.images) and np.array_equal(
        data.validation.images, digits.validation.images
    )


def _png() -> bytes:
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "png")
    return picture.getvalue()


def _write_package(model: Any, example: Any, folder: Path) -> None:
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "model.keras").write_bytes(b"weights")
    (folder / "MLmodel").write_text("flavors: {}")


def _put(name: str, **content: Any) -> None:
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module


def _nothing(*arguments: Any, **named: Any) -> None:
    return None


_put(
    "bench.execution.trial",
    OnEvaluation=Any,
    OnProgress=Any,
    OnRescue=Any,
    Outcome=Outcome,
    forget_models=_nothing,
    run_trial=run_trial,
    run_final=run_final,
    validation_bits_per_dim=lambda outcome: outcome.measurements[0].value,
)
_put("bench.evaluation.evaluator", open_outside=_nothing)
_put("bench.evaluation.programs", EvaluationProtocol=_nothing, OutsideData=object)
_put(
    "bench.evaluation.quality",
    must_be_trained=lambda *arguments: False,
    open_extractor=lambda *arguments: SimpleNamespace(description="none"),
)
_put("bench.tracking.logged_model", write_package=_write_package)
_put("bench.evaluation.cost.memory", host_bytes=lambda: 0)
# What waits is over within seconds, and would not be worth saving.
bench.training.checkpoint.LARGEST_SHARE = float("inf")
bench.runtime.backend.select_backend = _nothing
bench.runtime.backend.device = lambda: "none"

# Now, so that processes which are forked from this one have it all.
import mlflow.store.tracking.rest_store  # noqa: E402, F401

import bench.execution.coordinator  # noqa: E402
import bench.tracking.tracker  # noqa: E402
