"""The step of flow that Glow repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.actnorm import ActNorm
from models.bijections.base import Bijection, Values, current
from models.bijections.coupling import Coupling
from models.bijections.invertible_convolution import LUConvolution, PlainConvolution
from models.bijections.repeated import Step
from models.layers.convolution import by_pixel


class FlowStep(Step):
    """Actnorm, invertible 1x1 convolution, coupling, in this order (Kingma & Dhariwal 2018, figure 2a).

    The first two are one affine map of each pixel's channels, x -> W·(e^s·(x + b)), and are computed as one product.

    Args:
        convolution: the 1x1 convolution.
        coupling: the coupling, by channels or by the pixels of a checkerboard.
    """

    inverse_groups = ("mixing", "coupling", "parity")
    solved_groups = ("mixing", "fixed")
    initialised_group = "mixing"

    def __init__(self, convolution: LUConvolution | PlainConvolution, coupling: Coupling, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.actnorm = ActNorm(name="actnorm")
        self.convolution = convolution
        self.coupling = coupling

    @property
    def parts(self) -> list[Bijection]:
        """The three, in order."""
        return [self.actnorm, self.convolution, self.coupling]

    @property
    def groups(self) -> dict[str, list[keras.Variable]]:
        """The weights by what they are used for, and apart those of them that are not trained."""
        return {
            "mixing": [*self.actnorm.weights, *self.convolution.trainable_weights],
            "fixed": self.convolution.non_trainable_weights,
            **self.coupling.groups,
        }

    @property
    def forward_groups(self) -> tuple[str, ...]:
        """Those of the coupling; the others are used in :meth:`prepare`."""
        return self.coupling.forward_groups

    def build(self, shape: BatchShape) -> None:
        """Build the three."""
        for part in self.parts:
            part.build(shape)
        self.built = True

    def redraw(self) -> None:
        """Become the next step, before any is trained: draw the weights that begin at random again."""
        self.convolution.redraw()
        self.coupling.redraw()

    def prepare(self, value: Values = current) -> list[Tensor]:
        """Diag(e^s)·Wᵀ and (e^s·b)·Wᵀ, which a pixel's channels are multiplied by and moved by, and log |det| of it.

        Shapes (c, c), (c,) and (); with K values of the weights at once, (K, c, c), (K, c) and (K,).
        """
        weight = ops.swapaxes(self.convolution.matrix(value), -1, -2)
        log_scale = value(self.actnorm.log_scale)
        scale = ops.exp(log_scale)
        offset = ops.matmul((scale * value(self.actnorm.bias))[..., None, :], weight)[..., 0, :]
        log_abs_det = ops.sum(log_scale, axis=-1) + self.convolution.log_abs_det(value)
        return [scale[..., None] * weight, offset, log_abs_det]

    def transform(self, x: Tensor, prepared: Sequence[Tensor], keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The affine map of each pixel's channels, then the coupling, and the log-determinant of both (n,)."""
        _, height, width, _ = x.shape
        matrix, offset, of_a_pixel = prepared
        y, log_det = self.coupling.transform(by_pixel(x, matrix) + offset, keep=keep)
        return y, log_det + height * width * of_a_pixel

    def prepare_inverse(self) -> Tensor:
        """W⁻ᵀ·diag(e^-s), by which the inverse multiplies each pixel's channels (c, c)."""
        return ops.transpose(self.convolution.inverse_matrix()) * ops.exp(-self.actnorm.log_scale)

    def inverse(self, y: Tensor, prepared: Tensor | None = None) -> Tensor:
        """y (n, h, w, c) -> (n, h, w, c); with what :meth:`prepare_inverse` gives, where it is at hand."""
        matrix = self.prepare_inverse() if prepared is None else prepared
        return by_pixel(self.coupling.inverse(y), matrix) - self.actnorm.bias

    def initialise(self, x: Tensor) -> Tensor:
        """Initialise the actnorm on x."""
        for part in self.parts:
            x = part.initialise(x)
        return x
