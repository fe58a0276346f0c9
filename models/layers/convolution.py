"""Convolutions as matrix products, the form in which processors and accelerators compute fastest.

Notation: x (n, h, w, c); a kernel K (s, s, c, m) of odd size s, at zero padding and stride 1, gives

    y[p] = Σ_ij x[p + (i, j) - r] K[i, j],    i, j = 0..s-1,  r = (s - 1)/2.

Two products give it. Where x has the fewer channels, its s² shifted copies are laid side by side and multiplied by K as
one matrix (:func:`patches`); where y has, x is multiplied first, and the s² products are shifted and added
(:func:`shifted_sum`). Each is the other's transpose, so that a gradient costs what its value does; automatic
differentiation, which does not see that, takes ten times as long.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor


def _shifts(size: int, flipped: bool) -> list[int]:
    """The positions along one axis that part 0, 1, … of the kernel is laid on."""
    return list(reversed(range(size)) if flipped else range(size))


def _patches(x: Tensor, size: int, flipped: bool = False) -> Tensor:
    """x (n, h, w, c) -> (n, h, w, s²·c): part (i, j) is x shifted by (i, j) - r, or by r - (i, j) if ``flipped``."""
    _, height, width, _ = x.shape
    margin, shifts = (size // 2, size // 2), _shifts(size, flipped)
    padded = ops.pad(x, ((0, 0), margin, margin, (0, 0)))
    columns = ops.concatenate([padded[:, :, j : j + width] for j in shifts], axis=-1)
    return ops.concatenate([columns[:, i : i + height] for i in shifts], axis=-1)


def _shifted_sum(parts: Tensor, size: int, flipped: bool = False) -> Tensor:
    """parts (n, h, w, s²·m) -> (n, h, w, m): Σ_ij part (i, j) shifted by (i, j) - r, or the other way."""
    _, height, width, channels = parts.shape
    margin, shifts, m = (size // 2, size // 2), _shifts(size, flipped), channels // size**2
    by_row = ops.reshape(parts, (-1, height, width, size, size * m))
    padded = ops.pad(by_row, ((0, 0), margin, margin, (0, 0), (0, 0)))
    rows = _sum([padded[:, i : i + height, :, k] for k, i in enumerate(shifts)])  # (n, h, w + 2r, s·m)
    return _sum([rows[:, :, j : j + width, k * m : (k + 1) * m] for k, j in enumerate(shifts)])


def _sum(tensors: list[Tensor]) -> Tensor:
    return sum(tensors[1:], tensors[0])


def patches(x: Tensor, size: int) -> Tensor:
    """The s² shifted copies of x (n, h, w, c) side by side: (n, h, w, s²·c)."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def laid_out(x: Tensor) -> tuple[Tensor, Any]:
        def gradient(*arguments: Tensor, upstream: Tensor = None) -> Tensor:
            return _shifted_sum(arguments[0] if upstream is None else upstream, size, flipped=True)

        return _patches(x, size), gradient

    return laid_out(x)


def shifted_sum(parts: Tensor, size: int) -> Tensor:
    """The s² parts of (n, h, w, s²·m) shifted and added: (n, h, w, m)."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def added(parts: Tensor) -> tuple[Tensor, Any]:
        def gradient(*arguments: Tensor, upstream: Tensor = None) -> Tensor:
            return _patches(arguments[0] if upstream is None else upstream, size, flipped=True)

        return _shifted_sum(parts, size), gradient

    return added(parts)


def by_pixel(x: Tensor, matrix: Tensor) -> Tensor:
    """x (n, h, w, c) times a matrix (c, m) at each pixel: (n, h, w, m).

    As a product of two matrices: with the axes left apart, its gradient would be computed more slowly.
    """
    _, height, width, channels = x.shape
    product = ops.matmul(ops.reshape(x, (-1, channels)), matrix)
    return ops.reshape(product, (-1, height, width, matrix.shape[-1]))


class Convolution(keras.layers.Layer):
    """y = activation(K * x + b), of the size of x, zero outside it.

    Args:
        filters: channels m of y.
        size: s, the odd height and width of the kernel.
        activation: a Keras activation's name.
        kernel_initializer: a Keras initialiser's name; the bias begins at 0.
    """

    def __init__(
        self, filters: int, size: int, activation: str = "linear", kernel_initializer: str = "he_normal", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.size = size
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = kernel_initializer

    def build(self, shape: BatchShape) -> None:
        """Create the kernel (s, s, c, m) and the bias (m,)."""
        self.kernel = self.add_weight(
            shape=(self.size, self.size, shape[-1], self.filters), initializer="zeros", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self.redraw()

    def redraw(self) -> None:
        """Draw the kernel again, as it is drawn when the layer is built."""
        if self.kernel_initializer != "zeros":
            initializer = keras.initializers.get(self.kernel_initializer)
            self.kernel.assign(initializer(self.kernel.shape, self.kernel.dtype))

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, h, w, filters)."""
        kernel = ops.convert_to_tensor(self.kernel)
        channels = x.shape[-1]
        if self.size == 1 or channels <= self.filters:
            matrix = ops.reshape(kernel, (self.size**2 * channels, self.filters))
            y = by_pixel(x if self.size == 1 else patches(x, self.size), matrix)
        else:
            matrix = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (channels, self.size**2 * self.filters))
            y = shifted_sum(by_pixel(x, matrix), self.size)
        return self.activation(y + self.bias)
