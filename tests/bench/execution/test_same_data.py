"""A study's files of data that are replaced in mid-study stop it, or begin another study with a word."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.registry import load
from bench.execution.same_data import (
    check_extractor,
    open_outside_data,
    publish_extractor,
    publish_outside_data,
    say_other_data,
)
from bench.execution.session import OUTSIDE_DIGEST, join_session, open_data, open_session
from bench.search.queue import Task
from bench.search.study_record import FINAL_NOTE, StudyRecord
from bench.study.definition import BoundStudy


def write(path, seed=0, n=60):
    images = np.random.default_rng(seed).integers(0, 17, (n, 8, 8), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(n) % 10, grey_levels=17)


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside.npz"
    write(path)
    return path


def test_outside_data_that_are_replaced_in_mid_study_are_refused(start, tiny_study, digits, tmp_path, outside):
    options = {"outside_dataset": str(outside)}

    def opened():
        """A new process: the command again, or a worker that joins."""
        study = start(tiny_study, digits, tmp_path / "runs", **options).shared
        study.tracker.close()
        return study

    def joined():
        first = opened()
        settings = first.bound.settings
        return join_session(first.bound.study_id, settings.storage_url, settings.tracking, settings.output)

    whole = outside.read_bytes()
    first = open_outside_data(joined(), digits.info)
    assert first is not None
    # A worker writes nothing: what it has read of the specification may be old.
    assert OUTSIDE_DIGEST not in opened().record.specification
    coordinator = opened()
    publish_outside_data(coordinator, first)
    published = coordinator.record.specification
    assert published[OUTSIDE_DIGEST] == first.digest
    publish_outside_data(coordinator, None)
    assert coordinator.record.specification == opened().record.specification == published
    for process in (opened, joined):
        again = open_outside_data(process(), digits.info)
        assert again is not None
        assert again.digest == first.digest
    write(outside, seed=1)
    for process in (opened, joined):
        with pytest.raises(DataError, match=r"outside data set '.*outside\.npz' differs here .*restore it"):
            open_outside_data(process(), digits.info)
    outside.write_bytes(whole[:-60])
    with pytest.raises(DataError, match=r"outside\.npz"):
        open_outside_data(opened(), digits.info)
    outside.write_bytes(whole)
    open_outside_data(opened(), digits.info)


def test_an_extractor_that_is_replaced_with_its_record_is_refused_once_final_runs_began(
    start, tiny_study, digits, tmp_path
):
    def opened():
        study = start(tiny_study, digits, tmp_path / "runs").shared
        study.tracker.close()
        return study

    own, other = (SimpleNamespace(description=f"classifier of 10 classes (weights {each})") for each in "ab")
    coordinator = opened()
    check_extractor(coordinator, own)
    publish_extractor(coordinator, own)
    # No score by it yet: a damaged one is deleted and trained again.
    check_extractor(opened(), other)
    publish_extractor(coordinator, other)
    publish_extractor(coordinator, own)
    coordinator.record.finals.offer([Task(0, {}, dict.fromkeys(FINAL_NOTE, ""))])
    joined = join_session(
        coordinator.bound.study_id,
        *(getattr(coordinator.bound.settings, name) for name in ("storage_url", "tracking", "output")),
    )
    for process in (opened(), joined):
        with pytest.raises(DataError) as raised:
            check_extractor(process, other)
        assert f"the extractor in {tmp_path / 'runs' / 'extractors'} differs here ({other.description})" in str(
            raised.value
        )
        assert own.description in str(raised.value)
        assert "\n" not in str(raised.value)
        check_extractor(process, own)


def test_a_study_without_outside_data_opens_none(start, tiny_study, digits, tmp_path):
    study = start(tiny_study, digits, tmp_path).shared
    assert open_outside_data(study, digits.info) is None
    study.tracker.close()


@pytest.mark.parametrize("other", [{"resize": 4}, {"train_images": 50}], ids=lambda other: next(iter(other)))
def test_the_same_file_that_is_read_in_another_way_is_what_it_was(settings_for, tiny_study, tmp_path, other):
    path = tmp_path / "data.npz"
    write(path, n=200)
    for changes in ({}, other):
        settings = settings_for(tmp_path / "runs", dataset=str(path), **changes)
        data = load(str(path), settings.preparation)
        study = open_session(BoundStudy(tiny_study, settings, data.info, data.digest, data.labels_digest))
        study.tracker.close()
        assert study.is_new
        assert say_other_data(study) == ""


def test_a_file_that_was_replaced_begins_another_study_which_is_said_once(settings_for, tiny_study, tmp_path):
    path = tmp_path / "data.npz"

    def opened(**changes):
        data, settings = load(str(path)), settings_for(tmp_path / "runs", dataset=str(path), **changes)
        study = open_session(BoundStudy(tiny_study, settings, data.info, data.digest, data.labels_digest))
        study.tracker.close()
        return study

    write(path, n=200)
    before = opened()
    assert before.is_new
    assert say_other_data(before) == ""
    other = opened(seed=7)
    assert say_other_data(other) == ""
    write(path, seed=1, n=200)
    after = opened()
    assert after.bound.study_id != before.bound.study_id
    others = f"{before.bound.study_id}, {other.bound.study_id}"
    said = f"your data {path} is not what it was when {others} began: restore it to continue those studies"
    assert say_other_data(after) == said
    assert say_other_data(opened()) == ""
    # An earlier version stored no number of training images.
    for study in (before, other):
        written = dict(study.record.specification)
        settings = {name: value for name, value in written["settings"].items() if name != "train_images"}
        study.record.publish({**written, "settings": settings})
    assert say_other_data(replace(after, is_new=True)) == said
    # Somebody edits what the storage holds of others.
    for number, edit in enumerate(("x", None, {}, {"settings": 3}, {**opened().record.specification, "settings": "x"})):
        other = StudyRecord(before.record.storage, f"mine-{number}", 60.0)
        other.finals.study.set_user_attr("specification", edit)
    assert say_other_data(replace(after, is_new=True)) == said
    # A worker of the first study that joins now would train on other images.
    with pytest.raises(DataError, match="differs here"):
        open_data(before.bound)
    with pytest.raises(DataError, match="differs here"):
        open_data(replace(after.bound, labels="0" * 12))
