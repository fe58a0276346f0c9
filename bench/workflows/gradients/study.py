"""The gradient study from first to last: closed forms, training with each estimator, gradients of the trained VAE."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict

import pandas as pd

from bench.core.errors import TrialError
from bench.core.gradient_results import HISTORY_COLUMNS, RUN_COLUMNS, VAE_COLUMNS, GradientResults
from bench.core.results import EvaluationRecord, Measurement, RunState
from bench.core.seeds import derive_seed
from bench.data.dataset import TuningData
from bench.evaluation.likelihood import likelihood_program, log_likelihood
from bench.execution.trial import trained_model
from bench.runtime.provenance import provenance
from bench.study.config import RunConfig
from bench.tracking.schema import StudyDescription
from bench.tracking.writer import DRAIN_SECONDS, StudyRun, Tracker
from bench.workflows.gradients.closed_forms import measure
from bench.workflows.gradients.encoder_gradients import encoder_gradients, gradient_noise, with_estimator
from bench.workflows.gradients.settings import (
    ESTIMATORS_OF_MANY,
    ESTIMATORS_OF_ONE_SAMPLE,
    LATENT_SIZE,
    NAME,
    QUESTION,
    GradientSettings,
)
from models.vae.model import VAE

OnStep = Callable[[str], None]

CLOSED_FORM_STEPS = 5


def count_steps(settings: GradientSettings) -> int:
    """How often a study of these settings reports a step."""
    runs = settings.seeds * len(settings.trained) + len(settings.latent_sizes) - 1
    gradients = len(ESTIMATORS_OF_ONE_SAMPLE) * len(settings.latent_sizes)
    return CLOSED_FORM_STEPS + runs + gradients + len(ESTIMATORS_OF_MANY) * len(settings.samples)


class GradientStudy:
    """Runs the study and logs its training runs to MLflow, as children of one parent run.

    Args:
        settings: the study's settings.
        data: training and validation images; test is not used.
        on_step: called with the name of each step as it begins.

    Raises:
        TrackingError: the tracking store cannot be reached.
    """

    def __init__(self, settings: GradientSettings, data: TuningData, on_step: OnStep = lambda step: None) -> None:
        self.settings = settings
        self.data = data
        self.on_step = on_step
        self.study_id = settings.study_id(data.info, data.digest)
        self.provenance = provenance(settings.backend)
        self._runs: list[dict[str, object]] = []
        self._histories: list[dict[str, object]] = []
        settings.output.mkdir(parents=True, exist_ok=True)
        description = StudyDescription(
            study_id=self.study_id,
            name=NAME,
            question=QUESTION,
            swept={"vae": ["gradient_estimator", "training_samples", "latent_size"]},
            settings=self._settings(),
            provenance=self.provenance,
            dataset=data.info,
            digest=data.digest,
        )
        self.tracker = Tracker(settings.tracking, settings.output / "artifacts", settings.output / "outbox")
        self.tracker.upload_orphans()
        self.parent: StudyRun = self.tracker.open_study(description)

    def _settings(self) -> dict[str, object]:
        return self.settings.model_dump(mode="json", exclude={"tracking_uri", "output"})

    def run(self) -> GradientResults:
        """Measure everything.

        Raises:
            KeyboardInterrupt: on Ctrl-C, once the runs are marked as interrupted.
        """
        try:
            results = self._run()
        except KeyboardInterrupt:
            self._end(RunState.INTERRUPTED)
            raise
        except BaseException:
            self._end(RunState.FAILED)
            raise
        self._end(RunState.COMPLETE)
        return results

    def _end(self, state: RunState) -> None:
        self.tracker.drain(DRAIN_SECONDS)
        self.tracker.close()
        self.parent.finish_if_reachable(state)

    def _run(self) -> GradientResults:
        settings = self.settings
        known = measure(settings.draws, settings.seed, lambda part: self.on_step(f"closed form: {part}"))
        trained: dict[int, VAE] = {}
        for estimator, samples in settings.trained:
            for number in range(settings.seeds):
                model = self._train(estimator, samples, LATENT_SIZE, number)
                if (estimator, samples, number) == ("pathwise", 1, 0) and model is not None:
                    # A copy: the next seed trains the same model anew.
                    trained[LATENT_SIZE] = with_estimator(model, estimator, samples)
        for latent_size in settings.latent_sizes:
            if latent_size != LATENT_SIZE and (model := self._train("pathwise", 1, latent_size, 0)) is not None:
                trained[latent_size] = model
        rows = [
            self._gradient(trained[latent_size], estimator, 1)
            for latent_size in settings.latent_sizes
            for estimator in ESTIMATORS_OF_ONE_SAMPLE
            if latent_size in trained
        ]
        rows += [
            self._gradient(trained[LATENT_SIZE], estimator, samples)
            for samples in settings.samples
            for estimator in ESTIMATORS_OF_MANY
            if LATENT_SIZE in trained
        ]
        return GradientResults(
            study_id=self.study_id,
            question=QUESTION,
            dataset={**asdict(self.data.info), "digest": self.data.digest},
            settings=self._settings(),
            provenance=self.provenance,
            closed_forms=known,
            encoder_gradients=pd.DataFrame(rows, columns=VAE_COLUMNS),
            runs=pd.DataFrame(self._runs, columns=RUN_COLUMNS),
            histories=pd.DataFrame(self._histories, columns=HISTORY_COLUMNS),
        )

    def _train(self, estimator: str, samples: int, latent_size: int, number: int) -> VAE | None:
        """Train one VAE under MLflow's eyes; None if it failed for a reason that the run then tells."""
        config = self.settings.configure(self.data.digest, estimator, samples, latent_size)
        seed = derive_seed(self.settings.seed, "gradients", number)
        name = f"{estimator} k={samples} latent_size={latent_size}, seed {number + 1}"
        self.on_step(f"training: {name}")
        run = self.parent.start_run(name, "search", "vae", seed, config, len(self._runs))
        what = {"estimator": estimator, "samples": samples, "latent_size": latent_size, "seed": number}

        def on_evaluation(record: EvaluationRecord) -> None:
            run.log_evaluation(record)
            value = record.values["validation/bits_per_dim"]
            self._histories.append({**what, "images": record.images, "bits_per_dim": value})

        def end(state: RunState, reason: str = "", **measured: float | None) -> None:
            run.finish(state, reason)
            self._runs.append({**what, "state": str(state), "reason": reason, **measured})

        try:
            model, seconds, measurements = self._trained(config, seed, on_evaluation)
        except KeyboardInterrupt:
            end(RunState.INTERRUPTED)
            raise
        except TrialError as error:
            end(RunState(error.state), str(error))
            return None
        except Exception as error:  # noqa: BLE001 - a run that fails is told of, and the study goes on
            run.log_file(traceback.format_exc(), "traceback.txt")
            end(RunState.FAILED, f"{type(error).__name__}: {error}".splitlines()[0])
            return None
        run.log_measurements(measurements)
        bound = next(row for row in measurements if row.metric == "bits_per_dim")
        end(RunState.COMPLETE, bits_per_dim=bound.value, standard_error=bound.standard_error, seconds=seconds)
        return model

    def _trained(
        self, config: RunConfig, seed: int, on_evaluation: Callable[[EvaluationRecord], None]
    ) -> tuple[VAE, float, list[Measurement]]:
        model, log = trained_model(config, self.data, seed, on_evaluation)
        if not isinstance(model, VAE):
            raise TypeError(f"a VAE was asked for, and {type(model).__name__} was trained")
        likelihood = log_likelihood(
            model,
            self.data.validation.images,
            self.settings.selection_samples,
            derive_seed("validation"),
            likelihood_program(model),
        )
        return model, log.seconds, likelihood.measurements("validation")

    def _gradient(self, model: VAE, estimator: str, samples: int) -> dict[str, object]:
        settings = self.settings
        latent_size = model.configuration.latent_size
        self.on_step(f"gradients: {estimator} k={samples} latent_size={latent_size}")
        images = self.data.validation.images[: settings.gradient_images]
        gradients = encoder_gradients(
            with_estimator(model, estimator, samples), images, settings.gradient_draws, settings.seed
        )
        noise = gradient_noise(gradients)
        return {
            "latent_size": latent_size,
            "samples": samples,
            "estimator": estimator,
            "variance": float(noise.variance.value),
            "variance_error": float(noise.variance.standard_error),
            "snr": float(noise.snr.value),
            "snr_error": float(noise.snr.standard_error),
        }
