"""The parameters that a study sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import SettingsError


@dataclass(frozen=True)
class Integers:
    """Whole numbers from ``low`` to ``high``, both included; ``log`` spaces them by ratio."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    def __str__(self) -> str:
        return f"{self.low} … {self.high}, whole{', log' if self.log else ''}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class Reals:
    """Real numbers from ``low`` to ``high``; ``log`` spaces them by ratio."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}{', log' if self.log else ''}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[str | int | float | bool, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise SettingsError("Choices needs one value or more to choose from")

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))

    def __contains__(self, value: object) -> bool:
        return value in self.values


def _check_range(parameter: Integers | Reals) -> None:
    if not parameter.low <= parameter.high:
        raise SettingsError(f"the range {parameter} is empty: it needs low <= high")
    if parameter.log and parameter.low <= 0:
        raise SettingsError(f"the range {parameter} cannot be spaced by ratio: it needs low > 0, or log=False")


Parameter = Integers | Reals | Choices
Space = Mapping[str, Parameter]
