"""Names of the distributions of a pixel, and the numbers that each takes. This module imports no framework."""

from __future__ import annotations

from typing import Literal

from models.base.config import Shape

Observation = Literal["auto", "bernoulli", "categorical", "discretised_logistic", "logistic_mixture"]

CATEGORICAL_LIMIT = 32
"""Largest number of grey levels for which ``auto`` gives each level a probability of its own."""
ONE_HOT = "one_hot"
"""The ``input_scaling`` of symbols without an order: a channel for each symbol, 1 where it is and 0 elsewhere."""


def input_shape(input_scaling: str, image_shape: Shape, grey_levels: int) -> Shape:
    """The shape of what a network sees of images: (h, w, c), or (h, w, c·Q) of one-hot symbols."""
    height, width, channels = image_shape
    return height, width, channels * (grey_levels if input_scaling == ONE_HOT else 1)


def observation_for(observation: Observation, grey_levels: int, input_scaling: str = "") -> Observation:
    """The distribution that ``auto`` stands for on data with ``grey_levels`` levels; any other stands for itself.

    Bernoulli for 2 levels, a categorical up to 32, and a mixture of discretised logistics above; of one-hot symbols a
    categorical for any number, as a mixture of logistics makes neighbours by number alike.
    """
    if observation != "auto":
        return observation
    if grey_levels == 2:
        return "bernoulli"
    few = grey_levels <= CATEGORICAL_LIMIT
    return "categorical" if few or input_scaling == ONE_HOT else "logistic_mixture"


def check_observation(observation: Observation, grey_levels: int) -> None:
    """Raise ValueError if the distribution is not one of data with ``grey_levels`` levels."""
    if observation == "bernoulli" and grey_levels != 2:
        raise ValueError(
            f"observation=bernoulli needs 2 grey levels, the data has {grey_levels}: "
            "take auto, categorical, discretised_logistic or logistic_mixture"
        )


def parameters_per_value(observation: Observation, grey_levels: int, mixture_components: int) -> int:
    """How many numbers describe the distribution of one channel of one pixel.

    Raises:
        KeyError: the observation is ``auto``: see :func:`observation_for`.
    """
    return {
        "bernoulli": 1,
        "categorical": grey_levels,
        "discretised_logistic": 2,
        "logistic_mixture": 3 * mixture_components,
    }[observation]
