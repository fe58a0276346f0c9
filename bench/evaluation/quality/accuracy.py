"""How well the network of an extractor does the task that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.results import Measurement


@dataclass(frozen=True)
class Accuracy:
    """How well the network of an extractor does the task that it was trained on.

    Attributes:
        value: share of validation images that it predicts correctly.
        standard_error: of that share, over images.
        chance: the share that the best constant prediction gets right.
        n: validation images.
    """

    value: float
    standard_error: float
    chance: float
    n: int

    def measurements(self, conditions: str) -> list[Measurement]:
        """The accuracy and its chance level, as measurements of a run."""
        return [
            Measurement(
                "quality", "extractor_accuracy", self.value, self.standard_error, self.n, conditions=conditions
            ),
            Measurement("quality", "extractor_chance", self.chance, n=self.n, conditions=conditions),
        ]
