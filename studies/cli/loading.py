"""Find a study: one of those that come with the project, or the user's own script."""

from __future__ import annotations

import difflib
from pathlib import Path

from bench.core.errors import SettingsError
from bench.core.extensions import load_extension
from bench.runtime.backend import prepare_backend
from bench.study.definition import AUTO, Study
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
    study = getattr(load_extension(path).module, "STUDY", None)
    if not isinstance(study, Study):
        raise SettingsError(f"{name!r} declares no study: it needs STUDY = Study(...), with Study from bench")
    return study


def prepare_backend_for(name: str, extensions: list[Path] | None, backend: str) -> None:
    """Have the user's own files, which may import Keras, import it on the study's backend.

    Raises:
        SettingsError: the backend is unknown or not installed.
    """
    if (extensions or name not in STUDIES) and backend != AUTO:
        prepare_backend(backend)
