"""Glows with perturbed weights, small enough to keep, that are compared with a peer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models.base.config import Shape
from models.glow.config import GlowConfig
from models.glow.model import Glow

Array = npt.NDArray[np.float64]

SMALL: dict[str, Any] = {"levels": 2, "flow_depth": 2, "hidden_channels": 5, "preprocessing": "linear"}
CASES: dict[str, tuple[GlowConfig, Shape]] = {
    "affine in colour": (GlowConfig(**SMALL), (8, 8, 3)),
    "additive, three steps": (GlowConfig(**SMALL | {"coupling": "additive", "flow_depth": 3}), (8, 8, 1)),
    "plain, three levels": (GlowConfig(**SMALL | {"permutation": "plain", "levels": 3, "flow_depth": 1}), (8, 16, 1)),
}


def perturbed_glow(name: str) -> Glow:
    """The case's model; its weights are far from the initial ones, and exact in float32."""
    config, shape = CASES[name]
    model = Glow(config, shape, 256)
    rng = np.random.default_rng(list(CASES).index(name))
    for weight in model.trainable_variables:
        values = np.asarray(weight) + 0.1 * rng.standard_normal(weight.shape)
        weight.assign(values.astype(np.float32))
    return model


def make_split_priors_constant(model: Glow) -> None:
    """Leave of each split prior the bias: one mean and one log-scale per channel, whatever the other half is."""
    for prior in model.split_priors:
        kernel = prior.convolution.convolution.kernel
        kernel.assign(np.zeros(kernel.shape))


def inputs(name: str, n: int = 6) -> Array:
    """Continuous images (n, h, w, c), somewhat wider than the range -½..½ of images, exact in float32."""
    _, shape = CASES[name]
    return np.random.default_rng(0).normal(scale=0.4, size=(n, *shape)).astype(np.float32).astype(np.float64)


Program = Callable[[Array, list[Array]], tuple[list[Array], Array, Array]]


def program(model: Glow) -> Program:
    """A function of images y and of latents that gives latents of y, log p(y), and the latents decoded.

    It is compiled on JAX, where single operations are slow; weights that change later enter it as well.
    """

    def both_ways(values: list[Any], y: Any, latents: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.weights, values, strict=True))):
            # The linear preprocessing takes the unit cube to the y, which is where normflows begins.
            return *model.encode(y + 0.5), model.decode(latents) - 0.5

    if keras.backend.backend() == "jax":
        import jax

        both_ways = jax.jit(both_ways)

    def run(y: Array, latents: list[Array]) -> tuple[list[Array], Array, Array]:
        values = [keras.ops.convert_to_tensor(weight) for weight in model.weights]
        tensors = [keras.ops.convert_to_tensor(x) for x in (y, *latents)]
        encoded, log_prob, decoded = both_ways(values, tensors[0], tensors[1:])
        return [np.asarray(z) for z in encoded], np.asarray(log_prob), np.asarray(decoded)

    return run
