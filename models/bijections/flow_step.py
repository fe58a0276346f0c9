"""The step of flow that Glow repeats, and its repetition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from models.bijections.actnorm import ActNorm
from models.bijections.base import Bijection, zeros_per_image
from models.bijections.coupling import Coupling
from models.bijections.invertible_convolution import LUConvolution, PlainConvolution
from models.configs import BatchShape
from models.convolution import by_pixel
from models.distributions import Tensor


class FlowStep(Bijection):
    """Actnorm, invertible 1x1 convolution, coupling, in this order (Kingma & Dhariwal 2018, figure 2a).

    The first two are one affine map of each pixel's channels, x -> W·(e^s·(x + b)), and are computed as one product.

    Args:
        convolution: parameterisation of the 1x1 convolution.
        coupling: kind of coupling.
        hidden_channels: width of its network.
    """

    def __init__(
        self, convolution: type[LUConvolution | PlainConvolution], coupling: str, hidden_channels: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.actnorm = ActNorm(name="actnorm")
        self.convolution = convolution(name="convolution")
        self.coupling = Coupling(coupling, hidden_channels, name="coupling")

    @property
    def parts(self) -> list[Bijection]:
        """The three, in order."""
        return [self.actnorm, self.convolution, self.coupling]

    def build(self, shape: BatchShape) -> None:
        """Build the three."""
        for part in self.parts:
            part.build(shape)
        self.built = True

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, h, w, c) -> (n, h, w, c), and log |det ∂y/∂x| (n,)."""
        _, height, width, _ = x.shape
        weight = ops.transpose(self.convolution.matrix())
        scale = ops.exp(self.actnorm.log_scale)
        mixed = by_pixel(x, scale[:, None] * weight) + ops.matmul(scale * self.actnorm.bias, weight)
        y, log_det = self.coupling(mixed)
        of_a_pixel = ops.sum(self.actnorm.log_scale) + self.convolution.log_abs_det()
        return y, log_det + height * width * of_a_pixel

    def inverse_matrix(self) -> Tensor:
        """W⁻ᵀ·diag(e^-s), by which the inverse multiplies each pixel's channels (c, c)."""
        return ops.transpose(self.convolution.inverse_matrix()) * ops.exp(-self.actnorm.log_scale)

    def inverse(self, y: Tensor, matrix: Tensor | None = None) -> Tensor:
        """y (n, h, w, c) -> (n, h, w, c); with the :meth:`inverse_matrix`, where it is at hand."""
        matrix = self.inverse_matrix() if matrix is None else matrix
        return by_pixel(self.coupling.inverse(y), matrix) - self.actnorm.bias

    def initialise(self, x: Tensor) -> Tensor:
        """Initialise the actnorm on x."""
        for part in self.parts:
            x = part.initialise(x)
        return x


class Repeated(Bijection):
    """The composition f_K ∘ … ∘ f_1 of steps that differ by their weights alone.

    Each weight is held once for all K, stacked (K, …), and the composition is a loop over them: the program that comes
    of it is as small, and as soon compiled, as that of one step, and the optimizer has as few weights to see to.

    Args:
        make: makes one of them, not built; it leaves the shape as it is.
        depth: K.
        recompute: whether the backward pass computes the inside of each bijection again, and keeps only what passes
            from one to the next.
    """

    def __init__(self, make: Callable[[], FlowStep], depth: int, recompute: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.make = make
        self.depth = depth
        self.recompute = recompute

    def build(self, shape: BatchShape) -> None:
        """Create the stacked weights, as K bijections built one after the other would begin."""
        self.shape = shape
        built = [self._built() for _ in range(self.depth)]
        self.stacks = [
            self.add_weight(
                shape=(self.depth, *same[0].shape),
                initializer=lambda shape, dtype, same=same: ops.stack([each.value for each in same]),
                trainable=same[0].trainable,
                name="_".join(same[0].path.split("/")[-2:]),
            )
            for same in zip(*(each.weights for each in built), strict=True)
        ]
        self._template = _Untracked(built[0])
        self.built = True

    def _built(self) -> FlowStep:
        bijection = self.make()
        bijection.build(self.shape)
        return bijection

    def unrolled(self) -> list[FlowStep]:
        """Copies of the K bijections, first to last, each with weights of its own."""
        copies = [self._built() for _ in range(self.depth)]
        for k, bijection in enumerate(copies):
            for weight, stack in zip(bijection.weights, self.stacks, strict=True):
                weight.assign(stack[k])
        return copies

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the bijections first to last."""

        def apply(x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
            with self._one_of(weights) as (bijection, _):
                return bijection.forward(x)

        applied = keras.remat(apply) if self.recompute else apply

        def step(carry: tuple[Tensor, Tensor], weights: list[Tensor]) -> tuple[tuple[Tensor, Tensor], None]:
            x, log_det = carry
            y, own_log_det = applied(x, *weights)
            return (y, log_det + own_log_det), None

        (y, log_det), _ = ops.scan(step, (x, zeros_per_image(x)), self._weights(), length=self.depth)
        return y, log_det

    def inverse(self, y: Tensor) -> Tensor:
        """Undo the bijections last to first."""

        def matrix(weights: list[Tensor]) -> Tensor:
            with self._one_of(weights) as (bijection, _):
                return bijection.inverse_matrix()

        def step(y: Tensor, given: tuple[list[Tensor], Tensor]) -> tuple[Tensor, None]:
            weights, inverse_matrix = given
            with self._one_of(weights) as (bijection, _):
                return bijection.inverse(y, inverse_matrix), None

        # Outside of the loop, so that images which are computed in pieces need them only once.
        matrices = ops.map(matrix, self._weights())
        x, _ = ops.scan(step, y, (self._weights(), matrices), length=self.depth, reverse=True)
        return x

    def initialise(self, x: Tensor) -> Tensor:
        """Initialise each on what the ones before it make of x."""

        def step(carry: tuple[Tensor, Tensor, list[Tensor]], weights: list[Tensor]) -> tuple[Any, None]:
            k, x, stacks = carry
            with self._one_of(weights) as (bijection, scope):
                y = bijection.initialise(x)
            initialised = [scope.get_current_value(weight) for weight in bijection.weights]
            changed = [
                ops.slice_update(stack, (k, *[ops.zeros_like(k)] * len(weight.shape)), weight[None])
                for stack, weight in zip(stacks, initialised, strict=True)
            ]
            return (k + 1, y, changed), None

        weights = self._weights()
        (_, y, changed), _ = ops.scan(step, (ops.zeros((), dtype="int32"), x, weights), weights, length=self.depth)
        for stack, value in zip(self.stacks, changed, strict=True):
            stack.assign(value)
        return y

    def _weights(self) -> list[Tensor]:
        return [stack.value for stack in self.stacks]

    @contextmanager
    def _one_of(self, weights: Sequence[Tensor]) -> Iterator[tuple[FlowStep, keras.StatelessScope]]:
        """The bijection that has these weights within the context, and the scope that knows what becomes of them."""
        bijection = self._template.bijection
        with keras.StatelessScope(state_mapping=list(zip(bijection.weights, weights, strict=True))) as scope:
            yield bijection, scope


@dataclass(frozen=True)
class _Untracked:
    """Keeps a bijection from Keras, which would take its weights for some of the layer that holds it."""

    bijection: FlowStep
