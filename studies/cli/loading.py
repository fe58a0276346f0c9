"""Loads a study: a bundled one, or the user's own script."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from bench.core.environment import CHOSEN_BACKEND_VARIABLE
from bench.core.errors import SettingsError
from bench.core.extensions import load_extension
from bench.runtime.backend import hold_back_stderr, prepare_backend
from bench.study.definition import AUTO, Study
from studies.cli.names import STUDIES


def load_study(name: str) -> Study:
    """Load the ``STUDY`` that a script declares.

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
    with hold_back_stderr():
        study = getattr(load_extension(path).module, "STUDY", None)
    if not isinstance(study, Study):
        raise SettingsError(f"{name!r} declares no study: it needs STUDY = Study(...), with Study from reparam_bench")
    return study


def prepare_backend_for(name: str, extensions: list[Path] | None, backend: str) -> None:
    """Set Keras's backend before the user's own files, which may import Keras, are loaded.

    Raises:
        SettingsError: the backend is unknown or not installed.
    """
    known = os.environ.get(CHOSEN_BACKEND_VARIABLE) if backend == AUTO else backend
    if known and (extensions or name not in STUDIES):
        prepare_backend(known)
