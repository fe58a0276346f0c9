"""The parameters that a study sweeps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from bench.core.errors import SettingsError

Condition = Mapping[str, Any]
"""For each named parameter before it in the sweep, the value at which a parameter is swept, or a tuple of several."""
_EXACT = 2**53
"""Up to here whole numbers are exact as floating-point numbers, which samplers use."""
Whole = Annotated[int, Field(ge=-_EXACT, le=_EXACT)]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Integers:
    """Whole numbers from ``low`` to ``high``, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        log: whether they are spaced by ratio.
        when: if given, the parameter is swept only in trials that meet this condition.
    """

    low: Whole
    high: Whole
    log: bool = False
    when: Condition | None = None

    def __post_init__(self) -> None:
        _check_range(self)

    def __str__(self) -> str:
        return f"{self.low} … {self.high}, whole{', log' if self.log else ''}{_condition(self.when)}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high

    @property
    def probes(self) -> tuple[int, ...]:
        """Values by which a configuration is checked: the ends."""
        return self.low, self.high


@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False, extra="forbid"))
class Reals:
    """Real numbers from ``low`` to ``high``.

    Attributes:
        low: the smallest.
        high: the largest.
        log: whether they are spaced by ratio.
        when: if given, the parameter is swept only in trials that meet this condition.
    """

    low: Whole | float
    high: Whole | float
    log: bool = False
    when: Condition | None = None

    def __post_init__(self) -> None:
        _check_range(self)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}{', log' if self.log else ''}{_condition(self.when)}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def probes(self) -> tuple[float, ...]:
        """Values by which a configuration is checked: the ends, and one between them that is not whole."""
        return self.low, self.high, self.low + (self.high - self.low) * 0.382


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Choices:
    """One of several values.

    Attributes:
        values: the choices: texts, numbers, truth values, or tuples of these, such as the widths of layers.
        when: if given, the parameter is swept only in trials that meet this condition.
    """

    values: tuple[Any, ...]
    when: Condition | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise SettingsError("Choices needs one value or more to choose from")
        for value in self.values:
            if not _is_choice(value):
                raise SettingsError(
                    f"Choices cannot hold {value!r}: a text, a finite number, a truth value, or a tuple of these is "
                    "accepted"
                )
        object.__setattr__(self, "values", tuple(map(encode, self.values)))

    def __str__(self) -> str:
        return " | ".join(map(str, self.values)) + _condition(self.when)

    def __contains__(self, value: object) -> bool:
        return value in self.values

    @property
    def probes(self) -> tuple[str | int | float | bool, ...]:
        """Values by which a configuration is checked: all of them."""
        return self.values


def _check_range(parameter: Integers | Reals) -> None:
    if not parameter.low <= parameter.high:
        raise SettingsError(f"the range {parameter} is empty: it needs low <= high")
    if parameter.log and parameter.low <= 0:
        raise SettingsError(f"the range {parameter} cannot be spaced by ratio: it needs low > 0, or log=False")


def _condition(when: Condition | None) -> str:
    if not when:
        return ""
    allowed = (
        f"{name} is {' or '.join(map(str, values if isinstance(values, tuple) else (values,)))}"
        for name, values in when.items()
    )
    return f", when {' and '.join(allowed)}"


def _is_choice(value: object) -> bool:
    if isinstance(value, tuple | list):
        return bool(value) and not any(isinstance(part, tuple | list) for part in value) and all(map(_is_choice, value))
    return isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def encode(value: Any) -> Any:
    """A value as Optuna keeps it: a tuple as its JSON, such as ``[200, 100]``."""
    return json.dumps(value) if isinstance(value, tuple | list) else value


def decode(value: Any) -> Any:
    """The value that :func:`encode` was given."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        return tuple(json.loads(value))
    except json.JSONDecodeError:  # a text of the user's
        return value


Parameter = Integers | Reals | Choices
Space = Mapping[str, Parameter]


def is_swept(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Whether a parameter is swept in a trial, given the ``values`` of earlier parameters."""
    return all(
        name in values and values[name] in (*_options(allowed), encode(allowed))
        for name, allowed in (parameter.when or {}).items()
    )


def _options(allowed: Any) -> tuple[Any, ...]:
    """The values that a condition names, unless it names one that is a tuple itself."""
    return tuple(map(encode, allowed if isinstance(allowed, tuple | list) else (allowed,)))


def choose_values(space: Space, choose: Callable[[str, Parameter], Any]) -> dict[str, Any]:
    """Choose a value for each parameter that is swept, in order: conditions depend on the values chosen before."""
    values: dict[str, Any] = {}
    for name, parameter in space.items():
        if is_swept(parameter, values):
            values[name] = choose(name, parameter)
    return values


def check_conditions(space: Space) -> None:
    """Check that each condition refers to earlier parameters, and to values that they can have.

    Raises:
        SettingsError: one does not.
    """
    earlier: dict[str, Parameter] = {}
    for name, parameter in space.items():
        for other, allowed in (parameter.when or {}).items():
            if other not in earlier:
                known = ", ".join(earlier) or "none"
                raise SettingsError(f"{name} is swept when {other} has a value: it must be swept before it ({known})")
            for value in () if encode(allowed) in earlier[other] else _options(allowed):
                if value not in earlier[other]:
                    raise SettingsError(f"{name} is swept when {other} is {value!r}, which is not in {earlier[other]}")
        earlier[name] = parameter


_KINDS: dict[str, type[Parameter]] = {"integers": Integers, "reals": Reals, "choices": Choices}


def value_at(parameter: Parameter, u: float) -> Any:
    """The value at ``u`` in [0, 1) of a parameter's range, spaced evenly or by ratio."""
    if isinstance(parameter, Choices):
        return parameter.values[int(u * len(parameter.values))]
    # Each whole number has an interval of length 1 around it, so that the ends are as likely as the others.
    margin = 0.5 if isinstance(parameter, Integers) else 0.0
    low, high = parameter.low - margin, parameter.high + margin
    value = low * math.exp(u * math.log(high / low)) if parameter.log else low + u * (high - low)
    value = min(max(value, parameter.low), parameter.high)
    return round(value) if isinstance(parameter, Integers) else value


def to_json(space: Space) -> dict[str, Any]:
    """A space as JSON."""
    names = {kind: name for name, kind in _KINDS.items()}
    written = {name: {"kind": names[type(parameter)], **asdict(parameter)} for name, parameter in space.items()}
    return {name: {key: value for key, value in each.items() if value is not None} for name, each in written.items()}


def from_json(space: Mapping[str, Mapping[str, Any]]) -> dict[str, Parameter]:
    """The space that :func:`to_json` has written.

    Raises:
        SettingsError: a range is empty.
        KeyError, TypeError, pydantic.ValidationError: the input is not from :func:`to_json`.
    """
    return {name: _parameter(**written) for name, written in space.items()}


def _parameter(kind: str, **settings: Any) -> Parameter:
    when = {name: tuple(v) if isinstance(v, list) else v for name, v in (settings.pop("when", None) or {}).items()}
    if kind == "choices":
        settings["values"] = tuple(settings["values"])
    return _KINDS[kind](**settings, when=when or None)
