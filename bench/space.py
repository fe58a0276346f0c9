"""The parameters that a study sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Integers:
    """Whole numbers from ``low`` to ``high``, both included; ``log`` spaces them by ratio."""

    low: int
    high: int
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low} … {self.high}, whole{', log' if self.log else ''}"


@dataclass(frozen=True)
class Reals:
    """Real numbers from ``low`` to ``high``; ``log`` spaces them by ratio."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[str | int | float | bool, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))


Parameter = Integers | Reals | Choices
Space = Mapping[str, Parameter]
