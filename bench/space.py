"""The parameters that a study sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from bench.errors import SettingsError

_EXACT = 2**53
"""The largest whole number to which all smaller ones are exact as floating-point numbers, in which samplers count."""
Whole = Annotated[int, Field(ge=-_EXACT, le=_EXACT)]


@dataclass(frozen=True, config=ConfigDict(strict=True))
class Integers:
    """Whole numbers from ``low`` to ``high``, both included; ``log`` spaces them by ratio."""

    low: Whole
    high: Whole
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    def __str__(self) -> str:
        return f"{self.low} … {self.high}, whole{', log' if self.log else ''}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high

    @property
    def probes(self) -> tuple[int, ...]:
        """Values that a configuration must take for it to take all: the ends."""
        return self.low, self.high


@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False))
class Reals:
    """Real numbers from ``low`` to ``high``; ``log`` spaces them by ratio."""

    low: Whole | float
    high: Whole | float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}{', log' if self.log else ''}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def probes(self) -> tuple[float, ...]:
        """Values that a configuration must take for it to take all: the ends, and one between that is not whole."""
        return self.low, self.high, self.low + (self.high - self.low) * 0.382


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False))
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

    @property
    def probes(self) -> tuple[str | int | float | bool, ...]:
        """Values that a configuration must take for it to take all."""
        return self.values


def _check_range(parameter: Integers | Reals) -> None:
    if not parameter.low <= parameter.high:
        raise SettingsError(f"the range {parameter} is empty: it needs low <= high")
    if parameter.log and parameter.low <= 0:
        raise SettingsError(f"the range {parameter} cannot be spaced by ratio: it needs low > 0, or log=False")


Parameter = Integers | Reals | Choices
Space = Mapping[str, Parameter]
