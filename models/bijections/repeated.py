"""Steps of a flow that differ by their weights alone, and the loop over them."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.bijections.base import Bijection, Values, current, zeros_per_image


class Step(Bijection):
    """A bijection that :class:`Repeated` can repeat: it leaves the shape as it is.

    A step begins at random, and :meth:`redraw` makes the next one of it. What is sooner computed of all steps together,
    outside of the loop, it gives in :meth:`prepare` and :meth:`prepare_inverse`.

    Attributes:
        inverse_groups: names of the groups of weights that :meth:`inverse` uses beside what is prepared; None for all.
        solved_groups: of those that :meth:`prepare_inverse` uses; empty where it prepares nothing.
        initialised_group: name of the one that :meth:`initialise` sets, of steps whose weights depend on data.
    """

    inverse_groups: tuple[str, ...] | None = None
    solved_groups: tuple[str, ...] = ()
    initialised_group: str

    @property
    @abstractmethod
    def groups(self) -> dict[str, list[keras.Variable]]:
        """The weights by what they are used for; those of a group are all trained, or none is."""

    @property
    def forward_groups(self) -> tuple[str, ...]:
        """Names of the groups that :meth:`transform` uses beside what is prepared."""
        return tuple(self.groups)

    @abstractmethod
    def redraw(self) -> None:
        """Become the next step, before any is trained: draw the weights that begin at random again."""

    def prepare(self, value: Values = current) -> list[Tensor]:
        """What :meth:`transform` takes; with K values of the weights at once, (K, …)."""
        return []

    @abstractmethod
    def transform(self, x: Tensor, prepared: Sequence[Tensor], keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """:meth:`forward` with what is prepared, and with dropout in the step's network where a ``keep`` is given."""

    def prepare_inverse(self) -> Tensor:
        """What :meth:`inverse` takes as a second argument, where there are ``solved_groups``."""
        raise NotImplementedError

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, h, w, c) -> (n, h, w, c), and log |det ∂y/∂x| (n,)."""
        return self.transform(x, self.prepare())


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

    def __init__(self, make: Callable[[], Step], depth: int, recompute: bool = False, **kwargs: Any) -> None:
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

    def _redrawn(self, template: Step) -> Iterator[Step]:
        """The template as it is, and drawn again K - 1 times."""
        yield template
        for _ in range(self.depth - 1):
            template.redraw()
            yield template

    def _variable(self, name: str, weights: Sequence[keras.Variable]) -> keras.Variable:
        size = sum(math.prod(weight.shape) for weight in weights)
        return self.add_weight(shape=(self.depth, size), initializer="zeros", trainable=weights[0].trainable, name=name)

    def _built(self) -> Step:
        bijection = self.make()
        bijection.build(self.shape)
        return bijection

    def become(self, steps: Iterable[Step]) -> None:
        """Take over the weights of K bijections, first to last."""
        taken = [{name: _flat(step.groups[name]) for name in self._rows} for step in steps]
        for name, rows in self._rows.items():
            rows.variable.assign(np.stack([own[name] for own in taken]))

    def unrolled(self) -> list[Step]:
        """Copies of the K bijections, first to last, each with weights of its own."""
        copies = [self._built() for _ in range(self.depth)]
        for name, rows in self._rows.items():
            by_weight = np.split(ops.convert_to_numpy(rows.variable), rows.ends[:-1], axis=1)
            for k, bijection in enumerate(copies):
                for weight, values in zip(bijection.groups[name], by_weight, strict=True):
                    weight.assign(values[k].reshape(weight.shape))
        return copies

    def of_each(self, computed: Callable[[Step, Values], Tensor]) -> Tensor:
        """What is ``computed`` of a step and the values of its weights, of all steps at once (K, …)."""
        return computed(self._template.bijection, self._of_all_steps)

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """Unchanged."""
        return shape

    def forward(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the bijections first to last.

        ``keep`` (K, n, 1, 1, hidden channels), where given, multiplies the hidden layers of their networks: dropout.
        """
        template = self._template.bijection
        # Of all at once, outside of the loop: so small a product takes as long as a few of them.
        prepared = template.prepare(self._of_all_steps)
        rows = self._values(*template.forward_groups)
        ends = len(prepared), len(prepared) + len(rows)

        def apply(x: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
            with self._step_of(**dict(zip(rows, given[ends[0] : ends[1]], strict=True))):
                return template.transform(x, given[: ends[0]], *given[ends[1] :])

        applied = keras.remat(apply) if self.recompute else apply

        def step(carry: tuple[Tensor, Tensor], given: list[Tensor]) -> tuple[tuple[Tensor, Tensor], None]:
            x, log_det = carry
            y, own_log_det = applied(x, *given)
            return (y, log_det + own_log_det), None

        given = [*prepared, *rows.values(), *([] if keep is None else [keep])]
        (y, log_det), _ = ops.scan(step, (x, zeros_per_image(x)), given, length=self.depth)
        return y, log_det

    def inverse(self, y: Tensor) -> Tensor:
        """Undo the bijections last to first."""
        template = self._template.bijection

        def prepare(given: dict[str, Tensor]) -> Tensor:
            with self._step_of(**given):
                return template.prepare_inverse()

        def step(y: Tensor, given: tuple[list[Tensor], dict[str, Tensor]]) -> tuple[Tensor, None]:
            prepared, rows = given
            with self._step_of(**rows):
                return template.inverse(y, *prepared), None

        # Outside of the loop, so that images which are computed in pieces need them only once.
        prepared = [ops.map(prepare, self._values(*template.solved_groups))] if template.solved_groups else []
        names = self._rows if template.inverse_groups is None else template.inverse_groups
        x, _ = ops.scan(step, y, (prepared, self._values(*names)), length=self.depth, reverse=True)
        return x

    def initialise(self, x: Tensor) -> Tensor:
        """Initialise each on what the ones before it make of x."""
        template = self._template.bijection
        initialised = self._rows[template.initialised_group]

        def step(carry: tuple[Tensor, Tensor, Tensor], given: dict[str, Tensor]) -> tuple[Any, None]:
            k, x, changed = carry
            with self._step_of(**given) as scope:
                y = template.initialise(x)
            row = ops.concatenate(
                [ops.reshape(scope.get_current_value(weight), (-1,)) for weight in initialised.weights]
            )
            return (k + 1, y, ops.slice_update(changed, (k, ops.zeros_like(k)), row[None])), None

        values = self._values(*self._rows)
        begin = (ops.zeros((), dtype="int32"), x, values[template.initialised_group])
        (_, y, changed), _ = ops.scan(step, begin, values, length=self.depth)
        initialised.variable.assign(changed)
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

    bijection: Step
