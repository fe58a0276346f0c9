"""Runs the checks of a family."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.checks.conformance.configuration import configuration_survives_storage, size_is_that_of_the_model
from bench.checks.conformance.likelihood import (
    bound_rises_with_samples,
    image_does_not_depend_on_its_batch,
    probabilities_of_a_trained_model_sum_to_one_at_most,
    probabilities_sum_to_one_at_most,
    samples_are_as_frequent_as_probable,
)
from bench.checks.conformance.outcome import CheckResult, FailedError, Outcome, SkippedError
from bench.checks.conformance.programs import (
    compiled_program_agrees,
    gradients_are_right,
    saved_model_is_the_same,
    training_lowers_the_loss,
)
from bench.checks.conformance.samples import (
    samples_are_images,
    temperature_0_gives_one_image,
    what_is_no_number_is_no_grey_level,
)
from bench.checks.conformance.subject import Subject
from models.base.config import ModelConfig

CHECKS: tuple[Callable[[Subject], str], ...] = (
    configuration_survives_storage,
    compiled_program_agrees,
    probabilities_sum_to_one_at_most,
    probabilities_of_a_trained_model_sum_to_one_at_most,
    samples_are_as_frequent_as_probable,
    bound_rises_with_samples,
    image_does_not_depend_on_its_batch,
    gradients_are_right,
    saved_model_is_the_same,
    samples_are_images,
    what_is_no_number_is_no_grey_level,
    temperature_0_gives_one_image,
    size_is_that_of_the_model,
    training_lowers_the_loss,
)
"""Every check, in the order in which they are run."""


def check_family(config: ModelConfig, checks: tuple[Callable[[Subject], str], ...] = CHECKS) -> Iterator[CheckResult]:
    """Check a configuration of a registered family on the backend that Keras runs on, check by check.

    Args:
        config: the configuration.
        checks: which checks to run.
    """
    import keras

    subject = Subject(config)
    for check in checks:
        try:
            outcome, detail = Outcome.PASSED, check(subject)
        except SkippedError as reason:
            outcome, detail = Outcome.SKIPPED, str(reason)
        except FailedError as reason:
            outcome, detail = Outcome.FAILED, str(reason)
        except Exception as error:  # noqa: BLE001 - the model is the user's: it may raise anything
            outcome, detail = Outcome.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}"
        name = check.__name__.replace("_", " ")
        yield CheckResult(config.family, keras.backend.backend(), name, outcome, detail)
