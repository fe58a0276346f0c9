"""Conformance: what every model family must do, checked on images so small that all of them can be counted.

Our own families pass it in the tests, and ``reparam-bench check my_model.py`` runs it on a user's:

    python -m bench.checks.conformance BACKEND < JOB      # the checks on one backend, in a process of its own

Each check is a function of a :class:`Subject`. It returns what it found in a few words, or raises
:class:`FailedError`; any other error is a failure too. Weights are perturbed before they are checked, as initial values
such as zeros and identities hide mistakes.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.core.environment import search_path
from bench.core.errors import SettingsError
from bench.core.extensions import load_extension
from bench.runtime.backend import BACKENDS, select_backend
from models.base.config import ModelConfig, Shape
from models.base.registry import families, registered

if TYPE_CHECKING:
    from bench.runtime.compiled import CompiledMethod
    from models.base.likelihood_model import LikelihoodModel

Array = npt.NDArray[Any]

COUNTABLE: tuple[tuple[Shape, int], ...] = (
    *(((2, 2, 1), 3), ((3, 3, 1), 2), ((2, 2, 3), 2), ((4, 4, 1), 2)),
    *(((1, 3, 1), 3), ((1, 4, 1), 3)),
)
"""Image shapes and grey levels of which all images are counted: 27 to 65,536; the first that fits.

Sequences, which are images of height 1, come last: they are for models that take no others.
"""
SMALL: tuple[tuple[Shape, int], ...] = (
    *(((4, 4, 1), 5), ((8, 8, 1), 5), ((8, 8, 3), 5), ((28, 28, 1), 256)),
    ((1, 16, 1), 5),
)
"""Those of the other checks; the first that fits."""
ROWS = 2**18
"""Log-weights that estimate the probabilities of all images together, at least 4 and at most 256 each."""
SAMPLES = 4096
"""Drawn to compare with the probabilities."""
CELLS = 256
"""In which the images are counted for that, by their first values and by their last."""
IMAGES = 8
"""Images of most checks."""
PERTURBATION = 0.2
"""Largest standard deviation of what is added to a trainable weight; less in matrices of many numbers."""
SHARES = (1.0, 0.3, 0.1, 0.03)
"""Of the perturbation; the first counts under which an image costs less than one and a half times a uniform one."""
STEPS = 200
"""Of training."""
COMPARED = 20
"""Steps at the beginning and at the end that train on the same batches, whose losses are compared."""
SIGMAS = 5.0
"""Standard errors by which an estimate may miss what it estimates."""
ROUNDING = 2e-3
"""Of sums of probabilities in single precision."""
SLOPES = 6
"""Weights whose gradient is compared with finite differences."""
FAR = 8.0
"""Standard deviations of noise that is farther out than any that will be drawn."""
FINITE_STEPS = (1e-3, 1e-2, 5e-2)
"""Lengths of the steps of finite differences; the best counts, as small ones round and large ones curve."""


class FailedError(Exception):
    """A check failed; the message says what was found and what would be accepted."""


class SkippedError(Exception):
    """A check does not apply; the message says why."""


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """One check of one family.

    Attributes:
        family: the family's name.
        backend: the Keras backend it ran on.
        check: the check's name.
        outcome: how it ended.
        detail: what was found, or why it failed or was skipped.
    """

    family: str
    backend: str
    check: str
    outcome: Outcome
    detail: str


class Subject:
    """A configuration under test, with the models that the checks share.

    Args:
        config: the configuration.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self._programs: dict[int, CompiledMethod] = {}

    def build(self, image_shape: Shape, grey_levels: int, seed: int = 0) -> LikelihoodModel:
        """A model that is initialised on random images, its trainable weights perturbed."""
        import keras

        from models.registry import build_model

        keras.utils.set_random_seed(seed)
        model = build_model(self.config, image_shape, grey_levels)
        model.initialise(images_of(model, 64, seed))
        self._perturb(model, seed)
        return model

    def _perturb(self, model: LikelihoodModel, seed: int) -> None:
        """Add as much to each trainable weight as leaves the model one of images: deep ones bear less."""
        from bench.runtime.compiled import CompiledMethod

        program = self._programs[id(model)] = CompiledMethod(model, _log_weights, "sometimes")
        images, noise = images_of(model, IMAGES, seed), _noise(model, IMAGES, 2, seed)
        kept = [np.array(weight) for weight in model.trainable_variables]
        for share in SHARES:
            generator = np.random.default_rng(seed)
            for weight, value in zip(model.trainable_variables, kept, strict=True):
                scale = share * min(PERTURBATION, 6.0 / math.sqrt(max(1, value.size)))
                weight.assign(value + scale * generator.standard_normal(value.shape))
            if program.run(images, noise).mean() > -1.5 * model.dimensions * math.log(model.grey_levels):
                return

    @cached_property
    def small(self) -> LikelihoodModel:
        """A model of small images.

        Raises:
            FailedError: it takes none of :data:`SMALL`.
        """
        image_shape, grey_levels = self.kind(SMALL)
        return self.build(image_shape, grey_levels)

    @cached_property
    def countable(self) -> LikelihoodModel:
        """A model of images of which all can be counted.

        Raises:
            SkippedError: it takes none of :data:`COUNTABLE`.
        """
        try:
            image_shape, grey_levels = self.kind(COUNTABLE)
        except FailedError as error:
            raise SkippedError(f"no images that can be counted are accepted: {error}") from None
        return self.build(image_shape, grey_levels)

    def kind(self, kinds: tuple[tuple[Shape, int], ...]) -> tuple[Shape, int]:
        """The first kind of images that the configuration takes.

        Raises:
            FailedError: it takes none.
        """
        reasons = []
        for image_shape, grey_levels in kinds:
            try:
                self.config.check_images(image_shape, grey_levels)
            except ValueError as error:
                reasons.append(f"{'x'.join(map(str, image_shape))} of {grey_levels} levels: {error}")
            else:
                return image_shape, grey_levels
        raise FailedError("; ".join(reasons))

    def log_weights(self, images: Array, noise: Array) -> Array:
        """The small model's log-weights (n, k), as evaluations of a training compute them."""
        return self._programs[id(self.small)].run(images, noise)

    @cached_property
    def _samples(self) -> CompiledMethod:
        from bench.runtime.compiled import CompiledMethod

        return CompiledMethod(self.small, _generate, "sometimes")

    def samples(self, noise: Array) -> Array:
        """The small model's samples from prior noise (n, prior_noise_size)."""
        return self._samples.run(noise)

    @cached_property
    def probabilities(self) -> Probabilities:
        """Those of all images of the countable model."""
        return _probabilities(self.countable)

    def trained(self, image_shape: Shape, grey_levels: int) -> tuple[LikelihoodModel, dict[str, Array]]:
        """A model after :data:`STEPS` steps by the harness's own training programs, and what each step logged."""
        import keras

        from bench.study.config import TrainingConfig
        from bench.training.loop import compile_for_training
        from bench.training.program import training_program
        from models.registry import build_model

        keras.utils.set_random_seed(0)
        model = build_model(self.config, image_shape, grey_levels)
        images = images_of(model, 256)
        compile_for_training(model, TrainingConfig(learning_rate=3e-3, batch_size=32))
        program = training_program(model)
        program.initialise(images)
        order = np.random.default_rng(0).integers(0, len(images), (STEPS, 32))
        order[-COMPARED:] = order[:COMPARED]
        return model, program.train(images, np.zeros(256, "int32") if model.classes else None, order, 0, STEPS)


