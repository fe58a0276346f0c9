"""A PixelCNN whose likelihood of integer images is exact."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from models.autoregressive.config import AutoregressiveConfig
from models.autoregressive.masked_convolution import MaskedConvolution, groups
from models.base.config import BatchShape, Shape
from models.base.distributions import GreyLevelDistribution, Tensor, standard_normal_cdf, sum_event
from models.base.likelihood_model import ExactLikelihoodModel
from models.base.observations import initial_bias, observation
from models.base.one_hot import one_hot
from models.base.pixels import ONE_HOT, input_shape
from models.base.window import window


class Block(keras.layers.Layer):
    """h + conv1(act(conv3(act(h)))): a pre-activation residual block of kind B (He et al. 2016b).

    Args:
        convolution: the masked 3x3 convolution.
        mixing: the masked 1x1 convolution; zero at first, so that a deep network begins as the identity.
        activation: a Keras activation's name.
    """

    def __init__(
        self, convolution: MaskedConvolution, mixing: MaskedConvolution, activation: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.convolution = convolution
        self.mixing = mixing
        self.activation = keras.activations.get(activation)

    def build(self, shape: BatchShape) -> None:
        """Build both convolutions."""
        self.convolution.build(shape)
        self.mixing.build(shape)
        self.built = True

    def call(self, h: Tensor, keep: Tensor | None = None) -> Tensor:
        """(n, h, w, m) -> the same; ``keep`` (n, 1, 1, m) multiplies the units between the convolutions."""
        between = self.activation(self.convolution(self.activation(h)))
        return h + self.mixing(between if keep is None else between * keep)

    def at(self, h: Tensor, window: Tensor) -> Tensor:
        """The block's output at one pixel (n, m), from its input there and the window of its activated inputs."""
        return h + self.mixing.at(self.activation(self.convolution.at(window)))


