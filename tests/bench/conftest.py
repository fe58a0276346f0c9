"""Small data, a tiny study, and a quick way to run it."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.data.bundled import DIGITS, load_digits
from bench.data.dataset import Dataset, TuningData
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, BoundStudy, Study, StudySettings
from bench.study.search_space import Integers, Reals
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

if TYPE_CHECKING:
    from bench.evaluation.evaluator import EvaluationProtocol

SIZES = {"train": 256, "validation": 64, "test": 64}


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """A few hundred of the digits."""
    full = load_digits()
    tuning = full.tuning
    splits = (tuning.train, tuning.validation, full.open_test())
    cut = [split.some(n) for split, n in zip(splits, SIZES.values(), strict=True)]
    return Dataset(replace(DIGITS, sizes=SIZES), *cut)


@pytest.fixture(scope="session")
def tuning(digits: Dataset) -> TuningData:
    return digits.tuning


@pytest.fixture(scope="session")
def images(tuning: TuningData) -> np.ndarray:
    """Images (n, 8, 8, 1) in 0..16."""
    return tuning.validation.images


@pytest.fixture(scope="session")
def tiny_study() -> Study:
    """Two arms that train in a second each."""
    training = TrainingConfig(learning_rate=2e-3)
    return Study(
        name="tiny",
        question="Does it run?",
        arms=(
            Arm(
                VAEConfig(hidden_sizes=(16,), latent_size=4),
                sweep={"latent_size": Integers(2, 16), "learning_rate": Reals(1e-3, 1e-2, log=True)},
                training=training,
            ),
            Arm(
                GlowConfig(levels=1, flow_depth=1, hidden_channels=8),
                sweep={"hidden_channels": Integers(4, 12), "learning_rate": Reals(1e-3, 1e-2, log=True)},
                training=training,
            ),
        ),
    )


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes a second, copying it none."""
    from bench.tracking.tracker import Tracker

    folder = tmp_path_factory.mktemp("store")
    assert Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder, folder).client.search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def settings_for(_empty_store: Path) -> Callable[..., StudySettings]:
    """Settings of a small study whose output is a folder, its MLflow database already made."""

    def settings(output: Path, **changes: Any) -> StudySettings:
        output.mkdir(exist_ok=True, parents=True)
        if not (output / "mlflow.db").exists():
            shutil.copy(_empty_store, output / "mlflow.db")
        small = {
            "trials": 2,
            "seeds": 1,
            "images": 512,
            "batch_size": 128,
            "selection_samples": 2,
            "importance_samples": 4,
            "reference_model": False,
            "pruner": "none",
            "output": output,
            "storage": str(output / "search.journal"),
            "backend": os.environ["KERAS_BACKEND"],
        }
        return StudySettings.from_options(small | changes)

    return settings


class PixelExtractor:
    """Features that need no training: the first pixels, in units of white."""

    name, size, description, accuracy = "pixels", 8, "first pixels", None

    def features(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(images, dtype=np.float64).reshape(len(images), -1)[:, 16:24] / 16


@pytest.fixture(scope="session")
def protocol() -> Callable[..., EvaluationProtocol]:
    """With what a model is measured, k first; its extractor needs no training."""
    from bench.data.dataset import DatasetInfo
    from bench.evaluation.evaluator import EvaluationProtocol

    info = DatasetInfo("digits", (8, 8, 1), 17, {}, 0, "")
    return lambda importance_samples, **others: EvaluationProtocol(
        others.pop("info", info), importance_samples, PixelExtractor(), **others
    )


class StudyInThisProcess:
    """A study that was opened, and that this process can run to its end; it can be opened again after that."""

    def __init__(self, bound: BoundStudy) -> None:
        from rich.console import Console

        from bench.execution.progress import StudyProgress
        from bench.execution.session import open_session

        self.bound = bound
        self.progress = StudyProgress(Console(file=io.StringIO(), width=1000), runs=1)
        self.shared = open_session(bound)
        self.parent = self.shared.parent
        self.searches = self.shared.searches

    def run(self, dataset: Dataset, afterwards: Callable[[], None] = lambda: None) -> str:
        from bench.core.signals import StopRequest
        from bench.execution.coordinator import Coordinator
        from bench.execution.executors.base import InProcess
        from bench.execution.same_data import publish_extractor, publish_outside_data
        from bench.execution.worker import Worker, open_protocol

        try:
            with StopRequest() as stop:
                protocol = open_protocol(self.shared, dataset)
                publish_outside_data(self.shared, protocol.outside)
                publish_extractor(self.shared, protocol.extractor)
                worker = Worker(self.shared, dataset, self.progress, stop)
                return Coordinator(self.shared, InProcess(worker), self.progress, stop).run(afterwards)
        finally:
            self.shared.tracker.close()


@pytest.fixture(scope="session")
def start(
    settings_for: Callable[..., StudySettings], keep_classifier: Callable[[TuningData, Path], None]
) -> Callable[..., StudyInThisProcess]:
    """Opens a study, its log kept in ``progress.console.file``."""

    def opened(study: Study, dataset: Dataset, output: Path, **changes: Any) -> StudyInThisProcess:
        bound = BoundStudy(study, settings_for(output, **changes), dataset.info, dataset.digest, dataset.labels_digest)
        keep_classifier(dataset.tuning, output)
        return StudyInThisProcess(bound)

    return opened
