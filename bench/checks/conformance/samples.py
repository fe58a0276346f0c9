"""Checks of the images that a model generates."""

from __future__ import annotations

import numpy as np

from bench.checks.conformance.inputs import IMAGES, as_array, prior_noise
from bench.checks.conformance.outcome import FailedError, SkippedError
from bench.checks.conformance.subject import Subject

FAR = 8.0
"""Standard deviations of noise that is farther out than any that will be drawn."""


def samples_are_images(subject: Subject) -> str:
    """Samples are integers 0..Q-1 of the data's shape, the same for a seed and others for another."""
    model = subject.small
    samples = as_array(model.sample(64, seed=1))
    if samples.shape != (64, *model.image_shape):
        raise FailedError(f"64 samples have shape {samples.shape}, not {(64, *model.image_shape)}")
    if samples.dtype.kind not in "iu":
        raise FailedError(f"samples are {samples.dtype}, not integers")
    if samples.min() < 0 or samples.max() >= model.grey_levels:
        raise FailedError(f"samples hold {samples.min()} to {samples.max()}, not 0 to {model.grey_levels - 1}")
    if (as_array(model.sample(64, seed=1)) != samples).any():
        raise FailedError("two draws from one seed differ: generate must be a function of its noise alone")
    if (as_array(model.sample(64, seed=2)) == samples).all():
        raise FailedError("two seeds give the same samples: generate does not depend on its noise")
    return f"{samples.min()} to {samples.max()} of 0 to {model.grey_levels - 1}"


def what_is_no_number_is_no_grey_level(subject: Subject) -> str:
    """A sampled value that is NaN or infinite before it is rounded is -1, and not black."""
    from bench.evaluation.broken_samples import broken
    from models.base.distributions import BROKEN

    model = subject.small
    noise, levels = prior_noise(model, 64), f"0 to {model.grey_levels - 1}"
    far = subject.samples(FAR * noise)
    wrong = far[(far != BROKEN) & ((far < 0) | (far >= model.grey_levels))]
    if wrong.size:
        raise FailedError(f"noise of {FAR:g} standard deviations gives the value {wrong[0]}, neither {levels} nor -1")
    kept = [np.array(weight) for weight in model.trainable_variables]
    try:
        for weight in model.trainable_variables:
            weight.assign(np.full(weight.shape, np.nan))
        samples = subject.samples(noise)
    except _refusals() as error:
        return f"the backend refuses: {' '.join(str(error).split())[:60]}"
    finally:
        for weight, value in zip(model.trainable_variables, kept, strict=True):
            weight.assign(value)
    hidden = ~broken(samples, model.grey_levels)
    if hidden.any():
        raise FailedError(
            f"{hidden.sum()} of 64 samples look like images though all weights are NaN, with values {samples.min()} to "
            f"{samples.max()}: round by as_grey_levels of models, which marks such values by -1"
        )
    share = broken(far, model.grey_levels).mean()
    return f"NaN is marked; at {FAR:g} standard deviations {share:.0%} of the samples are"


def _refusals() -> tuple[type[Exception], ...]:
    """What a backend raises that refuses NaN, as TensorFlow does in the inverse of a matrix: nothing is hidden."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return ()
    import tensorflow as tf

    return (tf.errors.InvalidArgumentError,)


def temperature_0_gives_one_image(subject: Subject) -> str:
    """At temperature 0 the noise does not count: all samples of a class are one image."""
    model = subject.small
    labels = np.zeros(IMAGES, "int32") if model.classes else None
    try:
        samples = as_array(model.generate(prior_noise(model, IMAGES), 0.0, labels))
    except NotImplementedError as error:
        raise SkippedError(f"the family has no temperature: {error}") from None
    if (samples != samples[0]).any():
        raise FailedError("samples at temperature 0 differ: the temperature scales the noise, generate(T·ε)")
    return "one image"
