"""The one interface of all families: log P of discrete images or a lower bound on it, and samples.

All randomness enters as standard normal noise: log-weights are a deterministic function of an image and its
*posterior noise*, samples of *prior noise*. That is the reparameterisation trick, and it is also what makes an
evaluation repeatable on any backend and for any batch size: the noise can be drawn outside, per image.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy.typing as npt
from keras import ops

from models.base.config import ModelConfig, Shape
from models.base.diagnostics import Diagnosis, Run
from models.base.distributions import Tensor, log_mean_exp
from models.base.draws import standard_normal
from models.base.registry import families, parse_config, registered
from models.base.units import bits_per_dim

VALUES_AT_ONCE = 2**20
"""Pixel values of the samples that are computed at once, which bounds the memory."""


class LikelihoodModel(keras.Model):
    """A model of integer images x in 0..Q-1, shape (n, h, w, c).

    It trains through ``fit`` on images (or on (images, labels)): the loss is the negative training objective in
    bits/dim. Its metric ``bits_per_dim`` is the bound itself, without any weight that the objective puts on its
    parts.

    Args:
        config: the family's configuration, or its dictionary.
        image_shape: (h, w, c).
        grey_levels: Q, at least 2.

    Raises:
        ValueError: the configuration does not fit the images.
    """

    def __init__(
        self,
        config: ModelConfig | dict[str, Any],
        image_shape: Shape,
        grey_levels: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        config = parse_config(config)
        if config.family in families():
            _ = registered(config.family).model  # Keras then knows the class, and loads what it saves
        self.configuration = config
        self.image_shape: Shape = tuple(image_shape)  # type: ignore[assignment]
        self.grey_levels = int(grey_levels)
        if self.grey_levels < 2:
            raise ValueError(f"grey_levels must be at least 2, got {grey_levels}")
        config.check_images(self.image_shape, self.grey_levels)
        self.dimensions = math.prod(self.image_shape)
        self.seed_generator = keras.random.SeedGenerator()
        self.trackers = [keras.metrics.Mean(name="bits_per_dim")]

    # What a family provides.

    @property
    def posterior_noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise that one importance sample of one image needs."""
        raise NotImplementedError

    @property
    def prior_noise_size(self) -> int:
        """Length of the noise vector that one sampled image needs."""
        raise NotImplementedError

    @property
    def training_samples(self) -> int:
        """Importance samples per image in the training objective."""
        return 1

    @property
    def is_exact(self) -> bool:
        """Whether every log-weight is log P(x) itself, so that one is as good as many."""
        return self.configuration.is_exact

    @property
    def dequantisation_name(self) -> str:
        """How integers become the continuous images of a density model: ``none`` where they stay integers."""
        return "none"

    @property
    def classes(self) -> int:
        """Number of class labels that the model is conditioned on; 0 for none: training then gives it no labels."""
        return 0

    @property
    def activation_bytes(self) -> int:
        """Bytes of intermediate results of one image where JAX gains by dividing a batch, among cores and caches.

        0, the default, leaves every batch whole.
        """
        return 0

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Importance log-weights: their log-mean-exp over k is a lower bound on log P(x), their mean the ELBO.

        Args:
            images: integer images (n, h, w, c).
            noise: standard normal, (k, n, *posterior_noise_shape).
            labels: class labels (n,), where the model is conditioned on them.

        Returns:
            (k, n), in nats.
        """
        raise NotImplementedError

    def generate(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """Images g(T·ε) as a deterministic function of prior noise ε.

        The temperature T scales the noise: at 0 every image is the same, the centre of the model's distribution, or
        of that of its class.

        Args:
            noise: standard normal, (n, prior_noise_size).
            temperature: T >= 0.
            labels: class labels (n,), where the model is conditioned on them.

        Returns:
            Integer images (n, h, w, c), int32; -1 (:data:`models.BROKEN`) where a value is NaN or infinite before it is
            rounded, which :func:`models.as_grey_levels` sees to.
        """
        raise NotImplementedError

    def initialise(self, images: Tensor) -> None:
        """Set the weights that depend on data from a batch of training images. Call once, before training."""

    def objective(self, images: Tensor, noise: Tensor, labels: Tensor | None, training: bool) -> dict[str, Tensor]:
        """What training maximises, ``objective`` (n,), and the bound itself, ``bound`` (n,), in nats."""
        bound = log_mean_exp(self.log_weights(images, noise, labels))
        return {"objective": bound, "bound": bound}

    def reconstruct(self, images: Tensor) -> Tensor | None:
        """The mean images (n, h, w, c), floats in 0..Q-1, of what the model keeps of ``images``; None for none."""
        return None

    def interpolate(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor | None:
        """Mean images on the way from each of ``first`` to that of ``second``, at ``shares`` of it; None for none.

        Args:
            first: integer images (n, h, w, c).
            second: as many.
            shares: m numbers from 0 to 1.

        Returns:
            (n, m, h, w, c), floats in 0..Q-1.
        """
        return None

    def diagnose(self, images: npt.NDArray[Any], seed: int, run: Run) -> Diagnosis:
        """What there is to know of the trained model beside its likelihood, from held-out images; nothing by default.

        Args:
            images: integer images (n, h, w, c), held out.
            seed: of all noise.
            run: ``run(method, *arrays)`` is ``method(model, *arrays)`` as an array, by a compiled program that is kept.
                ``method`` is a function of a module, an image is a row of its arrays and of its result.
        """
        return Diagnosis()

    # What all families share.

    def call(self, inputs: Tensor, training: bool = False) -> dict[str, Tensor]:
        """The training objective of a batch, its noise drawn from the model's seed generator."""
        images, labels = inputs if isinstance(inputs, list | tuple) else (inputs, None)
        return self.objective(images, self.training_noise(ops.shape(images)[0]), labels, training)

    def training_noise(self, n: int) -> Tensor:
        """Posterior noise for the objective of n images, (training_samples, n, …), from the model's seed generator."""
        shape = (self.training_samples, n, *self.posterior_noise_shape)
        return standard_normal(shape, self.compute_dtype, self.seed_generator)

    def step_metrics(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What training logs of a batch, from the outputs of :meth:`objective`: means over its images.

        ``loss``, the negative objective, and ``bits_per_dim``, the bound itself, are in bits/dim.
        """
        return {
            "loss": ops.mean(bits_per_dim(outputs["objective"], self.dimensions)),
            "bits_per_dim": ops.mean(bits_per_dim(outputs["bound"], self.dimensions)),
        }

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Negative mean objective in bits/dim; the other metrics go to the trackers of their names."""
        metrics = self.step_metrics(y_pred)
        for tracker in self.trackers:
            tracker.update_state(metrics[tracker.name], sample_weight=ops.shape(y_pred["bound"])[0])
        return metrics["loss"]

    @property
    def objective_is_by_image(self) -> bool:
        """Whether the objective of an image is the same whatever else is in its batch."""
        return True

    def log_weights_by_image(self, images: Tensor, noise: Tensor) -> Tensor:
        """:meth:`log_weights` with the image first: noise (n, k, *posterior_noise_shape) to log-weights (n, k)."""
        return ops.transpose(self.log_weights(images, ops.swapaxes(noise, 0, 1)))

    def log_prob_bound(
        self, images: Tensor, importance_samples: int, seed: int, labels: Tensor | None = None
    ) -> Tensor:
        """Lower bound on log P(x) in nats per image, (n,), from ``importance_samples`` weights drawn from ``seed``.

        E[log (1/k) Σ w_i] rises with k towards log P(x) (Burda et al. 2016, theorem 1).
        """
        shape = (importance_samples, len(images), *self.posterior_noise_shape)
        noise = keras.random.normal(shape, dtype=self.compute_dtype, seed=seed)
        return log_mean_exp(self.log_weights(images, noise, labels))

    def sample(self, n: int, temperature: float = 1.0, seed: int | None = None, labels: Tensor | None = None) -> Tensor:
        """``n`` images drawn at a temperature; integers (n, h, w, c), -1 where a value is no number.

        Without a seed each call draws others, from Keras's global generator (``keras.utils.set_random_seed``).
        """
        noise = keras.random.normal((n, self.prior_noise_size), dtype=self.compute_dtype, seed=seed)
        size = max(1, VALUES_AT_ONCE // self.dimensions)
        if n <= size:
            return self.generate(noise, temperature, labels)
        parts = [slice(start, start + size) for start in range(0, n, size)]
        drawn = [self.generate(noise[part], temperature, None if labels is None else labels[part]) for part in parts]
        return ops.concatenate(drawn)

    def bare_copy(self) -> LikelihoodModel:
        """A model of the same weights, without optimizer or compiled programs: what is worth keeping after training."""
        copy = type(self)(self.configuration, self.image_shape, self.grey_levels)
        for variable, value in zip(copy.weights, self.weights, strict=True):
            variable.assign(value)
        return copy

    def as_float(self, images: Tensor) -> Tensor:
        """Integer images in the model's floating type."""
        return ops.cast(images, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the model: configuration, image shape and grey levels."""
        return {
            "config": self.configuration.model_dump(mode="json"),
            "image_shape": list(self.image_shape),
            "grey_levels": self.grey_levels,
        }


class ExactLikelihoodModel(LikelihoodModel):
    """A model whose log P(x) is known, such as an autoregressive one: it needs no noise and no importance samples.

    A family gives :meth:`log_prob`, :meth:`generate` and ``prior_noise_size``.
    """

    @property
    def is_exact(self) -> bool:
        """Every log-weight is log P(x)."""
        return True

    @property
    def posterior_noise_shape(self) -> tuple[int, ...]:
        """(0,): no noise."""
        return (0,)

    def log_prob(self, images: Tensor, labels: Tensor | None = None, training: bool = False) -> Tensor:
        """log P(x) in nats of integer images (n, h, w, c): (n,).

        Args:
            images: integer images.
            labels: class labels (n,), where the model is conditioned on them.
            training: whether what is random in training alone, such as dropout, is.
        """
        raise NotImplementedError

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """log P(x), the same for each of k samples: (k, n)."""
        return ops.repeat(self.log_prob(images, labels)[None], noise.shape[0], axis=0)

    def objective(self, images: Tensor, noise: Tensor, labels: Tensor | None, training: bool) -> dict[str, Tensor]:
        """log P(x), which training maximises."""
        log_prob = self.log_prob(images, labels, training)
        return {"objective": log_prob, "bound": log_prob}
