"""A tracking store with a study of thousands of runs, written in seconds.

A few runs are logged as the harness logs them, by :class:`bench.tracking.tracker.Tracker`; the others are copies of
their rows in MLflow's SQLite database, with identifiers, states, times and values of their own.
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.core.metrics import METRICS
from bench.core.results import Bound, BoundKind, EvaluationRecord, Measurement, RunState
from bench.data.bundled import DIGITS
from bench.evaluation.image_grid import image_grid
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.model_run import ModelRun
from bench.tracking.opening import open_study
from bench.tracking.parent_run import ParentRun
from bench.tracking.schema import STATUS, StudyDescription
from bench.tracking.tracker import Tracker
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

STUDY_ID = "many_runs-digits-00000000"
LEVELS = {"vae": 2.3, "glow": 2.0}
"""The lowest bits/dim of each arm."""
BOUNDS = {
    "vae": Bound(BoundKind.IMPORTANCE_WEIGHTED, 16),
    "glow": Bound(BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION, 16, "uniform"),
}
SWEPT = {"vae": "latent_size", "glow": "flow_depth"}
SEEDS = 3
TEST_IMAGES = 360
SECONDS_A_RUN = 60
ENDS = [
    *[(RunState.COMPLETE, "")] * 5,
    *[(RunState.PRUNED, "pruned at a validation bits/dim that lies behind those of earlier trials")] * 2,
    (RunState.DIVERGED, "the training loss became NaN"),
    (RunState.FAILED, "ValueError: the data set is not readable"),
    (RunState.OUT_OF_MEMORY, "RESOURCE_EXHAUSTED: out of memory"),
]
"""How trials end, in turn."""


def write_store(folder: Path, trials: int, steps: int = 100) -> str:
    """Write an MLflow database and artifacts of a study into ``folder``.

    Args:
        folder: becomes an output folder as the command line takes it; must hold no database yet.
        trials: search runs in all, half of them of each arm, in all the states that runs end in.
        steps: points of each run's learning curves, whatever its state.

    Returns:
        The tracking URI of the store.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{folder.resolve() / 'mlflow.db'}"
    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        parent = open_study(tracker, _description(trials))
        templates = [_templates(parent, family, steps) for family in LEVELS]
        for each in templates:
            _final_runs(parent, each, steps)
        tracker.drain()
    parent.select({each.family: {"number": 0, "config_hash": each.config.hash} for each in templates})
    parent.finish(RunState.COMPLETE)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("PRAGMA synchronous = OFF")
        for each in templates:
            _copy_trials(database, each, trials // 2)
        database.commit()
    return uri


@dataclass(frozen=True)
class _Templates:
    """The two logged trials of a family that others copy: one that completed, and one that ended early."""

    family: str
    config: RunConfig
    complete: str
    early: str


def _description(trials: int) -> StudyDescription:
    versions = {"python": "3.11", "keras": "3.15.1", "mlflow": "3.17.2"}
    return StudyDescription(
        study_id=STUDY_ID,
        name="many_runs",
        question="Does a report of many runs compile?",
        arms={family: family for family in SWEPT},
        swept={family: [name, "learning_rate"] for family, name in SWEPT.items()},
        settings={"trials": trials // 2, "seeds": SEEDS, "sampler": "random", "dataset": "digits"},
        provenance={"commit": "0" * 40, "dirty": False, "backend": "jax", "versions": versions, "command": "none"},
        dataset=DIGITS,
        digest="0" * 64,
    )


def _templates(parent: ParentRun, family: str, steps: int) -> _Templates:
    model = VAEConfig() if family == "vae" else GlowConfig()
    training = TrainingConfig(evaluations=steps)
    config = RunConfig(model=model, training=training, dataset_digest="0" * 64, backend="jax")
    complete = parent.start_run(f"{family} #0", "search", family, 0, config, 0)
    _log_curve(complete, LEVELS[family], steps)
    complete.log_measurements(_measurements(family, "validation", LEVELS[family]))
    complete.finish(RunState.COMPLETE)
    early = parent.start_run(f"{family} #1", "search", family, 1, config.with_values({SWEPT[family]: 2}), 1)
    _log_curve(early, 1.1 * LEVELS[family], steps)
    early.finish(RunState.PRUNED, ENDS[5][1])
    parent.tracker.drain()
    return _Templates(family, config, str(complete.run_id), str(early.run_id))


def _final_runs(parent: ParentRun, templates: _Templates, steps: int) -> None:
    """The selected configuration from several seeds, each with its tables and pictures."""
    family = templates.family
    rng = np.random.default_rng(0)
    by_image = rng.normal(0, 0.3, TEST_IMAGES)  # the same images are hard for all
    by_image -= by_image.mean()
    for seed in range(SEEDS):
        value = LEVELS[family] + 0.02 + 0.01 * seed
        run = parent.start_run(f"{family} seed {seed}", "final", family, seed, templates.config)
        _log_curve(run, value, steps)
        run.log_measurements(_measurements(family, "test", value))
        k = 2 ** np.arange(5)
        run.log_tables(
            {
                "likelihood_by_image": pd.DataFrame(
                    {
                        "image": np.arange(TEST_IMAGES),
                        "bound_nats": -(value + by_image) * math.prod(DIGITS.image_shape) * math.log(2),
                        "monte_carlo_error": 0.05,
                        "effective_sample_size": 6.0,
                    }
                ),
                "bound_by_samples": pd.DataFrame(
                    {"importance_samples": k, "bits_per_dim": value + 0.01 / k, "monte_carlo_error": 0.001}
                ),
            }
        )
        pictures = rng.integers(0, 17, (64, *DIGITS.image_shape), dtype=np.uint8)
        run.log_pictures([("samples", "64 images of noise", image_grid(pictures, 17, 8))])
        run.finish(RunState.COMPLETE)


def _log_curve(run: ModelRun, value: float, steps: int) -> None:
    for step in range(1, steps + 1):
        bits = value + 3 * math.exp(-10 * step / steps)
        values = {"train/bits_per_dim": bits - 0.01, "validation/bits_per_dim": bits}
        run.log_evaluation(EvaluationRecord(step, 128 * step, 0.5 * step, values))


def _measurements(family: str, split: str, value: float) -> list[Measurement]:
    """About as many values as a final run logs: some sixty metrics with their errors."""
    bound, conditions = BOUNDS[family], "batch 64, float32, jax on cpu:0 (a processor), 2 cores"
    likelihood = [
        Measurement(split, "bits_per_dim", value, 0.01, TEST_IMAGES, bound, 0.001),
        Measurement(split, "nll_nats", value * 64 * math.log(2), 0.4, TEST_IMAGES, bound, 0.04),
        Measurement(split, "elbo_nats", -value * 64 * math.log(2) - 1, 0.4, TEST_IMAGES, bound),
        Measurement(split, "effective_sample_size", 6.0, 0.1, TEST_IMAGES, bound),
    ]
    quality = [
        Measurement("quality", name, 0.5, 0.01, 1000, conditions="classifier, 64 features")
        for name in METRICS
        if name.startswith(("frechet", "kid", "precision", "recall", "density", "coverage", "data_copying"))
    ]
    speeds = [
        Measurement("throughput", name, 1000.0, 10.0, 20, conditions=conditions)
        for name in METRICS
        if name.endswith("_images_per_second") or name.startswith("sample_latency")
    ]
    cost = [
        Measurement("cost", name, 12345.0)
        for name in ("parameters", "operations_per_image", "training_seconds", "first_interval_seconds")
    ]
    return [*likelihood, *quality, *speeds, *cost]


def _copy_trials(database: sqlite3.Connection, templates: _Templates, trials: int) -> None:
    """Copy the templates' rows for the trials after the first two, in the order in which runs would write them."""
    rng = np.random.default_rng(len(templates.family))
    numbers = np.arange(2, trials)
    ends = [ENDS[number % len(ENDS)] for number in numbers]
    copies = pd.DataFrame(
        {
            "template": [templates.complete if state == RunState.COMPLETE else templates.early for state, _ in ends],
            "run_id": [f"{LEVELS[templates.family] * 10:.0f}{number:030x}" for number in numbers],
            "number": numbers,
            "name": [f"{templates.family} #{number}" for number in numbers],
            "config_hash": [f"{number:012x}" for number in numbers],
            "state": [state.value for state, _ in ends],
            "status": [STATUS[state] for state, _ in ends],
            "reason": [reason for _, reason in ends],
            "factor": 1.001 + rng.exponential(0.1, len(numbers)),
            "learning_rate": 10 ** rng.uniform(-4, -2, len(numbers)),
            "size": 2 + numbers % 31,
            "steps": templates.config.training.evaluations,
            "later": 1000 * SECONDS_A_RUN * numbers,
        }
    )
    copies.to_sql("copies", database, if_exists="replace", index=False)
    for table, edits in _EDITS.items():
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        key = "destination_id" if table == "inputs" else "run_uuid"
        values = ", ".join({key: "copies.run_id", **edits}.get(column, column) for column in columns)
        database.execute(
            f"INSERT INTO {table} SELECT {values} FROM copies "  # noqa: S608
            f"JOIN (SELECT rowid AS place, * FROM {table}) AS logged ON logged.{key} = copies.template "
            "ORDER BY copies.number, logged.place"
        )
    database.execute("DROP TABLE copies")


_LIKELIHOOD = "key LIKE '%/bits_per_dim' OR key LIKE '%/bits_per_dim_by_evaluation'"
_METRICS = {
    "value": f"CASE WHEN {_LIKELIHOOD} THEN logged.value * factor ELSE logged.value END",
    "timestamp": "timestamp + later",
    # MLflow keeps a NaN as 0 with a mark: the curves of diverged trials end in one.
    "is_nan": f"state = '{RunState.DIVERGED}' AND key LIKE '%/bits_per_dim_by_evaluation' AND step = steps",
}
_EDITS = {
    "runs": {
        "name": "copies.name",
        "status": "copies.status",
        "start_time": "start_time + later",
        "end_time": "end_time + later",
    },
    "tags": {
        "value": """CASE key WHEN 'mlflow.runName' THEN copies.name WHEN 'reparam.number' THEN copies.number
            WHEN 'reparam.seed' THEN copies.number WHEN 'reparam.config_hash' THEN copies.config_hash
            WHEN 'reparam.state' THEN copies.state WHEN 'reparam.reason' THEN copies.reason
            ELSE logged.value END""",
    },
    "params": {
        "value": """CASE key WHEN 'learning_rate' THEN learning_rate
            WHEN 'latent_size' THEN size WHEN 'flow_depth' THEN size ELSE logged.value END""",
    },
    "latest_metrics": _METRICS,
    "metrics": _METRICS,
    "inputs": {"input_uuid": "copies.run_id"},
}
"""What a copy has of its own: SQL expressions of the columns of the template's row and of ``copies``."""
