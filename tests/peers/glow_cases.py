"""Glows with perturbed weights, small enough to keep, that are compared with a peer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models.configs import GlowConfig, Shape
from models.glow import Glow

Array = npt.NDArray[np.float64]

SMALL: dict[str, Any] = {"levels": 2, "flow_depth": 2, "hidden_channels": 5}
CASES: dict[str, tuple[GlowConfig, Shape]] = {
    "affine": (GlowConfig(**SMALL), (8, 8, 1)),
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


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled on JAX, where single operations are slow."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def encode(model: Glow, y: Array) -> tuple[list[Array], Array]:
    """Latents (n, h, w, c), finest first, and log p(y) (n,)."""
    latents, log_prob = compiled(model.encode)(keras.ops.convert_to_tensor(y))
    return [np.asarray(z) for z in latents], np.asarray(log_prob)


def decode(model: Glow, latents: list[Array]) -> Array:
    """Continuous images y (n, h, w, c) from their latents."""
    return np.asarray(compiled(model.decode)([keras.ops.convert_to_tensor(z) for z in latents]))
