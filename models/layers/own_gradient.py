"""Functions with a gradient that is written out, where automatic differentiation finds a slower one."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from models.base.distributions import Tensor

Gradients = Tensor | tuple[Tensor, ...]


def with_gradient(function: Callable[..., Tensor], gradient: Callable[..., Gradients], *tensors: Tensor) -> Tensor:
    """``function(*tensors)``, differentiated by ``gradient(of_value, *tensors)``.

    Args:
        function: of tensors, to a single one.
        gradient: from the gradient in the function's value to that in its only tensor, or the tuple of those in all.
        *tensors: what it is computed of.
    """

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def computed(*tensors: Tensor) -> tuple[Tensor, Callable[..., Gradients]]:
        # JAX gives the gradient by place, TensorFlow by name.
        def backwards(*by_place: Tensor, upstream: Tensor = None) -> Gradients:
            return gradient(by_place[0] if upstream is None else upstream, *tensors)

        return function(*tensors), backwards

    return computed(*tensors)
