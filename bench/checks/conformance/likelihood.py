"""Checks of the likelihood: sums over all images, frequencies of samples, and what the bound depends on."""

from __future__ import annotations

import itertools
import math

import numpy as np

from bench.checks.conformance.counting import Probabilities, estimate_probabilities
from bench.checks.conformance.inputs import IMAGES, as_array, check_close, images_of, posterior_noise, prior_noise
from bench.checks.conformance.outcome import FailedError
from bench.checks.conformance.subject import Subject

SAMPLES = 4096
"""Drawn to compare with the probabilities."""
CELLS = 256
"""In which the images are counted for that, by their first values and by their last."""
SIGMAS = 5.0
"""Standard errors by which an estimate may miss what it estimates."""
ROUNDING = 2e-3
"""Of sums of probabilities in single precision."""


def probabilities_sum_to_one_at_most(subject: Subject) -> str:
    """Σ_x P(x) <= 1 over all images: a sum above 1 claims a likelihood that no distribution has."""
    return _check_sum(subject.probabilities)


def probabilities_of_a_trained_model_sum_to_one_at_most(subject: Subject) -> str:
    """The same after training, which finds whatever a likelihood lets it gain by breaking that."""
    model, _ = subject.trained(*subject.countable_kind)
    return _check_sum(estimate_probabilities(model))


def _check_sum(found: Probabilities) -> str:
    allowed = 1.0 + ROUNDING + SIGMAS * found.error
    stated = f"{found.total:.4f} ± {found.error:.4f} over all {len(found.images):,} images"
    if not found.total <= allowed:
        raise FailedError(f"{stated}, at most 1 is possible: log_weights is too high, or not normalised")
    return stated


def samples_are_as_frequent_as_probable(subject: Subject) -> str:
    """The distribution of samples is that which the likelihood claims: their total variation distance is small."""
    from bench.evaluation.sampling import Sampler

    model, found = subject.countable, subject.probabilities
    samples = Sampler(model).draw(SAMPLES, 1.0, 0).reshape(SAMPLES, -1).astype(np.int64)
    if samples.min() < 0 or samples.max() >= model.grey_levels:
        raise FailedError(f"samples hold {samples.min()} to {samples.max()}, not 0 to {model.grey_levels - 1}")
    images = found.images.reshape(len(found.images), -1).astype(np.int64)
    together = min(model.dimensions, int(math.log(CELLS) / math.log(model.grey_levels)))
    lost, stated = max(0.0, 1.0 - found.total), []
    for name, part in (("first", slice(None, together)), ("last", slice(-together, None))):
        places = model.grey_levels ** np.arange(together)
        cells = images[:, part] @ places
        shares = np.bincount(cells, found.values) / found.total
        errors = np.sqrt(np.bincount(cells, np.square(found.errors))) / found.total
        frequencies = np.bincount(samples[:, part] @ places, minlength=len(shares)) / SAMPLES
        distance = 0.5 * float(np.abs(frequencies - shares).sum())
        # Mean absolute deviations: √(2pq/πn) of a frequency, but 2p where it is rare; √(2/π) of a normal error.
        chance = np.minimum(np.sqrt(2 * shares * (1 - shares) / (math.pi * SAMPLES)), 2 * shares)
        expected = 0.5 * float(chance.sum() + math.sqrt(2 / math.pi) * errors.sum())
        stated.append(f"{distance:.3f} by the {name} {together} values, {expected:.3f} by chance")
        if distance > 2 * expected + lost + 0.02:
            raise FailedError(
                f"total variation distance of {SAMPLES} samples {stated[-1]}: generate draws from another distribution "
                "than log_weights measures"
            )
    return "total variation distance " + "; ".join(stated)


def bound_rises_with_samples(subject: Subject) -> str:
    """E[L_k] rises with k (Burda et al. 2016, theorem 1), and each weight depends on its own noise alone."""
    model, images = subject.small, images_of(subject.small, IMAGES)
    numbers, noise = (1, 16, 256), posterior_noise(model, IMAGES, 256)
    by_number = {k: subject.log_weights(images, noise[:, :k]).astype(np.float64) for k in numbers}
    for k, log_weights in by_number.items():
        if log_weights.shape != (IMAGES, k):
            shape = f"{log_weights.shape[::-1]} of {k} samples of {IMAGES} images, not {(k, IMAGES)}"
            raise FailedError(f"log_weights has shape {shape}")
        check_close(
            log_weights, by_number[256][:, :k], "a log-weight changes with the number of samples computed at once"
        )
    whole = by_number[256]
    bounds = [float(np.mean(np.logaddexp.reduce(whole.reshape(IMAGES, -1, k), axis=2) - math.log(k))) for k in numbers]
    drawn = [float(as_array(model.log_prob_bound(images, k, seed=1)).mean()) for k in (1, 16)]
    error = float(whole.std(axis=1).mean()) / math.sqrt(IMAGES)
    stated = ", ".join(f"{bound:.3f} at k={k}" for bound, k in zip(bounds, numbers, strict=True)) + " nats"
    if any(abs(found - bound) > SIGMAS * error + 1e-3 for found, bound in zip(drawn, bounds, strict=False)):
        raise FailedError(f"log_prob_bound gives {drawn[0]:.3f} and {drawn[1]:.3f} nats, the log-weights {stated}")
    if any(later < earlier - 1e-3 for earlier, later in itertools.pairwise(bounds)):
        raise FailedError(f"the mean bound falls: {stated}")
    if model.is_exact and np.ptp(bounds) > 1e-3:
        raise FailedError(f"is_exact, but the bound depends on k: {stated}")
    return stated


def image_does_not_depend_on_its_batch(subject: Subject) -> str:
    """The bound of an image, and a sample from its noise, are the same alone and among others."""
    model, images = subject.small, images_of(subject.small, IMAGES)
    noise = posterior_noise(model, IMAGES, 2)
    whole = subject.log_weights(images, noise)
    for i in (0, IMAGES - 1):
        alone = subject.log_weights(images[i : i + 1], noise[i : i + 1])
        check_close(alone[0], whole[i], f"the log-weights of image {i} change with the other images of its batch")
    prior = prior_noise(model, IMAGES)
    together = subject.samples(prior)
    differ = float(np.mean(subject.samples(prior[1:2]) != together[1:2]))
    if differ > 0.02:
        raise FailedError(f"{differ:.0%} of the values of a sample change with the others that are drawn with it")
    return f"{IMAGES} images"
