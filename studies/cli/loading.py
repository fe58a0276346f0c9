"""Find a study: one of those that come with the project, or the user's own script."""

from __future__ import annotations

import difflib
import runpy
import traceback
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.core.errors import ReparamBenchError, SettingsError
from bench.core.validated import explained
from bench.study.definition import Study
from studies.cli.names import STUDIES


def load_study(name: str) -> Study:
    """The ``STUDY`` that a script declares.

    Args:
        name: a bundled study's name, or the path of a Python file.

    Raises:
        SettingsError: there is no such study or file, or it declares none.
    """
    path = Path(name)
    if name in STUDIES:
        path = Path(__file__).parents[1] / f"{name}.py"
    elif path.suffix != ".py":
        close = difflib.get_close_matches(name, STUDIES, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise SettingsError(
            f"no study is called {name!r}{hint}: one of {', '.join(STUDIES)}, or the path of a .py file"
        )
    if not path.is_file():
        wrong = "is not a file" if path.exists() else "does not exist"
        raise SettingsError(f"study script {name!r} {wrong}: {', '.join(STUDIES)}, or a .py file, is accepted")
    study = _run(path).get("STUDY")
    if not isinstance(study, Study):
        raise SettingsError(
            f"{name!r} declares no study: it needs STUDY = Study(...), with Study from bench.study.definition"
        )
    return study


def _run(path: Path) -> dict[str, Any]:
    """The names that a script defines.

    Raises:
        SettingsError: it cannot be run; the message says in which of its lines, and why.
    """
    try:
        return runpy.run_path(str(path), run_name="studies._loaded")
    except (Exception, SystemExit) as error:  # The script is the user's: it may raise anything.
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise SettingsError(f"study script {str(path)!r} cannot be run{where}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return explained(error)
    return str(error) if isinstance(error, ReparamBenchError) else f"{type(error).__name__}: {error}"
