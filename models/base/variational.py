"""What the models have in common that are trained on a bound through latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from models.base.config import ModelConfig, Shape
from models.base.distributions import (
    Bernoulli,
    Categorical,
    GreyLevelDistribution,
    Tensor,
    as_grey_levels,
    standard_normal_cdf,
    sum_event,
)
from models.base.likelihood_model import LikelihoodModel
from models.base.observations import initial_bias, observation
from models.base.one_hot import one_hot
from models.base.pixels import ONE_HOT, input_shape


class VariationalModel(LikelihoodModel):
    """p(x) = ∫ p(x | z) p(z) dz, each value of x with a distribution of its own given z.

    A network gives the parameters of that distribution, to which a bias for each pixel is added. The KL of the bound
    that training maximises has a weight that rises over ``kl_warmup_steps``.

    A family's configuration has ``input_scaling``, ``observation_for``, ``parameters_per_value``,
    ``mixture_components`` and ``kl_warmup_steps``.
    """

    def __init__(
        self, config: ModelConfig | dict[str, Any], image_shape: Shape, grey_levels: int, **kwargs: Any
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        settings: Any = self.configuration
        self.observation_kind = settings.observation_for(self.grey_levels)
        self.parameters_per_value = settings.parameters_per_value(self.grey_levels)
        self.output_bias = self.add_weight(
            shape=(*self.image_shape, self.parameters_per_value), initializer="zeros", name="output_bias"
        )
        self.input_mean = self.add_weight(
            shape=self.image_shape, initializer="zeros", trainable=False, name="input_mean"
        )
        self.training_step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="training_step")
        self.trackers.append(keras.metrics.Mean(name="kl_nats"))

    def initialise(self, images: Tensor) -> None:
        """Set the output bias to the marginal distribution of each pixel in ``images``, and the input's centre."""
        settings: Any = self.configuration
        bias = initial_bias(self.observation_kind, images, self.grey_levels, settings.mixture_components)
        self.output_bias.assign(bias)
        self.input_mean.assign(ops.mean(self.as_float(images), axis=0) / (self.grey_levels - 1))

    def step_metrics(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of every model, and ``kl_nats``, the KL of the posterior to the prior."""
        return super().step_metrics(outputs) | {"kl_nats": ops.mean(outputs["kl"])}

    @property
    def seen_shape(self) -> Shape:
        """The shape of what the encoder sees of an image."""
        settings: Any = self.configuration
        return input_shape(settings.input_scaling, self.image_shape, self.grey_levels)

    def encoder_input(self, images: Tensor) -> Tensor:
        """What the encoder sees of integer images (n, h, w, c), by ``input_scaling``: floats (n, *seen_shape)."""
        return self.seen(images, self.input_mean)

    def seen(self, values: Tensor, mean: Tensor) -> Tensor:
        """What a network sees of values (..., c) whose means over training images are given: (..., c) or (..., c·Q)."""
        settings: Any = self.configuration
        if settings.input_scaling == ONE_HOT:
            return one_hot(values, self.grey_levels, self.compute_dtype)
        scaled = self.as_float(values) / (self.grey_levels - 1)
        if settings.input_scaling == "symmetric":
            scaled = 2.0 * scaled - 1.0
        if settings.input_scaling == "centred":
            scaled = scaled - mean
        return scaled

    def centre(self, likelihood: GreyLevelDistribution) -> Tensor:
        """The mean of each value; its likeliest symbol where symbols have no order, hence no mean."""
        settings: Any = self.configuration
        if settings.input_scaling == ONE_HOT and isinstance(likelihood, Bernoulli | Categorical):
            return likelihood.likeliest()
        return likelihood.mean()

    def likeliest(self, likelihood: GreyLevelDistribution) -> Tensor:
        """The grey level next to :meth:`centre`, int32."""
        return as_grey_levels(self.centre(likelihood) + 0.5, self.grey_levels)

    def observed(self, outputs: Tensor) -> GreyLevelDistribution:
        """p(x | z) by the network's outputs, parameters_per_value for each value."""
        by_value = ops.reshape(outputs, (-1, *self.image_shape, self.parameters_per_value))
        return observation(self.observation_kind, by_value + self.output_bias, self.grey_levels)

    def reconstruction(self, images: Tensor, likelihood: GreyLevelDistribution, k: int) -> Tensor:
        """log p(x | z) for k·n likelihoods of n images, (k, n)."""
        tiled = images if k == 1 else ops.tile(images, (k, 1, 1, 1))  # (k·n, h, w, c)
        return ops.reshape(sum_event(likelihood.log_prob(tiled)), (k, -1))

    def warmup(self, training: bool) -> Tensor | float:
        """The share of its last weight that the KL has at this training step; counts the steps."""
        settings: Any = self.configuration
        if not settings.kl_warmup_steps:
            return 1.0
        if training:
            self.training_step.assign_add(1.0)
        return ops.minimum(1.0, self.training_step / settings.kl_warmup_steps)

    def quantiles(self, likelihood: GreyLevelDistribution, noise: Tensor) -> Tensor:
        """Each value's Φ(ε) quantile of p(x | z), for noise ε (n, dimensions)."""
        return likelihood.quantile(standard_normal_cdf(ops.reshape(noise, (-1, *self.image_shape))))

    def means_between(self, start: Tensor, end: Tensor, shares: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
        """E[x | z], by ``mean``, along straight lines z = (1 - s)·start + s·end of latents (n, d): (n, m, h, w, c)."""
        share = ops.convert_to_tensor(shares, dtype=self.compute_dtype)[None, :, None]
        z = (1 - share) * start[:, None] + share * end[:, None]  # (n, m, d)
        means = mean(ops.reshape(z, (-1, z.shape[-1])))
        return ops.reshape(means, (-1, share.shape[1], *self.image_shape))
