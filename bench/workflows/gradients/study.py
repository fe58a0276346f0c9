"""Runs the gradient study: a study trains with each estimator; closed forms and gradients are measured beside it.

Measurements are saved in the output folder as they are made, and a later process continues from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pandas as pd
from rich.console import Console

from bench.core.files import replacing
from bench.core.gradient_results import HISTORY_COLUMNS, RUN_COLUMNS, VAE_COLUMNS, ClosedForms, GradientResults
from bench.core.results import RunState, StudyResults
from bench.core.seeds import derive_seed
from bench.data.registry import load
from bench.study.definition import FINALS
from bench.tracking.reading.model_runs import load_model_file
from bench.workflows.gradients.closed_forms import measure
from bench.workflows.gradients.encoder_gradients import encoder_gradients, gradient_noise, with_estimator
from bench.workflows.gradients.settings import (
    ESTIMATORS_OF_MANY,
    ESTIMATORS_OF_ONE_SAMPLE,
    GradientSettings,
    Trained,
)
from bench.workflows.run import run
from models.registry import load_model
from models.vae.model import VAE

OnStep = Callable[[str], None]
CLOSED_FORM_STEPS = 5


def count_steps(settings: GradientSettings) -> int:
    """How often :func:`run_gradient_study` reports a step."""
    return CLOSED_FORM_STEPS + len(_gradients_wanted(settings))


def run_gradient_study(
    settings: GradientSettings, console: Console, on_step: OnStep = lambda step: None, log_file: Path | None = None
) -> GradientResults:
    """Train with each estimator, and measure the gradients; finished steps are not repeated.

    Args:
        settings: the study's settings.
        console: shows the progress of training.
        on_step: receives the name of each step after training, when it begins.
        log_file: the log of training.

    Raises:
        SettingsError, DataError, TrackingError, StudyStoppedError: as for :func:`bench.run_study`.
        KeyboardInterrupt: it was interrupted; the same call continues it.
    """
    results = run(settings.study, settings.study_settings, console, log_file=log_file).results
    folder = settings.output / "gradients" / f"{results.study_id}-{settings.fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    return GradientResults(
        study_id=results.study_id,
        question=results.question,
        dataset=results.dataset,
        settings={**results.settings, **settings.model_dump(include={"draws", "gradient_draws", "gradient_images"})},
        provenance=results.provenance,
        closed_forms=_closed_forms(settings, folder, on_step),
        encoder_gradients=_encoder_gradients(settings, results, folder / "encoder_gradients.csv", on_step),
        runs=_runs(settings, results),
        histories=_histories(settings, results),
    )


def _closed_forms(settings: GradientSettings, folder: Path, on_step: OnStep) -> ClosedForms:
    files = {field.name: folder / f"{field.name}.csv" for field in fields(ClosedForms)}
    if not all(file.is_file() for file in files.values()):
        found = measure(settings.draws, settings.seed, lambda part: on_step(f"closed form: {part}"))
        for name, file in files.items():
            _write(getattr(found, name), file)
    return ClosedForms(**{name: pd.read_csv(file, float_precision="round_trip") for name, file in files.items()})


def _gradients_wanted(settings: GradientSettings) -> list[Trained]:
    """The estimators, k and latent sizes whose gradients are measured."""
    return [
        *(Trained(estimator, 1, size) for size in settings.latent_sizes for estimator in ESTIMATORS_OF_ONE_SAMPLE),
        *(Trained(estimator, samples) for samples in settings.samples for estimator in ESTIMATORS_OF_MANY),
    ]


def _encoder_gradients(settings: GradientSettings, results: StudyResults, file: Path, on_step: OnStep) -> pd.DataFrame:
    """One row per estimator, k and latent size, measured at the final weights of pathwise training."""
    kept = pd.read_csv(file, float_precision="round_trip") if file.is_file() else pd.DataFrame(columns=VAE_COLUMNS)
    done = set(kept[["estimator", "samples", "latent_size"]].itertuples(index=False, name=None))
    images = load(settings.dataset, settings.preparation).tuning.validation.some(settings.gradient_images).images
    models: dict[int, VAE | None] = {}
    rows = [kept] if len(kept) else []
    for wanted in _gradients_wanted(settings):
        on_step(f"gradients: {wanted.estimator} k={wanted.samples} latent_size={wanted.latent_size}")
        if (wanted.estimator, wanted.samples, wanted.latent_size) in done:
            continue
        if wanted.latent_size not in models:
            models[wanted.latent_size] = _trained_model(settings, results, wanted.latent_size)
        model = models[wanted.latent_size]
        if model is None:
            continue
        gradients = encoder_gradients(
            with_estimator(model, wanted.estimator, wanted.samples), images, settings.gradient_draws, settings.seed
        )
        noise = gradient_noise(gradients)
        values = (noise.variance.value, noise.variance.standard_error, noise.snr.value, noise.snr.standard_error)
        row = [wanted.latent_size, wanted.samples, wanted.estimator, *map(float, values)]
        rows.append(pd.DataFrame([row], columns=VAE_COLUMNS))
        _write(pd.concat(rows), file)
    return pd.concat(rows, ignore_index=True) if rows else kept


def _trained_model(settings: GradientSettings, results: StudyResults, latent_size: int) -> VAE | None:
    """The model of pathwise training with the first seed; None if its run did not complete."""
    runs = _finals(settings, results, Trained("pathwise", latent_size=latent_size).name)
    if runs.empty or runs.iloc[0]["state"] != RunState.COMPLETE:
        return None
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(load_model_file(settings.tracking, runs.iloc[0]["run_id"], Path(folder)))
    if not isinstance(model, VAE):
        raise TypeError(f"a VAE was trained, and {type(model).__name__} was logged")
    return model


def _finals(settings: GradientSettings, results: StudyResults, arm: str) -> pd.DataFrame:
    """The final runs of an arm by the number of their seed; the last attempt of each."""
    numbers = {derive_seed(settings.seed, FINALS, number): number for number in range(settings.seeds)}
    runs = results.runs[(results.runs["role"] == "final") & (results.runs["arm"] == arm)]
    last = runs.sort_values("started").drop_duplicates("seed", keep="last")
    return last.assign(number=last["seed"].map(numbers)).dropna(subset=["number"]).sort_values("number")


def _runs(settings: GradientSettings, results: StudyResults) -> pd.DataFrame:
    measured = results.measurements
    rows = []
    for each, number, final in _each_run(settings, results):
        row = [each.estimator, each.samples, each.latent_size, number, final["state"], final["reason"]]
        if final["state"] == RunState.COMPLETE:
            own = measured[measured["run_id"] == final["run_id"]].set_index(["split", "metric"])
            likelihood = own.loc[("test", "bits_per_dim")]
            seconds = own.loc[("cost", "training_seconds")]["value"]
            row += [likelihood["value"], likelihood["standard_error"], seconds]
        else:
            row += [None, None, None]
        rows.append(row)
    return pd.DataFrame(rows, columns=RUN_COLUMNS)


def _histories(settings: GradientSettings, results: StudyResults) -> pd.DataFrame:
    points = results.histories[results.histories["metric"] == "validation/bits_per_dim"]
    frames = []
    for each, number, final in _each_run(settings, results):
        own = points[points["run_id"] == final["run_id"]].rename(columns={"value": "bits_per_dim"})
        identity = {"estimator": each.estimator, "samples": each.samples, "latent_size": each.latent_size}
        frames.append(own[["images", "bits_per_dim"]].assign(**identity, seed=number))
    whole = pd.concat(frames) if frames else pd.DataFrame(columns=HISTORY_COLUMNS)
    return whole[HISTORY_COLUMNS].reset_index(drop=True)


def _each_run(settings: GradientSettings, results: StudyResults) -> list[tuple[Trained, int, pd.Series]]:
    return [
        (each, int(run["number"]), run)
        for each in settings.trained
        for _, run in _finals(settings, results, each.name).iterrows()
    ]


def _write(frame: pd.DataFrame, file: Path) -> None:
    with replacing(file) as unfinished:
        frame.to_csv(unfinished, index=False)
