"""Checks of what the harness does with a model: it compiles, differentiates, saves and trains it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.checks.conformance.inputs import (
    IMAGES,
    Array,
    as_array,
    check_close,
    images_of,
    posterior_noise,
    prior_noise,
)
from bench.checks.conformance.outcome import FailedError
from bench.checks.conformance.subject import COMPARED, STEPS, Subject

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

SLOPES = 6
"""Weights whose gradient is compared with finite differences."""
FINITE_STEPS = (1e-3, 1e-2, 5e-2)
"""Lengths of the steps of finite differences; the best counts, as small ones round and large ones curve."""


def compiled_program_agrees(subject: Subject) -> str:
    """The programs that evaluations compile give what the methods give step by step."""
    from bench.evaluation.likelihood import likelihood_program
    from bench.evaluation.sampling import Sampler

    model, images = subject.small, images_of(subject.small, IMAGES)
    noise = posterior_noise(model, IMAGES, 2)
    expected = as_array(model.log_weights_by_image(images, noise))
    if not np.isfinite(expected).all():
        raise FailedError(f"{np.mean(~np.isfinite(expected)):.0%} of the log-weights are not finite")
    check_close(likelihood_program(model).run(images, noise), expected, "the compiled log-weights differ")
    check_close(subject.log_weights(images, noise), expected, "the compiled log-weights differ")
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
    noise = posterior_noise(model, IMAGES, model.training_samples)

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


def _objective(model: LikelihoodModel, images: Any, noise: Any) -> Any:
    import keras

    labels = keras.ops.zeros_like(images[:, 0, 0, 0]) if model.classes else None
    return model.objective(images, keras.ops.swapaxes(noise, 0, 1), labels, False)["objective"]


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
    noise, prior = posterior_noise(model, IMAGES, 2), prior_noise(model, IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.bare_copy().save(file)
        loaded = load_model(file)
    if loaded.configuration != model.configuration:
        raise FailedError(f"the loaded configuration is {loaded.configuration!r}")
    expected = subject.log_weights(images, noise)
    reason = "the log-weights change: what decides them is no weight of the model, or no setting of its configuration"
    check_close(as_array(loaded.log_weights_by_image(images, noise)), expected, reason)
    differ = float(np.mean(as_array(loaded.generate(prior)) != subject.samples(prior)))
    if differ > 0.02:
        raise FailedError(f"{differ:.0%} of the values of samples change")
    return f"{sum(math.prod(weight.shape) for weight in model.weights):,} numbers"


def training_lowers_the_loss(subject: Subject) -> str:
    """Training lowers the loss and the bound's bits/dim, and every step logs the same metrics, all finite."""
    from bench.training.program import metric_names

    model, logs = subject.trained(*subject.small_kind)
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
