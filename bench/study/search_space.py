"""The parameters that a study sweeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from bench.core.errors import SettingsError

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


_KINDS: dict[str, type[Parameter]] = {"integers": Integers, "reals": Reals, "choices": Choices}


def value_at(parameter: Parameter, u: float) -> Any:
    """The value that lies at ``u`` in [0, 1) of a parameter's range, spaced evenly or by ratio as the range says."""
    if isinstance(parameter, Choices):
        return parameter.values[int(u * len(parameter.values))]
    # A whole number stands for the unit of the scale around it: the ends are as likely as the others.
    margin = 0.5 if isinstance(parameter, Integers) else 0.0
    low, high = parameter.low - margin, parameter.high + margin
    value = low * math.exp(u * math.log(high / low)) if parameter.log else low + u * (high - low)
    value = min(max(value, parameter.low), parameter.high)
    return round(value) if isinstance(parameter, Integers) else value


def to_json(space: Space) -> dict[str, Any]:
    """A space as JSON holds it."""
    names = {kind: name for name, kind in _KINDS.items()}
    return {name: {"kind": names[type(parameter)], **asdict(parameter)} for name, parameter in space.items()}


def from_json(space: Mapping[str, Mapping[str, Any]]) -> dict[str, Parameter]:
    """What :func:`to_json` has written.

    Raises:
        SettingsError: a range is empty.
        KeyError, TypeError: it was not written by :func:`to_json`.
    """
    return {name: _parameter(**written) for name, written in space.items()}


def _parameter(kind: str, **settings: Any) -> Parameter:
    if kind == "choices":
        return Choices(tuple(settings["values"]))
    return _KINDS[kind](**settings)
