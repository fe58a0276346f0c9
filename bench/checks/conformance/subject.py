"""A configuration under test, with the models that its checks share."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.checks.conformance.counting import Probabilities, estimate_probabilities
from bench.checks.conformance.inputs import IMAGES, Array, images_of, posterior_noise
from bench.checks.conformance.outcome import FailedError, SkippedError
from models.base.config import ModelConfig, Shape

if TYPE_CHECKING:
    from bench.runtime.compiled import CompiledMethod
    from models.base.likelihood_model import LikelihoodModel

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
PERTURBATION = 0.2
"""Largest standard deviation of what is added to a trainable weight; less in matrices of many numbers."""
SHARES = (1.0, 0.3, 0.1, 0.03)
"""Of the perturbation; the first counts under which an image costs less than one and a half times a uniform one."""
STEPS = 200
"""Of training."""
COMPARED = 20
"""Steps at the beginning and at the end that train on the same batches, whose losses are compared."""


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
        images, noise = images_of(model, IMAGES, seed), posterior_noise(model, IMAGES, 2, seed)
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
        return self.build(*self.small_kind)

    @cached_property
    def countable(self) -> LikelihoodModel:
        """A model of images of which all can be counted.

        Raises:
            SkippedError: it takes none of :data:`COUNTABLE`.
        """
        return self.build(*self.countable_kind)

    @property
    def small_kind(self) -> tuple[Shape, int]:
        """Image shape and grey levels of :attr:`small`.

        Raises:
            FailedError: it takes none of :data:`SMALL`.
        """
        return self._kind(SMALL)

    @property
    def countable_kind(self) -> tuple[Shape, int]:
        """Image shape and grey levels of :attr:`countable`.

        Raises:
            SkippedError: it takes none of :data:`COUNTABLE`.
        """
        try:
            return self._kind(COUNTABLE)
        except FailedError as error:
            raise SkippedError(f"no images that can be counted are accepted: {error}") from None

    def _kind(self, kinds: tuple[tuple[Shape, int], ...]) -> tuple[Shape, int]:
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
        return estimate_probabilities(self.countable)

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


def _log_weights(model: LikelihoodModel, images: Any, noise: Any) -> Any:
    return model.log_weights_by_image(images, noise)


def _generate(model: LikelihoodModel, noise: Any) -> Any:
    return model.generate(noise)
