"""A state of a training, kept in memory while training continues."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from models.base.likelihood_model import LikelihoodModel

Arrays = dict[str, npt.NDArray[Any]]
_OF_MODEL = "model_"
"""Begins the names of the model's variables."""


class KeptState:
    """Copies of variables as they were at one moment.

    Args:
        variables: the variables by name.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables
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


class Milestones:
    """The best weights as they were after some of the evaluations: those of trainings that end there.

    Args:
        evaluations: the evaluations, by number from 1.
    """

    def __init__(self, evaluations: Collection[int] = ()) -> None:
        self.evaluations = frozenset(evaluations)
        self.weights: dict[int, Arrays] = {}

    def keep(self, evaluation: int, best: Arrays) -> None:
        """Keep the best weights after an evaluation, if it is one of them."""
        if evaluation in self.evaluations:
            of_model = {name: array for name, array in best.items() if name.startswith(_OF_MODEL)}
            self.weights[evaluation] = {name: np.array(array) for name, array in of_model.items()}

    def restore(self, evaluation: int, model: LikelihoodModel) -> None:
        """Assign the weights of an evaluation that was kept."""
        variables = _named(model.weights, [])
        for name, array in self.weights[evaluation].items():
            variables[name].assign(array)


def all_variables(model: LikelihoodModel) -> dict[str, Any]:
    """Every variable of a training, the seed generators' too, by a name that is the same in every process."""
    return _named(model.variables, model.optimizer.variables)


def best_variables(model: LikelihoodModel, with_optimizer: bool) -> dict[str, Any]:
    """The weights, and the optimizer's state where training may continue from the best evaluation.

    The seed generators are left out: the noise of training does not repeat.
    """
    return _named(model.weights, model.optimizer.variables if with_optimizer else [])


def _named(of_model: list[Any], of_optimizer: list[Any]) -> dict[str, Any]:
    owners = {"model": of_model, "optimizer": of_optimizer}
    return {f"{owner}_{i}": variable for owner, own in owners.items() for i, variable in enumerate(own)}
