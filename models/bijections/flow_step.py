"""The step of flow that Glow repeats, and its repetition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from models.bijections.actnorm import ActNorm
from models.bijections.base import Bijection, Values, current, zeros_per_image
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
        matrix, offset, of_a_pixel = self.affine()
        y, log_det = self.transform(x, matrix, offset)
        return y, log_det + height * width * of_a_pixel

    def affine(self, value: Values = current) -> tuple[Tensor, Tensor, Tensor]:
        """Diag(e^s)·Wᵀ and (e^s·b)·Wᵀ, which a pixel's channels are multiplied by and moved by, and log |det| of it.

        Shapes (c, c), (c,) and (); with K values of the weights at once, (K, c, c), (K, c) and (K,).
        """
        weight = ops.swapaxes(self.convolution.matrix(value), -1, -2)
        log_scale = value(self.actnorm.log_scale)
        scale = ops.exp(log_scale)
        offset = ops.matmul((scale * value(self.actnorm.bias))[..., None, :], weight)[..., 0, :]
        log_abs_det = ops.sum(log_scale, axis=-1) + self.convolution.log_abs_det(value)
        return scale[..., None] * weight, offset, log_abs_det

    def transform(self, x: Tensor, matrix: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """The affine map of each pixel's channels, then the coupling, and the log-determinant of the latter (n,)."""
        y, log_det = self.coupling(by_pixel(x, matrix) + offset)
        return y, log_det

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
        template = self._template.bijection
        _, height, width, _ = x.shape
        # Of all at once, outside of the loop: so small a product takes as long as a few of them.
        matrices, offsets, of_a_pixel = template.affine(lambda weight: current(self._stack_of(weight)))
        coupling = template.coupling.weights

        def apply(x: Tensor, matrix: Tensor, offset: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
            with _values_of(coupling, weights):
                return template.transform(x, matrix, offset)

        applied = keras.remat(apply) if self.recompute else apply

        def step(carry: tuple[Tensor, Tensor], given: list[Tensor]) -> tuple[tuple[Tensor, Tensor], None]:
            x, log_det = carry
            y, own_log_det = applied(x, *given)
            return (y, log_det + own_log_det), None

        given = [matrices, offsets, *self._values(coupling)]
        (y, log_det), _ = ops.scan(step, (x, zeros_per_image(x)), given, length=self.depth)
        return y, log_det + height * width * ops.sum(of_a_pixel)

    def inverse(self, y: Tensor) -> Tensor:
        """Undo the bijections last to first."""
        template = self._template.bijection
        mixing = [template.actnorm.log_scale, *template.convolution.weights]
        others = [template.actnorm.bias, *template.coupling.weights]

        def matrix(weights: list[Tensor]) -> Tensor:
            with _values_of(mixing, weights):
                return template.inverse_matrix()

        def step(y: Tensor, given: list[Tensor]) -> tuple[Tensor, None]:
            inverse_matrix, *weights = given
            with _values_of(others, weights):
                return template.inverse(y, inverse_matrix), None

        # Outside of the loop, so that images which are computed in pieces need them only once.
        matrices = ops.map(matrix, self._values(mixing))
        x, _ = ops.scan(step, y, [matrices, *self._values(others)], length=self.depth, reverse=True)
        return x

    def initialise(self, x: Tensor) -> Tensor:
        """Initialise each on what the ones before it make of x."""
        template = self._template.bijection
        initialised = template.actnorm.weights

        def step(carry: tuple[Tensor, Tensor, list[Tensor]], weights: list[Tensor]) -> tuple[Any, None]:
            k, x, stacks = carry
            with _values_of(template.weights, weights) as scope:
                y = template.initialise(x)
            changed = [
                ops.slice_update(stack, (k, ops.zeros_like(k)), scope.get_current_value(weight)[None])
                for stack, weight in zip(stacks, initialised, strict=True)
            ]
            return (k + 1, y, changed), None

        begin = (ops.zeros((), dtype="int32"), x, self._values(initialised))
        (_, y, changed), _ = ops.scan(step, begin, self._values(template.weights), length=self.depth)
        for weight, value in zip(initialised, changed, strict=True):
            self._stack_of(weight).assign(value)
        return y

    def _stack_of(self, weight: keras.Variable) -> keras.Variable:
        """What holds the values of a weight of the template."""
        return next(
            stack for stack, own in zip(self.stacks, self._template.bijection.weights, strict=True) if own is weight
        )

    def _values(self, weights: Sequence[keras.Variable]) -> list[Tensor]:
        return [self._stack_of(weight).value for weight in weights]


def _values_of(weights: Sequence[keras.Variable], values: Sequence[Tensor]) -> keras.StatelessScope:
    """A context in which weights have these values, and which knows what becomes of them."""
    return keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True)))


@dataclass(frozen=True)
class _Untracked:
    """Keeps a bijection from Keras, which would take its weights for some of the layer that holds it."""

    bijection: FlowStep
