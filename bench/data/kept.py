"""Arrays that a study was given in Python, which it keeps as a file below its output folder."""

from __future__ import annotations

import re
from pathlib import Path

_KEPT = re.compile(r"data/[0-9a-f]{12}/arrays\.npz$")


def find_kept(dataset: str, output: Path) -> str:
    """The path of kept arrays below an output folder that may have moved since; any other data set as it is.

    Args:
        dataset: the name or the path of a data set, as a study recorded it.
        output: the study's output folder.
    """
    found = _KEPT.search(Path(dataset).as_posix())
    here = output / found.group() if found else None
    return dataset if here is None or not here.is_file() else str(here)
