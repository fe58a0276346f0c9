"""Whether a trained Glow is still invertible in its precision, and what it samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from models.base.diagnostics import Array, Diagnosis, Number, Run
from models.flows import diagnostics

Glow = Any
"""The model, which knows this module."""


def diagnose(model: Glow, images: Array, seed: int, run: Run) -> Diagnosis:
    """What :func:`models.flows.diagnostics.diagnose` finds, and the condition of the convolutions."""
    found = diagnostics.diagnose(model, images, seed, run)
    table = convolutions(model)
    conditions = table["condition_number"]
    return Diagnosis(
        numbers={**found.numbers, "condition_number": Number(float(conditions.max()), None, len(conditions))},
        tables={"convolutions": table},
    )


def convolutions(model: Glow) -> dict[str, Array]:
    """Condition number σ_max/σ_min and log |det W| of each 1x1 convolution, a row each.

    Those of the steps before the first level are at level -1.
    """
    rows = []
    first = len(model.chains) - len(model.repeated)
    for level, repeated in enumerate(model.repeated, first):
        of_steps = repeated.of_each(lambda step, value: step.convolution.matrix(value))
        matrices = np.asarray(ops.convert_to_numpy(of_steps), dtype=np.float64)
        for step, matrix in enumerate(matrices):
            log_abs_det = float(np.linalg.slogdet(matrix)[1])
            rows.append((level, step, len(matrix), float(np.linalg.cond(matrix)), log_abs_det))
    names = ("level", "step", "channels", "condition_number", "log_abs_det")
    return {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
