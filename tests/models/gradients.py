"""Gradients that a test asks for once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from bench.runtime.autodiff import gradient_program


def gradients(
    function: Callable[..., Any], variables: Sequence[keras.Variable], *arrays: np.ndarray
) -> list[np.ndarray]:
    """The gradient of ``function(*arrays)``, a scalar, with respect to each of ``variables``."""
    return gradient_program(function, variables)(*arrays)
