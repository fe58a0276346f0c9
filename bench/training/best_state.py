"""The state of a training at its best evaluation, kept in memory while training continues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

Arrays = dict[str, npt.NDArray[Any]]


class BestState:
    """Copies of the best evaluation's weights, and of the optimizer's state where training may continue from them.

    The seed generators are left out: the noise of training does not repeat.

    Args:
        model: the model that trains, with a built optimizer.
        with_optimizer: whether training may continue from the best state.
    """

    def __init__(self, model: LikelihoodModel, with_optimizer: bool) -> None:
        owners = {"model": model.weights, "optimizer": model.optimizer.variables if with_optimizer else []}
        self.variables = {f"{owner}_{i}": variable for owner, own in owners.items() for i, variable in enumerate(own)}
        self.arrays: Arrays = {}

    def capture(self) -> None:
        """Copy the state as it is now."""
        for name, variable in self.variables.items():
            if name in self.arrays:
                np.copyto(self.arrays[name], np.asarray(variable))
            else:
                self.arrays[name] = np.array(variable)

    def restore(self) -> None:
        """Assign the copied values; without an earlier :meth:`capture` nothing changes."""
        for name, array in self.arrays.items():
            self.variables[name].assign(array)
