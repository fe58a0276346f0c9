"""A study in this process, with a stand-in for training that takes no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

import bench.execution.coordinator
import bench.execution.session
import bench.execution.study_tracking
import bench.execution.trial
import bench.execution.worker
import bench.tracking.logged_model
from bench.core.errors import StoppedAtRungError
from bench.core.results import Bound, BoundKind, EvaluationRecord, Measurement
from bench.evaluation.image_grid import Picture
from bench.evaluation.metrics import MEASURES
from bench.execution.trial import Outcome
from bench.runtime.provenance import code_version
from bench.training.history import TrainingLog
from tests.bench.conftest import PixelExtractor

BOUND = Bound(BoundKind.IMPORTANCE_WEIGHTED, 2)
SAVED = SimpleNamespace(configuration=SimpleNamespace(family="either"))


def write_package(model, example, folder):
    """Stands for packaging a model, which takes half a second."""
    assert example.shape == (1, 8, 8, 1)
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "model.keras").write_bytes(b"weights")
    (folder / "MLmodel").write_text("flavors: {}")


def reached(config: Any) -> float:
    """Bits/dim of a configuration: the best VAE has few latents, the best Glow few channels."""
    model = config.model
    size = model.latent_size if model.family == "vae" else model.hidden_channels
    return 2.0 + size / 100


class Trainer:
    """Stands for training: keeps what it was asked for, and has the accidents that a test arranges."""

    def __init__(self) -> None:
        self.trials: list[Any] = []
        self.finals: list[tuple[Any, int]] = []
        self.accidents: dict[int, Any] = {}
        """By the number of the trial in order of training, or -1 for the finals: a function that raises."""
        self.lag: set[int] = set()
        """Trials whose learning curve lies far above all others."""
        self.rescued: set[int] = set()
        """Trials that are rescued from divergence before their first evaluation."""
        self.luck: list[float] = [0.0]
        """By seed, in turn: by how much a final run's validation lies above its configuration's, and test below."""

    def run_trial(self, config, data, seed, importance_samples, on_evaluation, checkpoint, on_rescue, until=None):
        order = len(self.trials)
        self.trials.append(config)
        extra = 5.0 if order in self.lag else 0.0
        records = []
        if order in self.rescued:
            on_rescue("training loss became nan at step 1: rescue 1 of 2, from the start at the learning rate 0.1")
        evaluations = config.training.evaluations
        for evaluation in range(1, (until or evaluations) + 1):
            bits = reached(config) + extra + 1 / evaluation
            values = {"validation/bits_per_dim": bits}
            records.append(EvaluationRecord(evaluation, 128 * evaluation, 0.1 * evaluation, values))
            on_evaluation(records[-1])
            if evaluation == 1 and order in self.accidents:
                self.accidents[order]()
        if until is not None and until < evaluations:
            raise StoppedAtRungError(f"stopped at evaluation {until} of {evaluations}")
        return self._outcome("validation", reached(config) + extra, records)

    def run_final(self, config, data, test, seed, protocol, on_evaluation, on_progress, checkpoint, on_rescue):
        luck = self.luck[sum(config == other for other, _ in self.finals) % len(self.luck)]
        self.finals.append((config, seed))
        record = EvaluationRecord(1, 128, 0.1, {"validation/bits_per_dim": reached(config) + luck})
        on_evaluation(record)
        if -1 in self.accidents:
            self.accidents[-1]()
        on_progress(1, 1)
        return self._outcome("test", reached(config) - luck, [record])

    def _outcome(self, split, bits, records):
        measured = [Measurement(split, "bits_per_dim", bits, 0.01, 64, BOUND)]
        return Outcome(SAVED, TrainingLog(records, [0.1], 128), measured, [Picture("samples", "caption", b"png")])


class Unlogged:
    """Stands for a study's run in a tracking store, and for those of its trials: of what is logged only ends are kept.

    Attributes:
        ended: the states in which it ended, in turn.
        runs: those of the trials and final runs, in turn.
    """

    experiment_id = run_id = "0"

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.runs: list[Unlogged] = []

    def start_run(self, *arguments: Any, **named: Any) -> Unlogged:
        self.runs.append(Unlogged())
        return self.runs[-1]

    def finish(self, state: str, *others: str) -> None:
        self.ended.append(state)

    finish_if_reachable = finish

    def children(self) -> list[Any]:
        return []

    def read_children(self) -> tuple[list[Any], int]:
        return [], 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: None


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is logged, which takes most of a stand-in study's time: for what the storage alone decides."""
    monkeypatch.setattr(bench.execution.session, "_parent", lambda *arguments: Unlogged())


def stand_in_for_training(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Put a stand-in where studies look for training."""
    stand_in = Trainer()
    monkeypatch.setattr(bench.execution.worker, "run_trial", stand_in.run_trial)
    monkeypatch.setattr(bench.execution.worker, "run_final", stand_in.run_final)
    monkeypatch.setattr(bench.tracking.logged_model, "write_package", write_package)
    # The code stays as it is, and each attempt would read all of it.
    monkeypatch.setattr(bench.execution.session, "code_version", cache(code_version))
    # Nothing is scored, and building the network that would do it takes longer than a stand-in.
    monkeypatch.setattr(bench.execution.worker, "open_extractor", lambda *arguments: PixelExtractor())
    return stand_in


@pytest.fixture
def trainer(monkeypatch):
    return stand_in_for_training(monkeypatch)


@pytest.fixture
def measured_by_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Final runs leave their likelihood and an empty package: all else takes most of a small one's time."""
    monkeypatch.setattr(bench.tracking.logged_model, "write_package", write_package)
    for name in MEASURES.keys() - {"likelihood"}:
        monkeypatch.delitem(MEASURES, name)
    monkeypatch.setattr(bench.execution.trial, "shows_samples", lambda evaluation, last: False)
    monkeypatch.setattr(bench.execution.worker, "open_extractor", lambda *arguments: PixelExtractor())


@pytest.fixture
def study_run(start, tiny_study, digits, tmp_path, trainer):
    """Run the study with some settings, in this test's folder; its runner."""

    def run(**settings):
        runner = start(tiny_study, digits, tmp_path, **settings)
        runner.run(digits)
        return runner

    return run


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left that could say later how its attempt ended: nobody waits for it."""
    waited = [0.0]

    def sleep(seconds: float) -> None:
        waited[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + waited[0], sleep=sleep)
    monkeypatch.setattr(bench.execution.study_tracking, "time", clock)
    monkeypatch.setattr(bench.execution.study_tracking, "DRAIN_SECONDS", 2.0)
