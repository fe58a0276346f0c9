"""MADE, a masked autoencoder for distribution estimation (Germain et al. 2015), as a family of one's own.

A study compares it with any other: ``reparam-bench study my_study.py --extension my_model.py``.
"""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from keras import ops
from pydantic import Field
from reparam_bench import (
    Categorical,
    ExactLikelihoodModel,
    ModelConfig,
    Shape,
    Size,
    Tensor,
    initial_bias,
    register_family,
    standard_normal_cdf,
    sum_event,
)


class MadeConfig(ModelConfig):
    """Settings of the family, each of which a study can sweep.

    Attributes:
        hidden_size: units of the hidden layer.
    """

    family: Literal["made"] = "made"
    hidden_size: Annotated[int, Field(ge=1)] = 128
    is_exact: ClassVar[bool] = True

    def size(self, image_shape: Shape, grey_levels: int) -> Size:
        """Two dense layers, masked entries included: a dry run estimates its time by it."""
        inputs, outputs = int(np.prod(image_shape)), int(np.prod(image_shape)) * grey_levels
        products = (inputs + outputs) * self.hidden_size
        return Size(parameters=products + self.hidden_size + outputs, multiplications=products)


class Made(ExactLikelihoodModel):
    """log P(x) = Σ_d log p(x_d | x_<d), a categorical distribution each, all from one masked network."""

    configuration: MadeConfig

    def __init__(
        self, config: MadeConfig | dict[str, Any], image_shape: Shape, grey_levels: int, **kwargs: Any
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        size, hidden = self.dimensions, self.configuration.hidden_size
        place, reach = np.arange(size), np.arange(hidden) % max(1, size - 1)  # a hidden unit sees values 0..reach
        self.first_mask = (place[:, None] <= reach).astype("float32")  # (D, hidden)
        self.last_mask = np.repeat(reach[:, None] < place, grey_levels, axis=1).astype("float32")  # (hidden, D·Q)
        self.first = self.add_weight(shape=(size, hidden), initializer="glorot_uniform", name="first_kernel")
        self.first_bias = self.add_weight(shape=(hidden,), initializer="zeros", name="first_bias")
        self.last = self.add_weight(shape=(hidden, size * grey_levels), initializer="glorot_uniform", name="kernel")
        self.last_bias = self.add_weight(shape=(size * grey_levels,), initializer="zeros", name="bias")
        self.built = True

    @property
    def prior_noise_size(self) -> int:
        """One number for each value of an image."""
        return self.dimensions

    def initialise(self, images: Tensor) -> None:
        """Begin with the marginal distribution of each value in training images, which need not be learned then."""
        self.last_bias.assign(ops.reshape(initial_bias("categorical", images, self.grey_levels, 1), (-1,)))

    def conditionals(self, x: Tensor) -> Categorical:
        """p(x_d | x_<d) of all values, from flat images (n, D)."""
        scaled = 2.0 * self.as_float(x) / (self.grey_levels - 1) - 1.0
        hidden = ops.tanh(ops.matmul(scaled, self.first * self.first_mask) + self.first_bias)
        logits = ops.matmul(hidden, self.last * self.last_mask) + self.last_bias
        return Categorical(ops.reshape(logits, (-1, self.dimensions, self.grey_levels)))

    def log_prob(self, images: Tensor, labels: Tensor | None = None, training: bool = False) -> Tensor:
        """log P(x) in nats of integer images (n, h, w, c): (n,)."""
        x = ops.reshape(images, (-1, self.dimensions))
        return sum_event(self.conditionals(x).log_prob(x))

    def generate(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """Value after value, the Φ(T·ε_d) quantile of p(x_d | x_<d)."""
        uniform = standard_normal_cdf(temperature * noise)

        def draw(d: Tensor, x: Tensor) -> Tensor:
            drawn = self.conditionals(x).quantile(uniform)  # of all values, of which the first d are final
            return ops.where(ops.arange(self.dimensions) == d, drawn, x)

        x = ops.fori_loop(0, self.dimensions, draw, ops.zeros_like(uniform, dtype="int32"))
        return ops.reshape(x, (-1, *self.image_shape))


register_family(MadeConfig, Made, title="MADE")
