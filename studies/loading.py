"""Find a study: one of those that come with the project, or the user's own script."""

from __future__ import annotations

import difflib
import runpy
from pathlib import Path

from bench.errors import SettingsError
from bench.study import Study
from studies.names import STUDIES


def load_study(name: str) -> Study:
    """The ``STUDY`` that a script declares.

    Args:
        name: a bundled study's name, or the path of a Python file.

    Raises:
        SettingsError: there is no such study or file, or it declares none.
    """
    path = Path(name)
    if name in STUDIES:
        path = Path(__file__).parent / f"{name}.py"
    elif path.suffix != ".py":
        close = difflib.get_close_matches(name, STUDIES, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise SettingsError(
            f"no study is called {name!r}{hint}: one of {', '.join(STUDIES)}, or the path of a .py file"
        )
    if not path.is_file():
        raise SettingsError(f"study script {name!r} does not exist")
    study = runpy.run_path(str(path), run_name="studies._loaded").get("STUDY")
    if not isinstance(study, Study):
        raise SettingsError(f"{name!r} declares no study: it needs STUDY = Study(...), with Study from bench.study")
    return study
