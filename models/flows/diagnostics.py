"""Whether a trained flow is still invertible in its precision, and what it samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from models.base.diagnostics import Array, Diagnosis, Number, Run, mean_of
from models.base.distributions import Tensor

FlowModel = Any
"""The model, which knows this module."""
ROUND_TRIP_IMAGES = 256
SAMPLES = 256
"""Drawn to see how many of their values lie outside the range of the data."""


def diagnose(model: FlowModel, images: Array, seed: int, run: Run) -> Diagnosis:
    """Round trip of dequantised images, and what the model samples outside the cube.

    Of symbols that are encoded, which have neither a distance nor a cube, the share that comes back.

    Args:
        model: the model.
        images: integer images (n, h, w, c), held out.
        seed: of the dequantisation and of the samples.
        run: see :meth:`models.base.likelihood_model.LikelihoodModel.diagnose`.
    """
    rng = np.random.default_rng(seed)
    some = images[rng.permutation(len(images))[:ROUND_TRIP_IMAGES]]  # the first ones may be all of one class
    noise = rng.standard_normal((len(some), *model.posterior_noise_shape), dtype=np.float32)
    if model.drawn_symbols:
        return Diagnosis(numbers={"recovered_share": mean_of(run(recovered_share, some, noise).astype(np.float64))})
    worst = float(np.max(run(round_trip_error, some, noise)))
    prior_noise = rng.standard_normal((SAMPLES, model.prior_noise_size), dtype=np.float32)
    outside = run(outside_share, prior_noise).astype(np.float64)
    return Diagnosis(
        numbers={"outside_share": mean_of(outside), "round_trip_error": Number(worst, None, len(some))},
    )


def outside_share(model: FlowModel, noise: Tensor) -> Tensor:
    """Share of the values of each sample that lie outside the cube, or are no numbers (n,)."""
    v = model.continuous(noise)
    inside = ops.logical_and(v >= 0.0, v <= 1.0)
    return 1.0 - ops.mean(ops.cast(inside, v.dtype), axis=(1, 2, 3))


def round_trip_error(model: FlowModel, images: Tensor, noise: Tensor) -> Tensor:
    """max |f⁻¹(f(v)) - v| of each dequantised image, in grey levels (n,)."""
    v, _ = model.dequantise(images, noise)
    latents, _ = model.encode(v)
    return ops.max(ops.abs(model.decode(latents) - v), axis=(1, 2, 3)) * model.grey_levels


def recovered_share(model: FlowModel, images: Tensor, noise: Tensor) -> Tensor:
    """Share of each image's symbols x that are the likeliest given their own encoding, argmax p(· | f⁻¹(f(v))) (n,)."""
    v, _ = model.dequantise(images, noise)
    latents, _ = model.encode(v)
    likeliest = ops.argmax(model.dequantisation.decoder(model.decode(latents)).logits, axis=-1)
    same = ops.equal(ops.cast(likeliest, "int32"), ops.cast(images, "int32"))
    return ops.mean(ops.cast(same, v.dtype), axis=(1, 2, 3))
