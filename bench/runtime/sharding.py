"""Divides a batch among a processor's cores, and into microbatches that fit their caches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.runtime.backend import device
from models.base.likelihood_model import LikelihoodModel

CACHE_BYTES = 2**20
"""About what one core of a processor has close by, for what a microbatch of a batch needs at once."""


@dataclass(frozen=True)
class Sharding:
    """A batch in ``devices``, computed at once, each in ``microbatches``, one after the other.

    A core that has a part of the batch to itself waits for nobody until the end, and a microbatch whose intermediate
    results stay in its cache is done faster than a large one.
    """

    devices: int = 1
    microbatches: int = 1


def jax_cores() -> int:
    """The processor's cores that JAX sees as devices; 1 on an accelerator, which gets every batch whole."""
    import jax

    return len(jax.devices()) if device().startswith("cpu") else 1


def training_sharding(model: LikelihoodModel, batch_size: int, cores: int) -> Sharding:
    """The sharding of a batch that is trained on.

    A family with many weights for little work, as a dense VAE, leaves its batches whole (``activation_bytes`` 0): its
    gradients are too large to be added up.
    """
    if not model.objective_is_by_image:
        return Sharding()
    sharding = forward_sharding(model, batch_size, cores)
    # Each microbatch adds its gradients to those before: where weights are many, that costs more than the cache saves.
    own = batch_size // sharding.devices
    weight_bytes = 4 * sum(math.prod(weight.shape) for weight in model.trainable_variables)
    affordable = max(1, 4 * own * model.activation_bytes // max(1, weight_bytes))
    return Sharding(sharding.devices, largest_divisor(own, min(sharding.microbatches, affordable)))


def forward_sharding(model: LikelihoodModel, rows: int, cores: int) -> Sharding:
    """The sharding of so many rows, images or importance samples of images, that are computed without a gradient."""
    if not model.activation_bytes:
        return Sharding()
    devices = largest_divisor(rows, cores)
    own = rows // devices
    wanted = -(-own * model.activation_bytes // CACHE_BYTES)
    return Sharding(devices, largest_divisor(own, wanted))


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of ``number`` that is at most ``limit``."""
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)
