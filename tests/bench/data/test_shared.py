"""One copy of a data set for all processes of a machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.data.dataset import Dataset, Split
from bench.data.shared import open_shared, share


def mapped(array):
    """Whether an array's memory is a file's."""
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def test_a_shared_data_set_is_the_same_mapped_and_not_copied(digits, tmp_path):
    share(digits, tmp_path)
    found = open_shared(digits.info, digits.digest, tmp_path)
    for ours, theirs in zip(
        (digits.tuning.train, digits.tuning.validation, digits.open_test()),
        (found.tuning.train, found.tuning.validation, found.open_test()),
        strict=True,
    ):
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert ours.images.dtype == theirs.images.dtype
        assert mapped(theirs.images)
        assert not theirs.images.flags.writeable
    assert found.digest == digits.digest
    again = Dataset(found.info, found.tuning.train, found.tuning.validation, found.open_test())
    assert again.digest == digits.digest


def test_a_data_set_without_labels_is_shared_too(digits, tmp_path):
    bare = [Split(split.images) for split in (digits.tuning.train, digits.tuning.validation, digits.open_test())]
    unlabelled = Dataset(replace(digits.info, classes=0), *bare)
    share(unlabelled, tmp_path)
    assert open_shared(unlabelled.info, unlabelled.digest, tmp_path).tuning.train.labels is None


def test_sharing_again_leaves_what_is_there(digits, tmp_path):
    share(digits, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    share(digits, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_not_shared_is_not_found(digits, tmp_path):
    assert open_shared(digits.info, digits.digest, tmp_path) is None


def test_a_data_set_that_cannot_be_written_whole_is_not_there_at_all(digits, tmp_path, monkeypatch):
    real, saved = np.save, []

    def full(file, *arguments, **options):
        saved.append(file)
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        real(file, *arguments, **options)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        share(digits, tmp_path)
    assert list(tmp_path.iterdir()) == []
