"""Encoders and decoders of the VAE: dense, convolutional, residual, and a recurrent encoder."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape, Shape
from models.base.distributions import Tensor
from models.base.halving import halved
from models.base.window import window
from models.layers.convolution import Convolution, convolve_transposed
from models.layers.residual_block import ResidualBlock
from models.vae.config import VAEConfig
from models.vae.recurrent import LastState, SeedOf


class GatedDense(keras.layers.Layer):
    """(W x + b)·σ(V x + c) (Dauphin et al. 2017), both maps as one product."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # By the inputs alone, as Tomczak & Welling draw them: Glorot's scale would count the outputs twice.
        self.maps = keras.layers.Dense(2 * units, kernel_initializer="he_normal", name="maps")

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Build the map (inputs, 2·units)."""
        self.maps.build(shape)
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, units)."""
        value, gate = ops.split(self.maps(x), 2, axis=-1)
        return value * ops.sigmoid(gate)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(n, units)."""
        return *shape[:-1], self.maps.units // 2


class Dropout(keras.layers.Layer):
    """Each input is 0 with probability p and 1/(1-p) times as large otherwise, in training (Srivastava et al. 2014).

    Args:
        rate: p.
        seed_generator: gives the model's own, from which the choice is drawn. A function, as Keras would count the
            state of one that is held here a second time.
    """

    def __init__(self, rate: float, seed_generator: SeedOf, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = seed_generator
        self.built = True

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """(n, …) -> the same."""
        return keras.random.dropout(x, self.rate, seed=self.seed_generator()) if training else x

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Unchanged."""
        return shape


class UpsampleTo(keras.layers.Layer):
    """Doubling transposed convolution, cropped to the images' size after so many halvings, odd ones among them.

    Of lines, images of height 1, it doubles the length alone.
    """

    def __init__(
        self, inputs: int, channels: int, image_shape: Shape, halvings: int, activation: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.height, self.width = halved(image_shape[:2], halvings)
        self.stride = window(2, image_shape)
        self.activation = keras.activations.get(activation)
        self.kernel = self.add_weight(
            shape=(*window(3, image_shape), channels, inputs), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """(n, ⌈h/2⌉, ⌈w/2⌉, inputs) -> (n, height, width, channels)."""
        y = convolve_transposed(x, ops.convert_to_tensor(self.kernel), self.stride)
        return self.activation(y[:, : self.height, : self.width, :] + self.bias)

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """(n, height, width, channels)."""
        return shape[0], self.height, self.width, self.channels


def encoder(config: VAEConfig, image_shape: Shape, values: int, seed_generator: SeedOf) -> keras.Sequential:
    """What is seen of images (n, h, w, c) to the posterior's mean and log-scale, (n, 2·latent_size).

    ``values`` are those of an image, each of which a recurrent encoder takes in one step.
    """
    layers: list[keras.layers.Layer] = []
    if config.network == "dense":
        layers.append(keras.layers.Flatten())
        for size in config.layer_sizes:
            layers += [_hidden(config, size), *_dropout(config, seed_generator)]
    elif config.network == "recurrent":
        # What is seen of a value lies side by side.
        layers.append(keras.layers.Reshape((values, math.prod(image_shape) // values)))
        layers.append(LastState(math.prod(image_shape) // values, config.hidden_channels))
        layers += _dropout(config, seed_generator)
    else:
        kernel, inputs = window(3, image_shape), image_shape[-1]
        for i in range(config.downsamplings + 1):
            channels, stride = config.hidden_channels * 2**i, window(2 if i else 1, image_shape)
            layers.append(Convolution(channels, kernel, stride, config.activation, "glorot_uniform", inputs=inputs))
            inputs = channels
            if config.network == "residual":
                layers += [ResidualBlock(channels, config.activation, size=kernel) for _ in range(config.blocks)]
            layers += _dropout(config, seed_generator)
        layers.append(keras.layers.Flatten())
    layers.append(keras.layers.Dense(2 * config.latent_size))
    return _built(layers, (None, *image_shape), "encoder")


def decoder(config: VAEConfig, image_shape: Shape, parameters: int, seed_generator: SeedOf) -> keras.Sequential:
    """Latents (n, latent_size) to ``parameters`` numbers per pixel and channel, (n, h, w, c·parameters).

    The last layer has no bias: the VAE adds one for each pixel, which it initialises from the data.
    """
    height, width, image_channels = image_shape
    outputs = image_channels * parameters
    layers: list[keras.layers.Layer] = []
    if config.network == "dense":
        for size in reversed(config.layer_sizes):
            layers += [_hidden(config, size), *_dropout(config, seed_generator)]
        layers.append(keras.layers.Dense(height * width * outputs, use_bias=False))
        layers.append(keras.layers.Reshape((height, width, outputs)))
    else:
        kernel = window(3, image_shape)
        coarse_height, coarse_width = halved(image_shape[:2], config.downsamplings)
        channels = config.hidden_channels * 2**config.downsamplings
        layers.append(keras.layers.Dense(coarse_height * coarse_width * channels, activation=config.activation))
        layers.append(keras.layers.Reshape((coarse_height, coarse_width, channels)))
        for i in reversed(range(config.downsamplings + 1)):
            channels = config.hidden_channels * 2**i
            if i < config.downsamplings:
                layers.append(UpsampleTo(2 * channels, channels, image_shape, i, config.activation))
            if config.network == "residual":
                layers += [ResidualBlock(channels, config.activation, size=kernel) for _ in range(config.blocks)]
            layers += _dropout(config, seed_generator)
        last = Convolution(outputs, kernel, kernel_initializer="glorot_uniform", use_bias=False, inputs=channels)
        layers.append(last)
    return _built(layers, (None, config.latent_size), "decoder")


def _hidden(config: VAEConfig, units: int) -> keras.layers.Layer:
    return GatedDense(units) if config.gated else keras.layers.Dense(units, activation=config.activation)


def _dropout(config: VAEConfig, seed_generator: SeedOf) -> list[keras.layers.Layer]:
    return [Dropout(config.dropout, seed_generator)] if config.dropout else []


def _built(layers: list[keras.layers.Layer], shape: tuple[int | None, ...], name: str) -> keras.Sequential:
    network = keras.Sequential(layers, name=name)
    network.build(shape)
    return network
