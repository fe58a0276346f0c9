"""A choice of images stands for all of them, in whatever order they are stored."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.choice import fixed_choice
from bench.data.dataset import Split

SORTED = Split(np.arange(1000)[:, None, None, None], np.repeat(np.arange(10), 100))


def test_it_is_the_same_each_time_and_holds_no_image_twice() -> None:
    chosen = fixed_choice(SORTED.images, 64)
    assert (chosen == fixed_choice(SORTED.images, 64)).all()
    assert len(np.unique(chosen)) == 64
    assert sorted(fixed_choice(SORTED.images, 2000).ravel()) == list(range(1000))


@pytest.mark.parametrize("n", [64, 200])
def test_some_images_of_a_split_that_is_sorted_by_class_are_of_all_classes(n: int) -> None:
    some = SORTED.some(n)
    assert len(some) == n
    assert some.labels is not None
    assert np.bincount(some.labels, minlength=10).min() > 0
    assert (some.images.ravel() // 100 == some.labels).all()


def test_windows_are_chosen_as_images_are_and_stay_in_their_order() -> None:
    split = Split(np.arange(100).reshape(-1, 1, 1, 1), np.arange(100))
    images, windows = split.some(30), split.some(30, "audio")
    assert np.array_equal(np.sort(images.images, axis=0), windows.images)
    assert np.array_equal(windows.labels, windows.images.ravel())
    assert not np.array_equal(images.images, windows.images)


def test_all_images_keep_their_order_and_a_split_without_labels_has_none() -> None:
    assert SORTED.some(None) is SORTED
    assert Split(SORTED.images).some(5).labels is None
