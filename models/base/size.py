"""The size of a model, from its configuration without building it: weights, and multiplications per image.

A dry run answers from here at once. Tests hold the weights to those of the built models, and multiplications to counts
by hand. This module imports no framework.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAINING_PASSES = 3
"""Cost of a training step in forward passes: one forward, and a backward one that costs about two."""


@dataclass(frozen=True)
class Size:
    """Trainable weights of a model, and the multiply-adds of one likelihood of one image (a forward pass).

    Sizes add up: ``sum(parts, Size())`` is that of a model of these parts.
    """

    parameters: int = 0
    multiplications: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.parameters + other.parameters, self.multiplications + other.multiplications)


def dense(inputs: int, outputs: int, bias: bool = True) -> Size:
    """A dense layer from ``inputs`` to ``outputs`` units."""
    return Size(inputs * outputs + outputs * bias, inputs * outputs)


def convolution(inputs: int, outputs: int, taps: int, pixels: int, bias: bool = True) -> Size:
    """A convolution from ``inputs`` to ``outputs`` channels.

    Args:
        inputs: channels of its input.
        outputs: channels of its output.
        taps: positions of its kernel, 9 for 3x3.
        pixels: positions at which the kernel is applied.
        bias: whether it has one.
    """
    weights = taps * inputs * outputs
    return Size(weights + outputs * bias, weights * pixels)
