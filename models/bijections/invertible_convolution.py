"""Invertible 1x1 convolutions: a learned, invertible mixing of channels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import scipy.linalg
from keras import ops

from models.bijections.base import Bijection, zeros_per_image
from models.configs import BatchShape
from models.convolution import by_pixel
from models.distributions import Tensor


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

    def matrix(self) -> Tensor:
        """W (c, c)."""
        raise NotImplementedError

    def inverse_matrix(self) -> Tensor:
        """W⁻¹ (c, c)."""
        raise NotImplementedError

    def log_abs_det(self) -> Tensor:
        """log |det W|, a scalar."""
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
        self.kernel.assign(_random_rotation(channels))

    def matrix(self) -> Tensor:
        """W (c, c)."""
        return ops.convert_to_tensor(self.kernel)

    def inverse_matrix(self) -> Tensor:
        """W⁻¹ (c, c)."""
        return ops.inv(self.matrix())

    def log_abs_det(self) -> Tensor:
        """Σ log |diag R|."""
        _, upper = ops.qr(self.matrix())
        return ops.sum(ops.log(ops.abs(ops.diagonal(upper))))


class LUConvolution(_Convolution1x1):
    """W = P L (U + diag(s)) with P a fixed permutation, L unit lower and U strictly upper triangular (their eq. 10).

    The sign of s is fixed at initialisation and its logarithm is the weight, so that log |det W| = Σ log |s|. One
    matrix (c, c) holds all that is trained: L below its diagonal, U above it, log |s| on it.
    """

    def build(self, shape: BatchShape) -> None:
        """Create the weights from the decomposition of a random rotation; P and sign(s) are not trained."""
        channels = shape[-1]
        permutation, lower, upper = scipy.linalg.lu(_random_rotation(channels))
        diagonal = np.diag(upper)
        packed = np.tril(lower, -1) + np.triu(upper, 1) + np.diag(np.log(np.abs(diagonal)))
        self.packed = self.add_weight(shape=(channels, channels), initializer="zeros", name="packed")
        self.packed.assign(packed)
        self.permutation = self.add_weight(
            shape=(channels, channels), initializer="zeros", trainable=False, name="permutation"
        )
        self.permutation.assign(permutation)
        self.sign = self.add_weight(shape=(channels,), initializer="zeros", trainable=False, name="sign")
        self.sign.assign(np.sign(diagonal))

    def _lower(self) -> Tensor:
        return ops.tril(self.packed, -1) + ops.eye(self.packed.shape[0], dtype=self.packed.dtype)

    def _upper(self) -> Tensor:
        return ops.triu(self.packed, 1) + ops.diag(self.sign * ops.exp(ops.diagonal(self.packed)))

    def matrix(self) -> Tensor:
        """P L (U + diag(s))."""
        return ops.matmul(self.permutation, ops.matmul(self._lower(), self._upper()))

    def inverse_matrix(self) -> Tensor:
        """(U + diag(s))⁻¹ L⁻¹ Pᵀ, by two triangular solves."""
        below = ops.solve_triangular(self._lower(), ops.transpose(self.permutation), lower=True)
        return ops.solve_triangular(self._upper(), below, lower=False)

    def log_abs_det(self) -> Tensor:
        """Σ log |s|."""
        return ops.sum(ops.diagonal(self.packed))
