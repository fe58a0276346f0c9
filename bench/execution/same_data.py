"""Notices files of data, and a kept feature extractor, that were replaced since a study began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import DataError
from bench.data.dataset import DatasetInfo
from bench.data.preparation import PREPARATION
from bench.evaluation.evaluator import open_outside
from bench.evaluation.programs import OutsideData
from bench.execution.session import EXTRACTOR, OUTSIDE_DIGEST, StudySession
from bench.search.storage import specifications
from bench.study.definition import StudySettings

if TYPE_CHECKING:
    from bench.evaluation.quality import Extractor


def open_outside_data(study: StudySession, info: DatasetInfo) -> OutsideData | None:
    """Load the outside data of a study, if it has any.

    A file that is replaced later, or is another one on another machine, would make its runs incomparable with those
    before.

    Raises:
        DataError: they cannot be loaded, or are not those that the study began with.
        SettingsError: they do not fit the study's own data.
    """
    settings = study.bound.settings
    if settings.outside_dataset is None:
        return None
    outside = open_outside(settings.outside_dataset, info, settings.preparation)
    known = (study.record.specification or {}).get(OUTSIDE_DIGEST)
    if known not in (None, outside.digest):
        raise DataError(
            f"the outside data set {settings.outside_dataset!r} differs here (digest {outside.digest[:12]}) from where "
            f"the study began ({known[:12]}): restore it, or give it under another path, which begins another study"
        )
    return outside


def publish_outside_data(study: StudySession, outside: OutsideData | None) -> None:
    """Publish the digest of the outside data, for other processes to compare theirs with; the coordinator does so."""
    published = study.record.specification or {}
    if outside is not None and OUTSIDE_DIGEST not in published:
        study.record.publish({**published, OUTSIDE_DIGEST: outside.digest})


def check_extractor(study: StudySession, extractor: Extractor | None) -> None:
    """Check that the network that scores samples is the one that the study's final runs so far were scored by.

    Its record beside it shows damage, but not that both were replaced by another network and its own record.

    Raises:
        DataError: it is another one.
    """
    known = (study.record.specification or {}).get(EXTRACTOR)
    if extractor is None or known in (None, extractor.description) or not study.record.finals.attempts():
        return
    folder = study.bound.settings.output / "extractors"
    raise DataError(
        f"the extractor in {folder} differs here ({extractor.description}) from where the study's final runs began "
        f"({known}): put that one back, or copy it from there, since scores by the two do not compare; `reparam-bench "
        f"delete {study.bound.study_id}` begins the study again"
    )


def publish_extractor(study: StudySession, extractor: Extractor | None) -> None:
    """Publish which network scores samples, for other processes to compare theirs with; the coordinator does so."""
    published = study.record.specification or {}
    if extractor is not None and published.get(EXTRACTOR) != extractor.description:
        study.record.publish({**published, EXTRACTOR: extractor.description})


def say_other_data(study: StudySession) -> str:
    """A line that names the studies of the same file, which held other images then; empty if this one is not new.

    A study is of its images, so another one begins where a file was replaced or edited.
    """
    if not study.is_new:
        return ""
    own = study.bound.settings.model_dump(mode="json", include={"dataset", *PREPARATION})
    # Studies of earlier versions lack what was not yet a setting.
    defaults = StudySettings().model_dump(mode="json", include={*PREPARATION})
    others = [
        each["study_id"]
        for each in specifications(study.record.storage)
        if own.items() <= {**defaults, **each["settings"]}.items()
        and (each["digest"], each["labels"]) != (study.bound.digest, study.bound.labels)
    ]
    if not others:
        return ""
    return (
        f"your data {study.bound.settings.dataset} is not what it was when {', '.join(others)} began: restore it to "
        f"continue {'that study' if len(others) == 1 else 'those studies'}"
    )
