"""One copy of a data set for all processes of a machine."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bench.core.errors import AlteredDataError
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
    found = open_shared(digits.info, digits.digest, digits.labels_digest, tmp_path)
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
    assert (
        open_shared(unlabelled.info, unlabelled.digest, unlabelled.labels_digest, tmp_path).tuning.train.labels is None
    )


def overwrite(file):
    file.chmod(0o644)
    array = np.load(file, mmap_mode="r+")
    array[:] = 0
    array.flush()


def test_a_copy_that_was_altered_is_refused_when_it_is_opened_and_while_it_is_used(digits, tmp_path):
    shared = share(digits, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}
    shared.check()
    used = open_shared(digits.info, digits.digest, digits.labels_digest, tmp_path)
    used.check()
    overwrite(folder / "train.npy")
    with pytest.raises(AlteredDataError, match=rf"{folder.name}.*was altered: remove that folder"):
        used.check()
    with pytest.raises(AlteredDataError, match="was altered"):
        shared.check()
    with pytest.raises(AlteredDataError, match="was altered"):
        share(digits, tmp_path)
    with pytest.raises(AlteredDataError, match="was altered"):
        open_shared(digits.info, digits.digest, digits.labels_digest, tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(AlteredDataError, match="was altered"):
        used.check()
    share(digits, tmp_path)
    with pytest.raises(AlteredDataError, match="was altered"):
        used.check()
    open_shared(digits.info, digits.digest, digits.labels_digest, tmp_path).check()


def test_times_that_are_set_are_no_alteration_and_hide_none(digits, tmp_path):
    used = share(digits, tmp_path)
    (file,) = tmp_path.glob("*/train.npy")
    before = file.stat()
    file.touch()
    used.check()
    file.chmod(0o400)
    used.check()
    overwrite(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(AlteredDataError, match="was altered"):
        used.check()


def test_labels_that_change_alone_have_a_copy_of_their_own(digits, tmp_path):
    splits = digits.tuning.train, digits.tuning.validation, digits.open_test()
    bare = Dataset(digits.info, *(Split(split.images) for split in splits))
    other = Dataset(digits.info, *(Split(split.images, split.labels[::-1]) for split in splits))
    assert bare.digest == digits.digest == other.digest
    assert len({bare.labels_digest, digits.labels_digest, other.labels_digest}) == 3
    for each in (bare, digits, other):
        share(each, tmp_path)
    for each in (bare, digits, other):
        found = open_shared(each.info, each.digest, each.labels_digest, tmp_path).tuning.train.labels
        expected = each.tuning.train.labels
        assert found is None if expected is None else (found == expected).all()


def test_sharing_again_leaves_what_is_there(digits, tmp_path):
    share(digits, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    share(digits, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_not_shared_is_not_found(digits, tmp_path):
    assert open_shared(digits.info, digits.digest, digits.labels_digest, tmp_path) is None


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_data_set_that_cannot_be_written_whole_is_not_there_at_all(digits, tmp_path, monkeypatch, error):
    real, saved = np.save, []

    def full(file, *arguments, **options):
        saved.append(file)
        if len(saved) == 3:
            raise error
        real(file, *arguments, **options)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(type(error)):
        share(digits, tmp_path)
    assert list(tmp_path.iterdir()) == []
