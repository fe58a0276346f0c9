"""Whole commands, timed from the start of their process to its end, and what their stores say of the time between."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from bench.tracking.runs import search_runs

ROOT = Path(__file__).resolve().parents[3]
BY_HAND = Path(__file__).with_name("by_hand.py")
REPARAM_BENCH = "from studies.cli.main import main; main()"
NAMED = "import bench.study.definition; bench.study.definition.BoundStudy.study_id = {study_id!r}; "
PACKAGES = ("bench", "models", "reports", "studies")
FAMILIES = ("vae", "glow")
OTHER_STORES = ("REPARAM_BENCH_", "MLFLOW_")
"""How environment variables begin that would have the commands log elsewhere."""


@dataclass(frozen=True)
class Outcome:
    """What a whole loop took, and came to.

    Attributes:
        backend: what it trained on.
        figures: by their names.
        study_id: of a study, from which its proposals derive.
        values: of a study, by family, of each trial that has a value: seconds from the start to its end, and bits/dim.
    """

    backend: str
    figures: dict[str, float]
    study_id: str = ""
    values: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def seconds_until(self, family: str, value: float) -> float:
        """Until a trial of a family came to so low a value; infinite where none did."""
        return min((seconds for seconds, reached in self.values[family] if reached <= value), default=math.inf)


@dataclass(frozen=True)
class _Done:
    """A process that has ended: when it was started and ended, as seconds since 1970, and what it printed."""

    began: float
    ended: float
    processor_seconds: float
    printed: str

    @property
    def figures(self) -> dict[str, float]:
        return {"seconds": self.ended - self.began, "processor seconds": self.processor_seconds}


def study(checkout: Path, options: Sequence[str], study_id: str = "") -> Outcome:
    """``reparam-bench study vae_vs_glow`` of a checkout, in a fresh output folder; under another study's id, if given.

    A version that knows more settings than an earlier one has another id for the same study, and with it other
    proposals: other models would be trained.
    """
    with tempfile.TemporaryDirectory() as output:
        named = NAMED.format(study_id=study_id) if study_id else ""
        command = [sys.executable, "-c", named + REPARAM_BENCH, "study", "vae_vs_glow", "--output", output, *options]
        # What an earlier command compiled must not serve this one.
        done = _run(command, checkout, checkout, {"JAX_COMPILATION_CACHE_DIR": str(Path(output, "compiled"))})
        runs = _model_runs(Path(output))
        backend = json.loads(runs[0].data.tags["reparam.config"])["backend"]
        figures = {**done.figures, **_phases(done, runs), **_search(runs), **_bests(runs)}
        values = {family: _values(done, runs, family) for family in FAMILIES}
        return Outcome(backend, figures, runs[0].data.tags["reparam.study_id"], values)


def by_hand(trials: int, epochs: int, seed: int) -> Outcome:
    """The loop written by hand, in a fresh folder, on the backend in KERAS_BACKEND, else on Keras's own default."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(BY_HAND), "--trials", str(trials), "--epochs", str(epochs), "--seed", str(seed)]
        done = _run(command, ROOT, Path(folder), {"KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow")})
    found = json.loads(done.printed.splitlines()[-1])
    figures = dict(done.figures)
    for family in FAMILIES:
        figures[f"{family} trials"] = found[family]["trials"]
        figures[f"{family} seconds of trials"] = found[family]["seconds"]
        figures[f"{family} best bits/dim"] = found[family]["best"]
    return Outcome(found["backend"], figures)


def prepare(checkout: Path) -> None:
    """Compile a checkout's source, warm the disk's cache, and see that its own packages are what it imports.

    Raises:
        ValueError: another checkout's would be.
    """
    subprocess.run([sys.executable, "-m", "compileall", "-q", *PACKAGES], cwd=checkout, check=True)
    script = "import keras, mlflow, optuna, studies; print(studies.__file__)"
    found = Path(_run([sys.executable, "-c", script], checkout, cwd=checkout).printed.splitlines()[-1])
    if not found.is_relative_to(checkout):
        raise ValueError(f"in {checkout} the package studies would be that of {found}")


def version(checkout: Path) -> str:
    """A checkout's commit, and whether it has changes on top."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty= with changes"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


def _run(command: Sequence[str], checkout: Path, cwd: Path, variables: dict[str, str] | None = None) -> _Done:
    """Run a command with a checkout's packages to its end.

    Raises:
        subprocess.CalledProcessError: it failed; what it had to say is on stderr.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OTHER_STORES)}
    environment |= {"PYTHONPATH": str(checkout), **(variables or {})}
    used, began, start = _processor_seconds(), time.time(), time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.stderr.write(done.stderr)
    done.check_returncode()
    return _Done(began, began + seconds, _processor_seconds() - used, done.stdout)


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _model_runs(output: Path) -> list[Any]:
    """MLflow's runs of a study's models, in the order of their start."""
    client = MlflowClient(f"sqlite:///{output / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = search_runs(client, experiments, condition="")
    return [run for run in runs if "reparam.family" in run.data.tags]


def _phases(done: _Done, runs: Sequence[Any]) -> dict[str, float]:
    """The seconds of a study's parts, by the times between which its runs went on."""
    of_role = {role: [run for run in runs if run.data.tags["reparam.role"] == role] for role in ("search", "final")}
    search, final = (min(run.info.start_time for run in of_role[role]) / 1000 for role in ("search", "final"))
    report = max(run.info.end_time for run in of_role["final"]) / 1000
    times = (done.began, search, final, report, done.ended)
    names = ("start", "search", "final runs", "report")
    return {name: after - before for name, before, after in zip(names, times[:-1], times[1:], strict=True)}


def _search(runs: Sequence[Any]) -> dict[str, float]:
    """How much of the search was training, and how much of that were first epochs, in which programs are compiled."""
    figures: dict[str, float] = {}
    for family in FAMILIES:
        trials = _trials(runs, family)
        figures[f"{family} trials"] = len(trials)
        figures[f"{family} seconds of trials"] = (
            sum(run.info.end_time - run.info.start_time for run in trials) / 1000  # MLflow tells milliseconds
        )
        # Trials that were stopped early do not say how long they trained.
        known = [run.data.metrics for run in trials if "cost/training_seconds" in run.data.metrics]
        figures[f"{family} seconds of training"] = sum(metrics["cost/training_seconds"] for metrics in known)
        figures[f"{family} seconds of first epochs"] = sum(metrics["cost/first_interval_seconds"] for metrics in known)
    return figures


def _bests(runs: Sequence[Any]) -> dict[str, float]:
    """Each family's best trial on validation, and its standard error over images."""
    figures: dict[str, float] = {}
    key = "validation/bits_per_dim"
    for family in FAMILIES:
        complete = [run.data.metrics for run in _trials(runs, family) if key in run.data.metrics]
        best = min(complete, key=lambda metrics: metrics[key])
        figures[f"{family} best bits/dim"] = best[key]
        figures[f"{family} standard error"] = best[f"{key}_standard_error"]
    return figures


def _values(done: _Done, runs: Sequence[Any], family: str) -> list[tuple[float, float]]:
    """When each trial of a family ended, in seconds from the start, and its bits/dim on validation, if it has any."""
    key = "validation/bits_per_dim"
    return [
        (run.info.end_time / 1000 - done.began, run.data.metrics[key])
        for run in _trials(runs, family)
        if key in run.data.metrics
    ]


def _trials(runs: Sequence[Any], family: str) -> list[Any]:
    tags = {"reparam.role": "search", "reparam.family": family}
    return [run for run in runs if tags.items() <= run.data.tags.items()]
