"""Invertible 1x1 convolutions: a learned, invertible mixing of channels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import scipy.linalg
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.base import Bijection, Values, current, zeros_per_image
from models.layers.convolution import by_pixel


def _random_rotation(channels: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A random orthogonal matrix (c, c), drawn from the seed that ``keras.utils.set_random_seed`` set."""
    rotation = keras.initializers.Orthogonal()((channels, channels), dtype="float32")
    # Orthogonal to float32 only as drawn: a QR in double precision makes it so to the last digit.
    q, r = np.linalg.qr(np.asarray(ops.convert_to_numpy(rotation), dtype=np.float64))
    return np.asarray(q * np.sign(np.diag(r)))


class _Convolution1x1(Bijection):
    """y = W x at each pixel; log-determinant h·w·log |det W| (Kingma & Dhariwal 2018, section 3.2)."""

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def matrix(self, value: Values = current) -> Tensor:
        """W (c, c); the K of K values of the weights, (K, c, c)."""
        raise NotImplementedError

    def inverse_matrix(self) -> Tensor:
        """W⁻¹ (c, c)."""
        raise NotImplementedError

    def log_abs_det(self, value: Values = current) -> Tensor:
        """log |det W|, a scalar; or that of each of K, (K,)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply each pixel's channels by W."""
        _, height, width, _ = x.shape
        y = by_pixel(x, ops.transpose(self.matrix()))
        return y, zeros_per_image(x) + height * width * self.log_abs_det()

    def inverse(self, y: Tensor) -> Tensor:
        """Multiply each pixel's channels by W⁻¹."""
        return by_pixel(y, ops.transpose(self.inverse_matrix()))


class PlainConvolution(_Convolution1x1):
    """W is itself the weight, initialised as a random rotation.

    log |det W| is Σ log |diag R| of W = QR: the QR decomposition has a gradient and an XLA kernel on every backend,
    which ``slogdet`` has not.
    """

    def build(self, shape: BatchShape) -> None:
        """Create the weight W (c, c)."""
        channels = shape[-1]
        self.kernel = self.add_weight(shape=(channels, channels), initializer="zeros", name="kernel")
        self.redraw()

    def redraw(self) -> None:
        """Take another random rotation."""
        self.kernel.assign(_random_rotation(self.kernel.shape[-1]))

    def matrix(self, value: Values = current) -> Tensor:
        """W."""
        return value(self.kernel)

    def inverse_matrix(self) -> Tensor:
        """W⁻¹ (c, c)."""
        return ops.inv(self.matrix())

    def log_abs_det(self, value: Values = current) -> Tensor:
        """Σ log |diag R|."""
        _, upper = ops.qr(self.matrix(value))
        return ops.sum(ops.log(ops.abs(_diagonal(upper))), axis=-1)


class LUConvolution(_Convolution1x1):
    """W = P L (U + diag(s)) with P a fixed permutation, L unit lower and U strictly upper triangular (their eq. 10).

    The sign of s is fixed at initialisation and its logarithm is the weight, so that log |det W| = Σ log |s|. One
    matrix (c, c) holds all that is trained: L below its diagonal, U above it, log |s| on it.
    """

    def build(self, shape: BatchShape) -> None:
        """Create the weights from the decomposition of a random rotation; P and sign(s) are not trained."""
        channels = shape[-1]
        self.packed = self.add_weight(shape=(channels, channels), initializer="zeros", name="packed")
        self.permutation = self.add_weight(
            shape=(channels, channels), initializer="zeros", trainable=False, name="permutation"
        )
        self.sign = self.add_weight(shape=(channels,), initializer="zeros", trainable=False, name="sign")
        self.redraw()

    def redraw(self) -> None:
        """Take the decomposition of another random rotation."""
        permutation, lower, upper = scipy.linalg.lu(_random_rotation(self.packed.shape[-1]))
        diagonal = np.diag(upper)
        self.packed.assign(np.tril(lower, -1) + np.triu(upper, 1) + np.diag(np.log(np.abs(diagonal))))
        self.permutation.assign(permutation)
        self.sign.assign(np.sign(diagonal))

    def _lower(self, value: Values) -> Tensor:
        packed = value(self.packed)
        return ops.tril(packed, -1) + ops.eye(packed.shape[-1], dtype=packed.dtype)

    def _upper(self, value: Values) -> Tensor:
        packed = value(self.packed)
        diagonal = value(self.sign) * ops.exp(_diagonal(packed))
        return ops.triu(packed, 1) + diagonal[..., None, :] * ops.eye(packed.shape[-1], dtype=packed.dtype)

    def matrix(self, value: Values = current) -> Tensor:
        """P L (U + diag(s))."""
        return ops.matmul(value(self.permutation), ops.matmul(self._lower(value), self._upper(value)))

    def inverse_matrix(self) -> Tensor:
        """(U + diag(s))⁻¹ L⁻¹ Pᵀ, by two triangular solves."""
        transposed = ops.transpose(ops.convert_to_tensor(self.permutation))
        below = ops.solve_triangular(self._lower(current), transposed, lower=True)
        return ops.solve_triangular(self._upper(current), below, lower=False)

    def log_abs_det(self, value: Values = current) -> Tensor:
        """Σ log |s|."""
        return ops.sum(_diagonal(value(self.packed)), axis=-1)


def _diagonal(matrix: Tensor) -> Tensor:
    """The diagonal of each matrix: (…, c, c) -> (…, c)."""
    return ops.diagonal(matrix, axis1=-2, axis2=-1)