class Autoregressive(ExactLikelihoodModel):
    """log P(x) = Σ_d log p(x_d | x_<d), pixels row by row, and in a pixel channel by channel.

    One network of masked convolutions gives all conditionals at once (van den Oord et al. 2016, section 3). A value
    has a categorical distribution where grey levels are few, else a mixture of discretised logistics (Salimans et al.
    2017, eq. 2), each channel on its own given those before it. All are distributions over 0..Q-1, so that the
    likelihood of the integer image is exact.

    Of a line, an image of height 1, it is a causal network of its one row, which a ``dilation_cycle`` lets see far back
    (van den Oord et al. 2016, WaveNet).

    Deviations from the papers: no second stack of convolutions reaches what is hidden from the first; a wide first
    kernel and a bias for each pixel of the first hidden layer and of the outputs stand in for it.
    """

    configuration: AutoregressiveConfig

    def __init__(
        self,
        config: AutoregressiveConfig | dict[str, Any],
        image_shape: Shape,
        grey_levels: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        settings = self.configuration
        height, width, channels = self.image_shape
        self.observation_kind = settings.observation_for(self.grey_levels)
        self.parameters = settings.parameters_per_value(self.grey_levels)
        seen = input_shape(settings.input_scaling, self.image_shape, self.grey_levels)
        inputs, hidden = groups(seen[2], channels), groups(settings.hidden_channels, channels)
        outputs = groups(channels * self.parameters, channels)
        shape: BatchShape = (None, height, width, settings.hidden_channels)
        self.activation = keras.activations.get(settings.activation)
        first, later = (window(size, self.image_shape) for size in (settings.first_kernel, 3))
        self.first = MaskedConvolution("A", first, inputs, hidden, bias=False, name="first")
        self.first.build((None, *seen))
        self.blocks = []
        for i in range(settings.blocks):
            # Farther taps than the image is long see zeros however far they are, which would only take memory.
            dilation = min(settings.dilation(i), max(height, width))
            block = Block(
                MaskedConvolution("B", later, hidden, hidden, dilation=dilation, name="convolution"),
                MaskedConvolution("B", 1, hidden, hidden, kernel_initializer="zeros", name="mixing"),
                settings.activation,
                name=f"block_{i}",
            )
            block.build(shape)
            self.blocks.append(block)
        self.last = MaskedConvolution("B", 1, hidden, outputs, bias=False, kernel_initializer="zeros", name="last")
        self.last.build(shape)
        self.position_bias = self.add_weight(shape=shape[1:], initializer="zeros", name="position_bias")
        self.output_bias = self.add_weight(
            shape=(*self.image_shape, self.parameters), initializer="zeros", name="output_bias"
        )
        self.input_mean = self.add_weight(
            shape=self.image_shape, initializer="zeros", trainable=False, name="input_mean"
        )
        self.built = True

    @property
    def prior_noise_size(self) -> int:
        """D: one number for each value."""
        return self.dimensions

    @property
    def objective_is_by_image(self) -> bool:
        """Not with dropout, whose draws are of the whole batch."""
        return not self.configuration.dropout

    def initialise(self, images: Tensor) -> None:
        """Set the output bias to the marginal distribution of each value in ``images``, and the input's centre."""
        components = self.configuration.mixture_components
        self.output_bias.assign(initial_bias(self.observation_kind, images, self.grey_levels, components))
        self.input_mean.assign(ops.mean(self.as_float(images), axis=0) / (self.grey_levels - 1))

    def conditionals(self, images: Tensor, training: bool = False) -> GreyLevelDistribution:
        """p(x_d | x_<d) for all values of integer images (n, h, w, c) at once; dropout only in training."""
        settings, n = self.configuration, ops.shape(images)[0]
        h = self.first(self._seen(images, self.input_mean)) + self.position_bias
        for block in self.blocks:
            keep = None
            if training and settings.dropout:
                whole = ops.ones((n, 1, 1, settings.hidden_channels), dtype=self.compute_dtype)
                keep = keras.random.dropout(whole, settings.dropout, seed=self.seed_generator)
            h = block(h, keep)
        outputs = ops.reshape(self.last(self.activation(h)), (-1, *self.image_shape, self.parameters))
        return observation(self.observation_kind, outputs + self.output_bias, self.grey_levels)

    def log_prob(self, images: Tensor, labels: Tensor | None = None, training: bool = False) -> Tensor:
        """Σ_d log p(x_d | x_<d), (n,)."""
        return sum_event(self.conditionals(images, training).log_prob(images))

    def generate(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """Value after value, each the Φ(T·ε_d) quantile of p(x_d | x_<d): its median at T = 0.

        What the layers gave at earlier pixels is kept, so that a value costs one pixel of the network (Ramachandran et
        al. 2017): of each layer, the rows that the kernel of the next one reaches.
        """
        height, width, channels = self.image_shape
        uniform = standard_normal_cdf(ops.reshape(temperature * noise, (-1, *self.image_shape)))
        n, hidden = ops.shape(uniform)[0], self.configuration.hidden_channels

        def rows(layer: MaskedConvolution, channels: int) -> Tensor:
            above, beside = layer.reach
            return ops.zeros((n, above + 1, width + 2 * beside, channels), dtype=uniform.dtype)

        def row(i: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            images, *kept = state
            kept = [ops.concatenate([rows[:, 1:], ops.zeros_like(rows[:, :1])], axis=1) for rows in kept]

            def value(number: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                return self._value(uniform, i, number // channels, number % channels, state)

            return tuple(ops.fori_loop(0, width * channels, value, (images, *kept)))

        *_, seen = input_shape(self.configuration.input_scaling, self.image_shape, self.grey_levels)
        kept = (rows(block.convolution, hidden) for block in self.blocks)
        begin = (ops.zeros_like(uniform, dtype="int32"), rows(self.first, seen), *kept)
        images: Tensor = ops.fori_loop(0, height, row, begin)[0]
        return images

    def _value(
        self, uniform: Tensor, i: Tensor, j: Tensor, channel: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Any, ...]:
        """Draw the value in row i, column j and channel: the images so far, and each layer's last rows, with it."""
        images, inputs, *kept = state
        above, beside = self.first.reach
        h = self.first.at(_window(inputs, j, 2 * beside + 1)) + self.position_bias[i, j]
        for number, block in enumerate(self.blocks):
            up, aside = block.convolution.reach
            kept[number] = ops.slice_update(kept[number], (0, up, j + aside, 0), block.activation(h)[:, None, None])
            h = block.at(h, _window(kept[number], j, 2 * aside + 1))
        outputs = ops.reshape(self.last.at(self.activation(h)), (-1, self.image_shape[2], self.parameters))
        conditional = observation(
            self.observation_kind, (outputs + self.output_bias[i, j])[:, channel], self.grey_levels
        )
        drawn = conditional.quantile(uniform[:, i, j, channel])
        images = ops.slice_update(images, (0, i, j, channel), drawn[:, None, None, None])
        seen = self._seen(drawn[:, None], self.input_mean[i, j, channel])  # (n, 1), or (n, Q)
        place = (0, above, j + beside, channel * seen.shape[1])
        inputs = ops.slice_update(inputs, place, seen[:, None, None])
        return (images, inputs, *kept)

    def _seen(self, images: Tensor, mean: Tensor) -> Tensor:
        """What the network sees of values (..., c): (..., c), or (..., c·Q)."""
        if self.configuration.input_scaling == ONE_HOT:
            return one_hot(images, self.grey_levels, self.compute_dtype)
        return self.as_float(images) / (self.grey_levels - 1) - mean


def _window(rows: Tensor, j: Tensor, size: int) -> Tensor:
    """Columns j to j + size of all rows (n, m, w + 2r, c): (n, m, size, c)."""
    _, height, _, channels = rows.shape
    return ops.slice(rows, (0, 0, j, 0), (ops.shape(rows)[0], height, size, channels))
