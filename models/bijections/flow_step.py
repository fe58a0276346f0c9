"""The step of flow that Glow repeats, and its repetition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.actnorm import ActNorm
from models.bijections.base import Bijection, Values, current, zeros_per_image
from models.bijections.coupling import Coupling
from models.bijections.invertible_convolution import LUConvolution, PlainConvolution
from models.layers.convolution import by_pixel


class FlowStep(Bijection):
    """Actnorm, invertible 1x1 convolution, coupling, in this order (Kingma & Dhariwal 2018, figure 2a).

    The first two are one affine map of each pixel's channels, x -> W·(e^s·(x + b)), and are computed as one product.

    Args:
        convolution: the 1x1 convolution.
        coupling: the coupling, by channels or by the pixels of a checkerboard.
    """

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
            "coupling": self.coupling.trainable_weights,
            "parity": self.coupling.non_trainable_weights,
        }

    def build(self, shape: BatchShape) -> None:
        """Build the three."""
        for part in self.parts:
            part.build(shape)
        self.built = True

    def redraw(self) -> None:
        """Become the next step, before any is trained: draw the weights that begin at random again."""
        self.convolution.redraw()
        self.coupling.redraw()

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

    def transform(self, x: Tensor, matrix: Tensor, offset: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The affine map of each pixel's channels, then the coupling, and the log-determinant of the latter (n,)."""
        return self.coupling.forward(by_pixel(x, matrix) + offset, keep)

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

    The composition is a loop over the steps: the program that comes of it is as small, and as soon compiled, as that of
    one step. Weights that are used together are one variable, a row a step, so that a round of the loop takes, and its
    gradient gives, a single row, and the optimizer has few variables to see to.

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
        """Create the weights, as K bijections built one after the other would begin."""
        self.shape = shape
        template = self._built()
        self._template = _Untracked(template)
        self._rows = {
            name: _Rows(weights, self._variable(name, weights)) for name, weights in template.groups.items() if weights
        }
        # Other values for the same layers, for most of the time that a step takes to be built goes into its layers.
        self.become(self._redrawn(template))
        self.built = True

    def _redrawn(self, template: FlowStep) -> Iterator[FlowStep]:
        """The template as it is, and drawn again K - 1 times."""
        yield template
        for _ in range(self.depth - 1):
            template.redraw()
            yield template

    def _variable(self, name: str, weights: Sequence[keras.Variable]) -> keras.Variable:
        size = sum(math.prod(weight.shape) for weight in weights)
        return self.add_weight(shape=(self.depth, size), initializer="zeros", trainable=weights[0].trainable, name=name)

    def _built(self) -> FlowStep:
        bijection = self.make()
        bijection.build(self.shape)
        return bijection

    def become(self, steps: Iterable[FlowStep]) -> None:
        """Take over the weights of K bijections, first to last."""
        taken = [{name: _flat(step.groups[name]) for name in self._rows} for step in steps]
        for name, rows in self._rows.items():
            rows.variable.assign(np.stack([own[name] for own in taken]))

    def unrolled(self) -> list[FlowStep]:
        """Copies of the K bijections, first to last, each with weights of its own."""
        copies = [self._built() for _ in range(self.depth)]
        for name, rows in self._rows.items():
            by_weight = np.split(ops.convert_to_numpy(rows.variable), rows.ends[:-1], axis=1)
            for k, bijection in enumerate(copies):
                for weight, values in zip(bijection.groups[name], by_weight, strict=True):
                    weight.assign(values[k].reshape(weight.shape))
        return copies

    def convolutions(self) -> Tensor:
        """The matrix W of each step's 1x1 convolution, first to last (K, c, c)."""
        return self._template.bijection.convolution.matrix(self._of_all_steps)

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def forward(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the bijections first to last.

        ``keep`` (K, n, 1, 1, hidden channels), where given, multiplies the hidden layers of their networks: dropout.
        """
        template = self._template.bijection
        _, height, width, _ = x.shape
        # Of all at once, outside of the loop: so small a product takes as long as a few of them.
        matrices, offsets, of_a_pixel = template.affine(self._of_all_steps)
        rows = self._values("coupling", "parity")

        def apply(x: Tensor, matrix: Tensor, offset: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
            with self._step_of(**dict(zip(rows, given, strict=False))):
                return template.transform(x, matrix, offset, *given[len(rows) :])

        applied = keras.remat(apply) if self.recompute else apply

        def step(carry: tuple[Tensor, Tensor], given: list[Tensor]) -> tuple[tuple[Tensor, Tensor], None]:
            x, log_det = carry
            y, own_log_det = applied(x, *given)
            return (y, log_det + own_log_det), None

        given = [matrices, offsets, *rows.values(), *([] if keep is None else [keep])]
        (y, log_det), _ = ops.scan(step, (x, zeros_per_image(x)), given, length=self.depth)
        return y, log_det + height * width * ops.sum(of_a_pixel)

    def inverse(self, y: Tensor) -> Tensor:
        """Undo the bijections last to first."""
        template = self._template.bijection

        def matrix(given: dict[str, Tensor]) -> Tensor:
            with self._step_of(**given):
                return template.inverse_matrix()

        def step(y: Tensor, given: tuple[Tensor, dict[str, Tensor]]) -> tuple[Tensor, None]:
            inverse_matrix, rows = given
            with self._step_of(**rows):
                return template.inverse(y, inverse_matrix), None

        # Outside of the loop, so that images which are computed in pieces need them only once.
        matrices = ops.map(matrix, self._values("mixing", "fixed"))
        x, _ = ops.scan(
            step, y, (matrices, self._values("mixing", "coupling", "parity")), length=self.depth, reverse=True
        )
        return x

    def initialise(self, x: Tensor) -> Tensor:
        """Initialise each on what the ones before it make of x."""
        template = self._template.bijection
        mixing = self._rows["mixing"]

        def step(carry: tuple[Tensor, Tensor, Tensor], given: dict[str, Tensor]) -> tuple[Any, None]:
            k, x, changed = carry
            with self._step_of(**given) as scope:
                y = template.initialise(x)
            row = ops.concatenate([ops.reshape(scope.get_current_value(weight), (-1,)) for weight in mixing.weights])
            return (k + 1, y, ops.slice_update(changed, (k, ops.zeros_like(k)), row[None])), None

        values = self._values(*self._rows)
        begin = (ops.zeros((), dtype="int32"), x, values["mixing"])
        (_, y, changed), _ = ops.scan(step, begin, values, length=self.depth)
        mixing.variable.assign(changed)
        return y

    def _values(self, *names: str) -> dict[str, Tensor]:
        """The rows of the groups of weights of these names, (K, …), where there are any."""
        return {name: current(self._rows[name].variable) for name in names if name in self._rows}

    def _step_of(self, **given: Tensor) -> keras.StatelessScope:
        """A context in which the template is the step that has these rows, and which knows what becomes of them."""
        values = [pair for name, row in given.items() for pair in self._rows[name].by_weight(row)]
        return keras.StatelessScope(state_mapping=values)

    def _of_all_steps(self, weight: keras.Variable) -> Tensor:
        """The values of a weight of the template in all steps (K, …)."""
        rows = next(rows for rows in self._rows.values() if any(own is weight for own in rows.weights))
        return rows.of_all_steps(weight)


def _flat(weights: Sequence[keras.Variable]) -> npt.NDArray[Any]:
    return np.concatenate([np.ravel(ops.convert_to_numpy(weight)) for weight in weights])


class _Rows:
    """The values of some weights in K steps: a row a step, in which they lie flat, one after the other.

    Args:
        weights: those of one step.
        variable: all values (K, sum of their sizes).
    """

    def __init__(self, weights: Sequence[keras.Variable], variable: keras.Variable) -> None:
        self.weights = tuple(weights)
        self.variable = variable
        self.ends = list(itertools.accumulate(math.prod(weight.shape) for weight in weights))

    def apart(self, row: Tensor) -> list[Tensor]:
        """A row as the values of the weights."""
        parts = ops.split(row, self.ends[:-1]) if len(self.weights) > 1 else [row]
        return [ops.reshape(part, weight.shape) for part, weight in zip(parts, self.weights, strict=True)]

    def by_weight(self, row: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Each weight with its value in a row."""
        return list(zip(self.weights, self.apart(row), strict=True))

    def of_all_steps(self, weight: keras.Variable) -> Tensor:
        """The values of one of the weights in all steps (K, …)."""
        end = next(end for own, end in zip(self.weights, self.ends, strict=True) if own is weight)
        values = current(self.variable)[:, end - math.prod(weight.shape) : end]
        return ops.reshape(values, (-1, *weight.shape))


@dataclass(frozen=True)
class _Untracked:
    """Keeps a bijection from Keras, which would take its weights for some of the layer that holds it."""

    bijection: FlowStep
