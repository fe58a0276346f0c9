"""What a family finds out of a trained model beside its likelihood: numbers with their errors, and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Run = Callable[..., Array]
"""``run(method, *arrays)``: ``method(model, *arrays)``, compiled; an image is a row of the arrays and of the result."""


class Number(NamedTuple):
    """A value, the standard error of the mean that it is, if it is one, and how many values it is of."""

    value: float
    standard_error: float | None
    n: int


@dataclass(frozen=True)
class Diagnosis:
    """Of one model.

    Attributes:
        numbers: by the name of a registered metric.
        tables: by the name of a table of the result schema, its columns by name, in order.
    """

    numbers: dict[str, Number] = field(default_factory=dict)
    tables: dict[str, dict[str, Array]] = field(default_factory=dict)


def mean_of(values: Array) -> Number:
    """The mean of ``values`` (n,), with its standard error from two of them on."""
    n = len(values)
    return Number(float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None, n)