@dataclass(frozen=True)
class Probabilities:
    """Estimated probabilities of all images, the mean of k weights each, with their standard errors (m,)."""

    images: Array
    values: Array
    errors: Array

    @property
    def total(self) -> float:
        """Their sum."""
        return float(self.values.sum())

    @property
    def error(self) -> float:
        """Standard error of the sum."""
        return float(np.sqrt(np.square(self.errors).sum()))


def images_of(model: LikelihoodModel, n: int, seed: int = 0) -> Array:
    """Random integer images (n, h, w, c) that are bright above or below and dark elsewhere, with some noise."""
    generator = np.random.default_rng(seed)
    height, shape = model.image_shape[0], (n, *model.image_shape)
    above = np.arange(height)[:, None, None] < height / 2
    bright = above ^ (generator.uniform(size=(n, 1, 1, 1)) < 0.5) ^ (generator.uniform(size=shape) < 0.05)
    noisy = generator.integers(0, model.grey_levels, size=shape)
    values = np.where(generator.uniform(size=shape) < 0.1, noisy, bright * (model.grey_levels - 1))
    return values.astype("uint8" if model.grey_levels <= 256 else "uint16")


def _log_weights(model: LikelihoodModel, images: Any, noise: Any) -> Any:
    return model.log_weights_by_image(images, noise)


def _generate(model: LikelihoodModel, noise: Any) -> Any:
    return model.generate(noise)


def _objective(model: LikelihoodModel, images: Any, noise: Any) -> Any:
    import keras

    labels = keras.ops.zeros_like(images[:, 0, 0, 0]) if model.classes else None
    return model.objective(images, keras.ops.swapaxes(noise, 0, 1), labels, False)["objective"]


