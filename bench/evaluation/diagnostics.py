"""Diagnostics: what a family finds out of a trained model beside its likelihood, as rows and tables of the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import pandas as pd

from bench.core.results import Measurement
from bench.data.dataset import Images
from bench.runtime.compiled import CompiledMethod
from models.base.likelihood_model import LikelihoodModel


class Diagnostics:
    """The diagnostics of a model, whose weights may change between two calls: its programs are kept.

    Args:
        model: the model.
    """

    def __init__(self, model: LikelihoodModel) -> None:
        self.model = model
        self._programs: dict[Callable[..., Any], CompiledMethod] = {}

    def measure(self, images: Images, seed: int) -> tuple[list[Measurement], dict[str, pd.DataFrame]]:
        """The family's diagnostics on held-out images: numbers, and tables of the result schema by name."""
        found = self.model.diagnose(images, seed, self._run)
        measurements = [Measurement("diagnostics", name, *number) for name, number in found.numbers.items()]
        return measurements, {name: pd.DataFrame(columns) for name, columns in found.tables.items()}

    def _run(self, method: Callable[..., Any], *arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if method not in self._programs:
            self._programs[method] = CompiledMethod(self.model, method, use="seldom")
        return self._programs[method].run(*arrays)
