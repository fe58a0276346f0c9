"""Whether a trained Glow is still invertible in its precision, and what it samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from models.base.diagnostics import Array, Diagnosis, Number, Run, mean_of
from models.base.distributions import Tensor

Glow = Any
"""The model, which knows this module."""
IMAGES_PER_BATCH = 256
SAMPLES = 256
"""Drawn to see how many of their values lie outside the range of the data."""


def diagnose(model: Glow, images: Array, seed: int, run: Run) -> Diagnosis:
    """Round trip of dequantised images, what it samples outside the cube, and the condition of its convolutions.

    Args:
        model: the model.
        images: integer images (n, h, w, c), held out.
        seed: of the dequantisation and of the samples.
        run: see :meth:`models.base.likelihood_model.LikelihoodModel.diagnose`.
    """
    rng = np.random.default_rng(seed)
    some = images[rng.permutation(len(images))[:IMAGES_PER_BATCH]]  # the first ones may be all of one class
    worst = float(np.max(run(round_trip_error, some, rng.standard_normal(some.shape, dtype=np.float32))))
    prior_noise = rng.standard_normal((SAMPLES, model.prior_noise_size), dtype=np.float32)
    outside = run(outside_share, prior_noise).astype(np.float64)
    table = convolutions(model)
    conditions = table["condition_number"]
    return Diagnosis(
        numbers={
            "outside_share": mean_of(outside),
            "round_trip_error": Number(worst, None, len(some)),
            "condition_number": Number(float(conditions.max()), None, len(conditions)),
        },
        tables={"convolutions": table},
    )


def convolutions(model: Glow) -> dict[str, Array]:
    """Condition number σ_max/σ_min and log |det W| of each 1x1 convolution, a row each.

    Those of the steps before the first level are at level -1.
    """
    rows = []
    first = len(model.chains) - len(model.repeated)
    for level, repeated in enumerate(model.repeated, first):
        matrices = np.asarray(ops.convert_to_numpy(repeated.convolutions()), dtype=np.float64)
        for step, matrix in enumerate(matrices):
            log_abs_det = float(np.linalg.slogdet(matrix)[1])
            rows.append((level, step, len(matrix), float(np.linalg.cond(matrix)), log_abs_det))
    names = ("level", "step", "channels", "condition_number", "log_abs_det")
    return {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def outside_share(model: Glow, noise: Tensor) -> Tensor:
    """Share of the values of each sample that lie outside the cube, or are no numbers (n,)."""
    v = model.continuous(noise)
    inside = ops.logical_and(v >= 0.0, v <= 1.0)
    return 1.0 - ops.mean(ops.cast(inside, v.dtype), axis=(1, 2, 3))


def round_trip_error(model: Glow, images: Tensor, noise: Tensor) -> Tensor:
    """max |f⁻¹(f(v)) - v| of each dequantised image, in grey levels (n,)."""
    v, _ = model.dequantise(images, noise)
    latents, _ = model.encode(v)
    return ops.max(ops.abs(model.decode(latents) - v), axis=(1, 2, 3)) * model.grey_levels
