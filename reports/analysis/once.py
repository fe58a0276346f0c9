"""Functions of a study that are computed once a study: what several parts of a report ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

if TYPE_CHECKING:
    from reports.analysis.results import Study

Given = ParamSpec("Given")
Result = TypeVar("Result")


OfStudy: TypeAlias = Callable[Concatenate["Study", Given], Result]


def once(function: OfStudy[Given, Result]) -> OfStudy[Given, Result]:
    """Decorate a function of a study, and of what can be hashed, whose result nobody changes."""

    @wraps(function)
    def remembered(study: Study, /, *given: Given.args, **named: Given.kwargs) -> Result:
        key = (function, given, tuple(named.items()))
        if key not in study.computed:
            study.computed[key] = function(study, *given, **named)
        result: Result = study.computed[key]
        return result

    return remembered
