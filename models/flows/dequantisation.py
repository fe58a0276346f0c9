"""Dequantisation: from integer grey levels to the continuous images that a flow takes.

It goes by order: a level becomes the interval between itself and the next. Of symbols without an order, such as
letters, it makes neighbours of those whose numbers are; :mod:`models.flows.categorical_encoding` does not.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import (
    Tensor,
    log_sigmoid,
    standard_normal_cdf,
    standard_normal_log_prob,
    sum_event,
    tanh,
)
from models.base.window import Window
from models.bijections.coupling_networks import NetworkOf
from models.bijections.squeeze import Squeeze


class UniformDequantisation(keras.layers.Layer):
    """u ~ U[0, 1)^D, independent of x (Theis et al. 2016, section 3.1): u = Φ(ε), log q(u | x) = 0."""

    def build(self, image_shape: BatchShape) -> None:
        """Has no weights."""
        self.built = True

    def dequantise(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """From scaled images x and noise ε (n, h, w, c), u in (0, 1) of the same shape and log q(u | x) (n,)."""
        return standard_normal_cdf(noise), ops.zeros_like(noise[:, 0, 0, 0])


class VariationalDequantisation(keras.layers.Layer):
    """u = sigmoid(f(ε; x)) with f a flow conditioned on the image (Ho et al. 2019, section 3.1).

    f is a scale and a shift per channel of the squeezed image, then ``depth`` affine couplings that alternate
    between its halves and see the image beside the half they keep. It begins close to the uniform distribution,
    of which the logistic is the pre-image: log q(u | x) = log N(ε; 0, I) - log |det ∂u/∂ε|.

    Args:
        depth: couplings.
        network_of: makes the network of one.
        block: the rows and columns that are squeezed.
    """

    def __init__(self, depth: int, network_of: NetworkOf, block: Window = (2, 2), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth = depth
        self.network_of = network_of
        self.squeeze = Squeeze(block, name="squeeze")

    def build(self, image_shape: BatchShape) -> None:
        """Create the networks for images (n, h, w, c)."""
        n, height, width, channels = self.squeeze.compute_output_shape(image_shape)
        self.half = channels // 2
        self.networks = [self.network_of(2 * self.half) for _ in range(self.depth)]
        for network in self.networks:
            network.build((n, height, width, channels + self.half))
        self.shift = self.add_weight(shape=(channels,), initializer="zeros", name="shift")
        # The logistic distribution has standard deviation π/√3.
        self.log_scale = self.add_weight(
            shape=(channels,),
            initializer=keras.initializers.Constant(math.log(math.pi / math.sqrt(3))),
            name="log_scale",
        )
        self.built = True

    def dequantise(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """From scaled images x and noise ε (n, h, w, c), u in (0, 1) of the same shape and log q(u | x) (n,)."""
        log_q = sum_event(standard_normal_log_prob(noise))
        context, _ = self.squeeze.forward(x)
        v, _ = self.squeeze.forward(noise)
        v = v * ops.exp(self.log_scale) + self.shift
        _, height, width, _ = v.shape
        log_q = log_q - height * width * ops.sum(self.log_scale)
        for network in self.networks:
            kept, changed = v[..., : self.half], v[..., self.half :]
            shift, raw = ops.split(network(ops.concatenate([context, kept], axis=-1)), 2, axis=-1)
            log_scale = tanh(raw)
            changed = changed * ops.exp(log_scale) + shift
            log_q = log_q - sum_event(log_scale)
            v = ops.concatenate([changed, kept], axis=-1)
        v = self.squeeze.inverse(v)
        log_q = log_q - sum_event(log_sigmoid(v) + log_sigmoid(-v))
        return ops.sigmoid(v), log_q
