"""Held-out sequences and samples of a run as files that people read or listen to: text, and WAV files of sound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bench.core.sequences import to_text, to_wav
from bench.data.dataset import DatasetInfo

SEQUENCE_FOLDER = "sequences"
_NAMES = ("held-out", "sample")
"""By the value of ``drawn`` in the table of sequences."""
_RULE = "\n\n--------\n\n"


def sequence_files(tables: Mapping[str, pd.DataFrame], info: DatasetInfo) -> dict[str, bytes]:
    """The table ``sequences`` of a run, by the name of each file: one of all windows of a text, one of each sound.

    Args:
        tables: the run's tables, of which images have none of sequences.
        info: the data, which says what an integer stands for.
    """
    table = tables.get("sequences")
    if table is None or table.empty:
        return {}
    files: dict[str, bytes] = {}
    for drawn, name in enumerate(_NAMES):
        of_kind = table[table["drawn"] == drawn].sort_values(["sequence", "position"])
        windows = [each["value"].to_numpy(np.int64) for _, each in of_kind.groupby("sequence")]
        if info.kind == "text":
            files[f"{SEQUENCE_FOLDER}/{name}.txt"] = _RULE.join(
                to_text(each, info.symbols) for each in windows
            ).encode()
            continue
        for number, each in enumerate(windows, start=1):
            files[f"{SEQUENCE_FOLDER}/{name}-{number}.wav"] = to_wav(each, info.encoding, int(info.sample_rate or 0))
    return files
