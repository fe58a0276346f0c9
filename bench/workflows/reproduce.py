"""Reproduces published results: a study of one arm for each, and a table of what it obtained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.core.errors import DataError
from bench.core.file_locks import locked
from bench.core.files import replacing
from bench.core.results import RunState, StudyResults
from bench.study.definition import Arm, Study
from bench.tracking.reading.model_runs import load_curve, load_run
from bench.workflows.published_result import PublishedResult

FILES = ("obtained.csv", "curves.csv")
"""What was obtained: a row a run, and its learning curve."""


@dataclass(frozen=True)
class ObtainedRun:
    """The row of a run in the table of published results, and its learning curve."""

    row: dict[str, object]
    curve: pd.DataFrame


def make_study(published: PublishedResult) -> Study:
    """The study that trains a published model by its own training, without a sweep."""
    return Study(
        name=f"reproduce-{published.name}",
        question=f"Does {published.title} reach its published likelihood?",
        arms=(Arm(published.model, training=published.training, name=published.name),),
    )


def collect_runs(published: PublishedResult, results: StudyResults, tracking: str) -> list[ObtainedRun]:
    """The complete final runs of a study, in the order of their start; of an extended study those of each budget.

    Args:
        published: the published result.
        results: the results of its study.
        tracking: the tracking server that holds the study.

    Raises:
        TrackingError: the server cannot be reached.
    """
    finals = results.runs[(results.runs["role"] == "final") & (results.runs["state"] == RunState.COMPLETE)]
    ordered = finals.sort_values("started")
    numbers = {seed: number for number, seed in enumerate(dict.fromkeys(ordered["seed"]))}
    runs = zip(ordered["run_id"], ordered["seed"].map(numbers), strict=True)
    return [_collect_run(published, results, run_id, int(number), tracking) for run_id, number in runs]


def _collect_run(
    published: PublishedResult, results: StudyResults, run_id: str, number: int, tracking: str
) -> ObtainedRun:
    rows = results.measurements[results.measurements["run_id"] == run_id]
    measured = {(row.split, row.metric): row for row in rows.itertuples(index=False)}
    likelihood = measured["test", published.metric]
    points = results.histories[results.histories["run_id"] == run_id].drop_duplicates("step")
    curve = load_curve(tracking, run_id).pivot_table(index="evaluation", columns="metric", values="value")
    axes = points.rename(columns={"step": "evaluation"})[["evaluation", "images", "seconds"]]
    origin = results.provenance
    row = {
        "model": published.name,
        "title": published.title,
        "metric": published.metric,
        "dataset": results.dataset["name"],
        "published": published.published,
        "source": published.source,
        "obtained": likelihood.value,
        "standard_error": likelihood.standard_error,
        "monte_carlo_error": likelihood.monte_carlo_error,
        "importance_samples": likelihood.importance_samples,
        "recipe_samples": published.importance_samples,
        "test_images": likelihood.n,
        "images_seen": int(points["images"].max()),
        "recipe_images": published.training.images,
        "published_images": published.published_images,
        "weights": measured["cost", "parameters"].value,
        "training_seconds": measured["cost", "training_seconds"].value,
        "seed": number,
        "deviations": published.deviations,
        **{name: origin[name] for name in ("backend", "device", "processor", "cores", "commit", "dirty")},
        "run_id": run_id,
        "config": load_run(tracking, run_id).config,
    }
    whole = axes.merge(curve.reset_index(), on="evaluation").drop(columns="evaluation")
    whole.insert(0, "run_id", run_id)
    whole.insert(1, "model", published.name)
    whole.insert(2, "seed", number)
    return ObtainedRun(row, whole)


def check_obtained(folder: Path) -> None:
    """Check what :func:`append_runs` will add to, before hours of training.

    Raises:
        DataError: a file there is not as it was written.
    """
    for name in FILES:
        path = folder / name
        try:
            if path.is_file() and "run_id" not in pd.read_csv(path, nrows=1):
                raise ValueError("it has no column run_id")
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}, which collects what was obtained, cannot be read ({error}): move it away, and the same "
                "command writes a new one"
            ) from error


def append_runs(runs: Sequence[ObtainedRun], folder: Path) -> None:
    """Add runs to ``obtained.csv`` and their learning curves to ``curves.csv``, each written atomically.

    Rows of a run that is in them already are replaced, as when a study is continued. Several processes may add to the
    same folder at once.

    Raises:
        LockFileError: the folder's lock cannot be taken.
    """
    if not runs:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame([each.row for each in runs])
    points = pd.concat([each.curve for each in runs])
    with locked(folder / ".lock"):
        for name, frame in zip(FILES, (rows, points), strict=True):
            path = folder / name
            if path.is_file():
                earlier = _read_earlier(path)
                frame = pd.concat([earlier[~earlier["run_id"].isin(frame["run_id"])], frame])
            with replacing(path) as temporary:
                frame.to_csv(temporary, index=False)


def _read_earlier(path: Path) -> pd.DataFrame:
    """A table as it is now, whichever version wrote it."""
    earlier = pd.read_csv(path, float_precision="round_trip")
    if "published_images" in earlier and "recipe_images" not in earlier:
        # Versions before gave the images of the recipe this name.
        earlier = earlier.rename(columns={"published_images": "recipe_images"})
    return earlier
