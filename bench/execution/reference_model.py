"""Trains a study's reference model, and measures it on test: see :mod:`bench.study.reference_model`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from bench.core.errors import AlteredDataError, CheckpointError, TrialError
from bench.core.metrics import REFERENCE_MODEL_CODE
from bench.core.results import REFERENCE_MODEL, EvaluationRecord, Measurement, ReferenceCodes
from bench.core.seeds import derive_seed
from bench.core.signals import StopRequest
from bench.data.dataset import Dataset
from bench.evaluation.evaluator import check_finite
from bench.evaluation.likelihood import log_likelihood
from bench.evaluation.reference_codes import share_of_test
from bench.execution.progress import StudyProgress
from bench.execution.session import StudySession, limit_validation
from bench.execution.trial import train_model
from bench.execution.worker import as_trial_error
from bench.runtime.backend import backend_errors
from bench.study.definition import BoundStudy
from bench.study.reference_model import NAME, RUN_KIND, most_test_images

log = logging.getLogger(__name__)


def measure_reference_model(
    session: StudySession,
    reference: BoundStudy,
    dataset: Dataset,
    progress: StudyProgress,
    stop: StopRequest,
    check_lock: Callable[[], None],
) -> None:
    """Train the reference model, or continue its training, and measure it on the images that final runs are.

    Its exact bits/dim and its cost are logged with the study; where it diverged or failed, the reason is.

    Args:
        session: the study, which keeps the model's checkpoint.
        reference: the study of the reference model alone.
        dataset: the images.
        progress: shows the progress.
        stop: a request to stop.
        check_lock: raises StudyStoppedError once another process has taken the study over.

    Raises:
        KeyboardInterrupt: a stop was requested; its checkpoint is kept.
        TrackingError: the tracking server cannot be reached; its checkpoint is kept.
        StudyStoppedError: another process took the study over, with the checkpoint.
        CheckpointError: its checkpoint cannot be written, and the earlier one is kept; or it is a larger budget's, and
            cannot be removed.
        AlteredDataError: the images that the study's processes share were altered; its checkpoint is removed.
    """
    config, seed = reference.base(reference.study.arms[0]), derive_seed(reference.settings.seed, NAME)
    checkpoint = session.checkpoint(NAME, 0, config, seed)
    progress.start_run(NAME, config.training.evaluations, RUN_KIND)

    def on_evaluation(record: EvaluationRecord) -> None:
        stop.check()
        check_lock()
        progress.show_evaluation(record)

    def on_progress(done: int, total: int) -> None:
        stop.check()
        check_lock()
        progress.show_test_progress(done, total)

    def measure() -> list[Measurement]:
        checkpoint.remove_longer(config.training.evaluations)
        for record in checkpoint.records():
            progress.show_evaluation(record)
        data = limit_validation(dataset, reference.settings.evaluation_images)
        model, training = train_model(config, data, seed, on_evaluation, checkpoint)
        kind = dataset.info.kind
        test = dataset.open_test().some(session.bound.settings.evaluation_images, kind)
        most = most_test_images(dataset.info)
        used = test.some(most, kind) if len(test) > most else test
        found = log_likelihood(model, used.images, 1, seed, on_progress=on_progress)
        check_finite(found, "test")
        dataset.check()
        bits, _ = found.measurements("test", kind)
        return [
            Measurement(
                *(REFERENCE_MODEL, REFERENCE_MODEL_CODE, bits.value, bits.standard_error, bits.n),
                conditions=share_of_test(used.images, test.images),
            ),
            Measurement(REFERENCE_MODEL, "parameters", sum(int(np.prod(w.shape)) for w in model.trainable_weights)),
            Measurement(REFERENCE_MODEL, "training_seconds", training.seconds),
            Measurement(REFERENCE_MODEL, "training_images", training.records[-1].images),
        ]

    failures: tuple[type[Exception], ...] = (
        *(TrialError, MemoryError, OSError, RuntimeError, ValueError),
        *backend_errors(),
    )
    try:
        measured = stop.run_interruptible(measure)
    except AlteredDataError:
        # Nothing may continue from weights that were trained on altered images.
        remove_checkpoint(session, progress)
        raise
    except failures as error:
        log.warning("%s: failed", NAME, exc_info=True)
        reason = str(as_trial_error(error))
        progress.say(f"{NAME}: {reason}; the study is complete without it, and the same command tries it again")
        found = ReferenceCodes([], {REFERENCE_MODEL_CODE: reason})
    else:
        progress.say(f"{NAME}: {measured[0].value:.4f} {progress.unit} on test, exact")
        found = ReferenceCodes(measured)
    session.parent.log_reference_codes(found)
    progress.finish_run(RUN_KIND)
    remove_checkpoint(session, progress)


def remove_checkpoint(session: StudySession, progress: StudyProgress) -> None:
    """Remove the checkpoint of a reference model that is logged, or not wanted any more."""
    try:
        session.remove_checkpoint(NAME, 0)
    except CheckpointError as error:
        progress.say(f"{error}; nothing needs it, and the same command tries it again")
