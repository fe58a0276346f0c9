"""Measures a logged run again: with more samples, another extractor, or another data set beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from bench.core.errors import SettingsError, TrackingError
from bench.core.files import write_file
from bench.core.logs import shorten
from bench.core.metrics import METRICS
from bench.core.results import EvaluationRecord
from bench.data.dataset import Dataset, DatasetInfo
from bench.evaluation.annealing import bidirectional_check
from bench.evaluation.evaluator import evaluate as measure
from bench.evaluation.metrics import Evaluation
from bench.evaluation.programs import EvaluationPrograms, EvaluationProtocol
from bench.evaluation.sequence_files import SEQUENCE_FOLDER, sequence_files
from bench.execution.removal import EVALUATION_FOLDERS, check_folder
from bench.execution.session import limit_validation
from bench.execution.trial import train_model
from bench.study.config import RunConfig
from bench.tracking.reading.model_runs import LoggedModel, load_model_file
from models.base.likelihood_model import LikelihoodModel
from models.base.registry import registered
from models.registry import load_model
from models.vae.model import VAE

ANNEALED_IMAGES = 100
"""Images simulated by a VAE for the bidirectional check of its bound."""
ANNEALING_CHAINS = 4


@dataclass(frozen=True)
class Callbacks:
    """Receive the progress: evaluations of training, and (done, total) log-weights of the likelihood."""

    on_evaluation: Callable[[EvaluationRecord], None] = lambda record: None
    on_progress: Callable[[int, int], None] = lambda done, total: None


def evaluate(
    uri: str,
    logged: LoggedModel,
    dataset: Dataset,
    protocol: EvaluationProtocol,
    evaluation_images: int | None,
    callbacks: Callbacks,
    annealing: int = 0,
    model_file: Path | None = None,
) -> Evaluation:
    """Compute all measures of a logged run, whether or not it was measured before.

    A final run is measured on test, a trial of the search on validation, as the test split is only for selected
    configurations. A run without a logged model is trained again from its configuration and seed, to its end even if it
    was pruned.

    Args:
        uri: the tracking server.
        logged: the run.
        dataset: the data that it was trained on.
        protocol: how to measure.
        evaluation_images: number of held-out images to use; None for all.
        callbacks: receive the progress.
        annealing: temperatures of a bidirectional check of a VAE's bound on simulated images; 0 for none.
        model_file: the file of the run's model, where :func:`load_model_file` has given it; None to fetch it.

    Raises:
        SettingsError: the data is not what the run was trained on, or annealing is requested for another model.
        DivergedError: the run diverges when it is trained again, or its bound is not finite.
    """
    config = RunConfig.from_json(logged.config)
    logged.check_data(dataset.info.name, dataset.digest)
    if annealing and not issubclass(registered(config.model.family).model, VAE):
        raise SettingsError(f"annealing={annealing} checks the bound of a VAE, and run {logged.name!r} is not one")
    model = _model(uri, logged, config, dataset, callbacks, model_file)
    final = logged.role == "final"
    held_out = (dataset.open_test() if final else dataset.tuning.validation).some(evaluation_images, dataset.info.kind)
    split = "test" if final else "validation"
    train = dataset.tuning.train.images
    programs = EvaluationPrograms(model)
    found = measure(programs, held_out.images, split, train, protocol, logged.seed, callbacks.on_progress)
    if annealing and isinstance(model, VAE):
        check = bidirectional_check(
            model, ANNEALED_IMAGES, annealing, ANNEALING_CHAINS, protocol.importance_samples, logged.seed
        )
        found.tables["bidirectional"] = check.frame().reset_index()
    return found


def _model(
    uri: str,
    logged: LoggedModel,
    config: RunConfig,
    dataset: Dataset,
    callbacks: Callbacks,
    file: Path | None,
) -> LikelihoodModel:
    if not logged.keeps_model:
        data = limit_validation(dataset, logged.evaluation_images)
        return train_model(config, data, logged.seed, callbacks.on_evaluation)[0]
    with tempfile.TemporaryDirectory() as folder:
        file = file or load_model_file(uri, logged.run_id, Path(folder))
        try:
            return load_model(file)
        except (ValueError, TypeError, KeyError, OSError) as error:  # FamilyError is a ValueError, as Keras's own are
            raise TrackingError(f"the model of run {logged.run_id} cannot be loaded: {shorten(str(error))}") from error


def measurements_frame(evaluation: Evaluation, info: DatasetInfo) -> pd.DataFrame:
    """The measurements as rows, with unit and direction of each metric."""
    rows = []
    for row in evaluation.measurements:
        metric = METRICS[row.metric]
        bound = {} if row.bound is None else {**asdict(row.bound), "kind": row.bound.kind.value}
        rows.append(
            {
                "split": row.split,
                "metric": row.metric,
                "value": row.value,
                "standard_error": row.standard_error,
                "monte_carlo_error": row.monte_carlo_error,
                "n": row.n,
                "unit": metric.unit_on(info.unit),
                "higher_is_better": metric.higher_is_better,
                "bound": bound.get("kind"),
                "importance_samples": bound.get("importance_samples"),
                "dequantisation": bound.get("dequantisation"),
                "conditions": row.conditions,
            }
        )
    return pd.DataFrame(rows)


def write_evaluation(evaluation: Evaluation, info: DatasetInfo, folder: Path) -> Path:
    """Write measurements, tables, pictures and sequences of an evaluation; the path of ``measurements.csv``.

    Raises:
        SettingsError: the folder, or one within it, is a link.
    """
    check_folder(folder, *EVALUATION_FOLDERS)
    files = {f"tables/{name}.csv": table.to_csv(index=False).encode() for name, table in evaluation.tables.items()}
    files |= {f"images/{picture.kind}.png": picture.png for picture in evaluation.pictures}
    files |= sequence_files(evaluation.tables, info)
    # What an earlier evaluation of the run left beside them was measured in another way.
    for earlier in (path for name in ("tables", "images", SEQUENCE_FOLDER) for path in (folder / name).glob("*")):
        if earlier.relative_to(folder).as_posix() not in files:
            earlier.unlink()
    for name, content in files.items():
        write_file(folder / name, content)
    return write_file(folder / "measurements.csv", measurements_frame(evaluation, info).to_csv(index=False).encode())