def _noise(model: LikelihoodModel, n: int, k: int, seed: int = 0) -> Array:
    shape = (n, k, *model.posterior_noise_shape)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _prior_noise(model: LikelihoodModel, n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((n, model.prior_noise_size), dtype=np.float32)


def _array(tensor: Any) -> Array:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def _close(found: Array, expected: Array, reason: str) -> None:
    """Raise FailedError, with the largest difference, if log-weights differ by more than rounding."""
    difference = np.abs(found.astype(np.float64) - expected)
    allowed = 1e-3 + 1e-4 * np.abs(expected)
    if not (difference <= allowed).all():
        raise FailedError(f"{reason}, by up to {np.max(difference):.3g} nats")


def _probabilities(model: LikelihoodModel) -> Probabilities:
    from bench.evaluation.likelihood import likelihood_program

    values = itertools.product(range(model.grey_levels), repeat=model.dimensions)
    images = np.array(list(values), np.uint8).reshape(-1, *model.image_shape)
    k = 1 if model.is_exact else min(256, max(4, ROWS // len(images)))
    batch = min(len(images), 4096)
    program, parts = likelihood_program(model), []
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        filled = np.concatenate([some, np.repeat(some[:1], batch - len(some), axis=0)])
        parts.append(program.run(filled, _noise(model, batch, k, start))[: len(some)].astype(np.float64))
    weights = np.exp(np.concatenate(parts))
    errors = weights.std(axis=1, ddof=1) / math.sqrt(k) if k > 1 else np.zeros(len(images))
    return Probabilities(images, weights.mean(axis=1), errors)


def probabilities_sum_to_one_at_most(subject: Subject) -> str:
    """Σ_x P(x) <= 1 over all images: a sum above 1 claims a likelihood that no distribution has."""
    return _check_sum(subject.probabilities)


def probabilities_of_a_trained_model_sum_to_one_at_most(subject: Subject) -> str:
    """The same after training, which finds whatever a likelihood lets it gain by breaking that."""
    _ = subject.countable  # skips where there is none
    model, _ = subject.trained(*subject.kind(COUNTABLE))
    return _check_sum(_probabilities(model))


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
    numbers, noise = (1, 16, 256), _noise(model, IMAGES, 256)
    by_number = {k: subject.log_weights(images, noise[:, :k]).astype(np.float64) for k in numbers}
    for k, log_weights in by_number.items():
        if log_weights.shape != (IMAGES, k):
            shape = f"{log_weights.shape[::-1]} of {k} samples of {IMAGES} images, not {(k, IMAGES)}"
            raise FailedError(f"log_weights has shape {shape}")
        _close(log_weights, by_number[256][:, :k], "a log-weight changes with the number of samples computed at once")
    whole = by_number[256]
    bounds = [float(np.mean(np.logaddexp.reduce(whole.reshape(IMAGES, -1, k), axis=2) - math.log(k))) for k in numbers]
    drawn = [float(_array(model.log_prob_bound(images, k, seed=1)).mean()) for k in (1, 16)]
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
    noise = _noise(model, IMAGES, 2)
    whole = subject.log_weights(images, noise)
    for i in (0, IMAGES - 1):
        alone = subject.log_weights(images[i : i + 1], noise[i : i + 1])
        _close(alone[0], whole[i], f"the log-weights of image {i} change with the other images of its batch")
    prior = _prior_noise(model, IMAGES)
    together = subject.samples(prior)
    differ = float(np.mean(subject.samples(prior[1:2]) != together[1:2]))
    if differ > 0.02:
        raise FailedError(f"{differ:.0%} of the values of a sample change with the others that are drawn with it")
    return f"{IMAGES} images"


def compiled_program_agrees(subject: Subject) -> str:
    """The programs that evaluations compile give what the methods give step by step."""
    from bench.evaluation.likelihood import likelihood_program
    from bench.evaluation.sampling import Sampler

    model, images = subject.small, images_of(subject.small, IMAGES)
    noise = _noise(model, IMAGES, 2)
    expected = _array(model.log_weights_by_image(images, noise))
    if not np.isfinite(expected).all():
        raise FailedError(f"{np.mean(~np.isfinite(expected)):.0%} of the log-weights are not finite")
    _close(likelihood_program(model).run(images, noise), expected, "the compiled log-weights differ")
    _close(subject.log_weights(images, noise), expected, "the compiled log-weights differ")
    Sampler(model, IMAGES).draw(IMAGES, 1.0, 0)
    return "log-weights and samples compile"


def gradients_are_right(subject: Subject) -> str:
    """∂ objective/∂ each trainable weight is finite and not 0, and is that of finite differences for some weights."""
    from bench.runtime.autodiff import gradient_program
    from bench.runtime.compiled import CompiledMethod

    model, images = subject.small, images_of(subject.small, IMAGES)
    weights = model.trainable_variables
    if not weights:
        raise FailedError("the model has no trainable weights")
    noise = _noise(model, IMAGES, model.training_samples)

    def mean(images: Any, noise: Any) -> Any:
        import keras

        return keras.ops.mean(_objective(model, images, noise))

    found = gradient_program(mean, weights)(images, noise)
    values = CompiledMethod(model, _objective, "sometimes")
    for weight, gradient in zip(weights, found, strict=True):
        if not np.isfinite(gradient).all():
            raise FailedError(f"the gradient of {weight.path} is not finite")
        if not gradient.any():
            raise FailedError(f"the gradient of {weight.path} is 0: the objective does not depend on it")
    errors = {}
    for i in np.linspace(0, len(weights) - 1, min(SLOPES, len(weights))).round().astype(int):
        errors[weights[i].path] = _slope_error(
            weights[i], found[i], lambda: float(values.run(images, noise).astype(np.float64).mean())
        )
    worst = max(errors, key=lambda path: errors[path])
    if errors[worst] > 0.05:
        raise FailedError(
            f"the gradient of {worst} differs by {errors[worst]:.0%} from finite differences of the objective"
        )
    return f"{len(weights)} weights; at most {errors[worst]:.1%} from finite differences"


def _slope_error(weight: Any, gradient: Array, value: Callable[[], float]) -> float:
    """Relative error of the slope along the gradient: |g| against central differences."""
    kept = np.array(weight)
    norm = float(np.linalg.norm(gradient))
    best = math.inf
    for length in FINITE_STEPS:
        ends = []
        for sign in (1, -1):
            weight.assign(kept + sign * length * gradient / norm)
            ends.append(value())
        best = min(best, abs((ends[0] - ends[1]) / (2 * length) - norm) / norm)
    weight.assign(kept)
    return best


def saved_model_is_the_same(subject: Subject) -> str:
    """A ``.keras`` file gives the same log-weights and samples, in safe mode."""
    from models.registry import load_model

    model, images = subject.small, images_of(subject.small, IMAGES)
    noise, prior = _noise(model, IMAGES, 2), _prior_noise(model, IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.bare_copy().save(file)
        loaded = load_model(file)
    if loaded.configuration != model.configuration:
        raise FailedError(f"the loaded configuration is {loaded.configuration!r}")
    expected = subject.log_weights(images, noise)
    reason = "the log-weights change: what decides them is no weight of the model, or no setting of its configuration"
    _close(_array(loaded.log_weights_by_image(images, noise)), expected, reason)
    differ = float(np.mean(_array(loaded.generate(prior)) != subject.samples(prior)))
    if differ > 0.02:
        raise FailedError(f"{differ:.0%} of the values of samples change")
    return f"{sum(math.prod(weight.shape) for weight in model.weights):,} numbers"


def samples_are_images(subject: Subject) -> str:
    """Samples are integers 0..Q-1 of the data's shape, the same for a seed and others for another."""
    model = subject.small
    samples = _array(model.sample(64, seed=1))
    if samples.shape != (64, *model.image_shape):
        raise FailedError(f"64 samples have shape {samples.shape}, not {(64, *model.image_shape)}")
    if samples.dtype.kind not in "iu":
        raise FailedError(f"samples are {samples.dtype}, not integers")
    if samples.min() < 0 or samples.max() >= model.grey_levels:
        raise FailedError(f"samples hold {samples.min()} to {samples.max()}, not 0 to {model.grey_levels - 1}")
    if (_array(model.sample(64, seed=1)) != samples).any():
        raise FailedError("two draws from one seed differ: generate must be a function of its noise alone")
    if (_array(model.sample(64, seed=2)) == samples).all():
        raise FailedError("two seeds give the same samples: generate does not depend on its noise")
    return f"{samples.min()} to {samples.max()} of 0 to {model.grey_levels - 1}"


def what_is_no_number_is_no_grey_level(subject: Subject) -> str:
    """A sampled value that is NaN or infinite before it is rounded is -1, and not black."""
    from bench.evaluation.broken_samples import broken
    from models.base.distributions import BROKEN

    model = subject.small
    noise, levels = _prior_noise(model, 64), f"0 to {model.grey_levels - 1}"
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
        samples = _array(model.generate(_prior_noise(model, IMAGES), 0.0, labels))
    except NotImplementedError as error:
        raise SkippedError(f"the family has no temperature: {error}") from None
    if (samples != samples[0]).any():
        raise FailedError("samples at temperature 0 differ: the temperature scales the noise, generate(T·ε)")
    return "one image"


def size_is_that_of_the_model(subject: Subject) -> str:
    """``size()`` counts the trainable weights of the built model."""
    for model in (subject.small, subject.countable):
        size = subject.config.size(model.image_shape, model.grey_levels)
        if size is None:
            raise SkippedError("the configuration states no size(): a dry run cannot estimate the time")
        built = sum(math.prod(weight.shape) for weight in model.trainable_variables)
        if size.parameters != built:
            shape = "x".join(map(str, model.image_shape))
            raise FailedError(f"size() says {size.parameters:,} parameters on {shape} images, the model has {built:,}")
        if size.multiplications <= 0:
            raise FailedError(f"size() says {size.multiplications} multiplications")
    return f"{built:,} parameters"


def training_lowers_the_loss(subject: Subject) -> str:
    """Training lowers the loss and the bound's bits/dim, and every step logs the same metrics, all finite."""
    from bench.training.program import metric_names

    model, logs = subject.trained(*subject.kind(SMALL))
    missing = set(metric_names(model)) - set(logs)
    if missing:
        raise FailedError(f"a step does not log {', '.join(sorted(missing))}")
    for name, values in logs.items():
        if not np.isfinite(values).all():
            raise FailedError(f"{name} became {values[~np.isfinite(values)][0]} within {STEPS} steps")
    stated = {}
    for name in ("loss", "bits_per_dim"):
        first, last = (part.astype(np.float64) for part in (logs[name][:COMPARED], logs[name][-COMPARED:]))
        stated[name] = f"{first.mean():.4f} to {last.mean():.4f} over {STEPS} steps"
        error = float((first - last).std(ddof=1)) / math.sqrt(COMPARED)
        if not first.mean() - last.mean() > 3 * error:
            raise FailedError(f"{name} does not fall: {stated[name]}")
    return f"bits/dim {stated['bits_per_dim']}"


def configuration_survives_storage(subject: Subject) -> str:
    """A configuration is the same after JSON, from which workers and loaded models take it, and cannot be changed."""
    from models.base.registry import parse_config

    config = subject.config
    if parse_config(json.loads(config.model_dump_json())) != config:
        raise FailedError("the configuration changes when it is stored as JSON")
    if not type(config).model_config.get("frozen"):
        raise FailedError("the configuration can be changed after it is made: keep ModelConfig's frozen=True")
    return f"{len(type(config).model_fields) - 1} settings"


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


def registered_by(file: Path) -> list[str]:
    """Import a user's file; the names of the families that it registers.

    Raises:
        SettingsError: it cannot be imported, or registers no family.
    """
    path = load_extension(file).path
    found = [name for name, family in families().items() if family.source == path]
    if not found:
        raise SettingsError(
            f"{str(file)!r} registers no model family: it needs register_family(MyConfig, MyModel) from models"
        )
    return found


def check_file(file: Path, backend: str, settings: dict[str, Any]) -> list[CheckResult]:
    """Check all families that a user's file registers, on one backend, in a process of its own.

    Args:
        file: the user's file.
        backend: the Keras backend.
        settings: settings of the configuration that differ from the default.

    Raises:
        SettingsError: the file cannot be imported, or registers no family; a setting is unknown or out of range.
    """
    job = {"file": str(file.resolve()), "settings": settings}
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    ended = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-P", "-m", "bench.checks.conformance", backend],
        input=json.dumps(job),
        env={**environment, "PYTHONPATH": search_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SettingsError((ended.stderr.strip().splitlines() or ["the checks ended without a message"])[-1])
    rows = json.loads(ended.stdout.splitlines()[-1])
    return [CheckResult(**{**row, "outcome": Outcome(row["outcome"])}) for row in rows]


def installed_backends() -> list[str]:
    """The backends that can be checked here."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def _run(backend: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    from pydantic import ValidationError

    from bench.core.validation import format_validation_error

    select_backend(backend)
    results = []
    for name in registered_by(Path(job["file"])):
        try:
            config = registered(name).config.model_validate(job["settings"])
        except ValidationError as error:
            raise SettingsError(f"{name}: {format_validation_error(error)}; every setting needs a default") from error
        results += [asdict(result) for result in check_family(config)]
    return results


if __name__ == "__main__":
    try:
        found = _run(sys.argv[1], json.load(sys.stdin))
    except SettingsError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(found) + "\n")
