"""What the process of a side answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One training.

    Attributes:
        evaluations: images, seconds of training steps, value and standard error of each, in order.
        versions: of the packages that computed it.
        configuration: of our side; empty for a peer.
        note: why it ended early; empty where it did not.
    """

    evaluations: Sequence[tuple[int, float, float, float | None]]
    versions: Mapping[str, str]
    configuration: str = ""
    note: str = ""
