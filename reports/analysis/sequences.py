"""What final runs left of text and sound: held-out sequences, and samples, to be read or listened to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.core.sequences import to_text, to_wav

if TYPE_CHECKING:
    from reports.analysis.results import Study

Sequences = list[npt.NDArray[np.integer[Any]]]


def held_out(study: Study) -> Sequences:
    """Some real sequences, which are of no arm."""
    return next((found for arm in study.arms if (found := _of(study, arm, drawn=0))), [])


def samples(study: Study, arm: str) -> Sequences:
    """Some samples of an arm, by the first seed that left any."""
    return _of(study, arm, drawn=1)


def as_text(study: Study, sequence: npt.NDArray[np.integer[Any]]) -> str:
    """A sequence of a text, each end of a line as a sign."""
    about: Mapping[str, Any] = study.results.dataset
    found = to_text(sequence, about.get("symbols") or ())
    return found.replace("\r", "\u240d").replace("\n", "\u23ce")


def as_wav(study: Study, sequence: npt.NDArray[np.integer[Any]]) -> bytes:
    """A sequence of a sound as a WAV file."""
    about: Mapping[str, Any] = study.results.dataset
    return to_wav(sequence, str(about.get("encoding", "")), int(about["sample_rate"]))


def _of(study: Study, arm: str, drawn: int) -> Sequences:
    table = study.table("sequences", arm).dropna()
    runs = [run for run in study.finals[arm].runs["run_id"] if (table["run_id"] == run).any()]
    chosen = table[(table["run_id"].isin(runs[:1])) & (table["drawn"] == drawn)]
    by_sequence = chosen.sort_values(["sequence", "position"]).groupby("sequence")
    return [each["value"].to_numpy(np.int64) for _, each in by_sequence]
