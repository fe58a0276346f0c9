"""The network of a coupling: a small vision transformer (Dosovitskiy et al. 2021).

Notation: T tokens of an image, a row each; E the width; H heads of size d = E/H. Rows (n·T, E) are those of n images,
one image after the other: as matrices, their products and the gradients of these are computed fastest.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.coupling_networks import ConditionerNetwork
from models.jet.config import MLP_RATIO
from models.layers.normalisation import LayerNorm


class Dense(keras.layers.Layer):
    """y = x·W + b, for rows x (m, c).

    Args:
        inputs: c.
        outputs: columns of y.
        gain: the variance of a weight at first, uniformly distributed, is gain / c; they are 0 where it is 0, as the
            bias is.
    """

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gain = gain
        self.kernel = self.add_weight(shape=(inputs, outputs), initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")
        self.redraw()
        self.built = True

    def redraw(self) -> None:
        """Draw the kernel again."""
        if self.gain:
            initializer = keras.initializers.VarianceScaling(self.gain, distribution="uniform")
            self.kernel.assign(initializer(self.kernel.shape, self.kernel.dtype))

    def call(self, x: Tensor) -> Tensor:
        """(m, c) -> (m, outputs)."""
        return ops.matmul(x, self.kernel) + self.bias


class SelfAttention(keras.layers.Layer):
    """Each token's mean of what all tokens of its image offer, weighted by how well it fits, softmax(QKᵀ/√d)·V.

    Q, K and V are products of the rows with matrices of their own, in H heads side by side; what these give is
    multiplied by another matrix (Vaswani et al. 2017, section 3.2).

    Args:
        tokens: T.
        width: E.
        heads: H.
    """

    def __init__(self, tokens: int, width: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokens, self.width, self.heads = tokens, width, heads
        self.projections = Dense(width, 3 * width, name="projections")
        self.mixing = Dense(width, width, name="mixing")
        self.built = True

    def redraw(self) -> None:
        """Draw the matrices again."""
        self.projections.redraw()
        self.mixing.redraw()

    def call(self, x: Tensor) -> Tensor:
        """Rows (n·T, E) -> the same."""
        size = self.width // self.heads
        projected = ops.reshape(self.projections(x), (-1, self.tokens, 3, self.heads, size))
        queries, keys, values = ops.unstack(ops.transpose(projected, (2, 0, 3, 1, 4)), 3)  # (n, H, T, d)
        if self.tokens > 1:  # a token alone is all that there is to attend to, and Keras warns of its softmax
            fits = ops.matmul(queries * (1.0 / math.sqrt(size)), ops.swapaxes(keys, -1, -2))
            values = ops.matmul(ops.softmax(fits, axis=-1), values)
        return self.mixing(ops.reshape(ops.transpose(values, (0, 2, 1, 3)), (-1, self.width)))


class Block(keras.layers.Layer):
    """x + attention(norm(x)), then x + dense(gelu(dense(norm(x)))).

    Args:
        tokens: T.
        width: E.
        heads: H.
    """

    def __init__(self, tokens: int, width: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norms = [LayerNorm(width, name="first_norm"), LayerNorm(width, name="second_norm")]
        self.attention = SelfAttention(tokens, width, heads, name="attention")
        self.hidden = Dense(width, MLP_RATIO * width, name="hidden")
        self.last = Dense(MLP_RATIO * width, width, name="last")
        self.built = True

    def redraw(self) -> None:
        """Draw the matrices again."""
        for part in (self.attention, self.hidden, self.last):
            part.redraw()

    def call(self, x: Tensor) -> Tensor:
        """Rows (n·T, E) -> the same."""
        x = x + self.attention(self.norms[0](x))
        return x + self.last(ops.gelu(self.hidden(self.norms[1](x)), approximate=True))


class VisionTransformer(ConditionerNetwork):
    """Tokens, projected, and where each lies; blocks; a normalisation; a projection that is zero at first.

    Args:
        width: E.
        heads: H.
        blocks: how many.
        channels: of its outputs.
    """

    def __init__(self, width: int, heads: int, blocks: int, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.heads, self.blocks, self.channels = width, heads, blocks, channels

    def build(self, shape: BatchShape) -> None:
        """Create the parts for tokens (n, height, width, values)."""
        _, height, width, values = shape
        self.tokens = int(height * width)
        self.places = self.add_weight(shape=(self.tokens, self.width), initializer="zeros", name="places")
        self.stages = [
            Dense(values, self.width, name="first"),
            *(Block(self.tokens, self.width, self.heads, name=f"block_{i}") for i in range(self.blocks)),
            Dense(self.width, self.channels, gain=0.0, name="last"),
        ]
        self.norm = LayerNorm(self.width, name="norm")
        self._draw_places()
        self.built = True

    def redraw(self) -> None:
        """Draw the weights that begin at random again."""
        super().redraw()
        self._draw_places()

    def _draw_places(self) -> None:
        initializer = keras.initializers.RandomNormal(stddev=1.0 / math.sqrt(self.width))
        self.places.assign(initializer(self.places.shape, self.places.dtype))

    def call(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Tokens (n, height, width, values) -> (n, height, width, channels)."""
        _, height, width, values = x.shape
        first, *blocks, last = self.stages
        by_token = ops.reshape(first(ops.reshape(x, (-1, values))), (-1, self.tokens, self.width)) + self.places
        rows = ops.reshape(by_token, (-1, self.width))
        for block in blocks:
            rows = block(rows)
        rows = self.norm(rows)
        if keep is not None:
            rows = ops.reshape(ops.reshape(rows, (-1, height, width, self.width)) * keep, (-1, self.width))
        return ops.reshape(last(rows), (-1, height, width, self.channels))
