"""The state of a training at its best evaluation, kept while it trains on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

Arrays = dict[str, npt.NDArray[Any]]


class BestState:
    """Copies of the weights of the best evaluation, and of the optimizer's state where training may return to it.

    The noise of training is left out: it continues from where it is.

    Args:
        model: the model that trains, its optimizer built.
        with_optimizer: whether training may go on from the best state.
    """

    def __init__(self, model: LikelihoodModel, with_optimizer: bool) -> None:
        owners = {"model": model.weights, "optimizer": model.optimizer.variables if with_optimizer else []}
        self.variables = {f"{owner}_{i}": variable for owner, own in owners.items() for i, variable in enumerate(own)}
        self.arrays: Arrays = {}

    def take(self) -> None:
        """Keep the state as it is now."""
        for name, variable in self.variables.items():
            if name in self.arrays:
                np.copyto(self.arrays[name], np.asarray(variable))
            else:
                self.arrays[name] = np.array(variable)

    def restore(self) -> None:
        """Put the variables where they were at the last :meth:`take`; they stay as they are if there was none."""
        for name, array in self.arrays.items():
            self.variables[name].assign(array)
