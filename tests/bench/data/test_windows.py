"""Windows that follow one another are split by position, or by the file or the speaker that they are of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import DataError
from bench.data.windows import by_group, by_position, check_enough


@given(n=st.integers(6, 5000))
def test_positions_of_one_part(n: int) -> None:
    selections = by_position({"all": n}, "x")
    assert list(selections) == ["train", "validation", "test"]
    found = [np.arange(n)[each.indices] for each in selections.values()]
    assert np.array_equal(np.concatenate(found), np.arange(n))
    assert [len(each) for each in found[1:]] == [max(2, n // 10), max(2, n // 5)]


def test_positions_of_what_is_given() -> None:
    selections = by_position({"train": 24, "test": 9}, "x")
    assert {split: (each.part, each.indices) for split, each in selections.items()} == {
        "train": ("train", slice(0, 20)),
        "validation": ("train", slice(20, 24)),
        "test": ("test", slice(None)),
    }


files = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=3, max_size=60)


@given(files=files)
def test_a_group_is_in_one_split_and_every_window_in_one(files: list[tuple[int, int]]) -> None:
    windows, groups = [count for count, _ in files], [group for _, group in files]
    of_window = np.repeat(groups, windows)
    try:
        selections = by_group({"all": windows}, groups, "x", "speakers")
    except DataError as error:
        assert "too few" in str(error) or "speakers" in str(error)  # noqa: PT017 - either is right
        return
    chosen = [each.indices for each in selections.values()]
    assert np.array_equal(np.sort(np.concatenate(chosen)), np.arange(sum(windows)))
    held = [set(of_window[each]) for each in chosen]
    assert sum(map(len, held)) == len(set.union(*held))
    assert min(map(len, chosen)) >= 2
    # The largest group is trained on.
    assert np.bincount(of_window).argmax() in held[0]


def test_groups_of_one_length_have_the_shares_of_the_splits() -> None:
    selections = by_group({"all": [5] * 100}, range(100), "x", "files")
    assert [len(each.indices) // 5 for each in selections.values()] == [70, 10, 20]


def test_few_long_groups_are_trained_on_and_every_split_has_one() -> None:
    selections = by_group({"all": [100, 90, 10, 10, 10]}, range(5), "x", "files")
    assert [len(each.indices) for each in selections.values()] == [190, 10, 20]


def test_a_group_of_a_missing_split_is_taken_from_train() -> None:
    selections = by_group({"train": [6] * 12, "test": [3]}, range(12), "x", "files")
    assert [each.part for each in selections.values()] == ["train", "train", "test"]
    assert [len(each.indices) for each in selections.values() if each.part == "train"] == [60, 12]


def test_too_little_says_what_it_is_too_little_of() -> None:
    with pytest.raises(DataError, match=r"x has 2 speakers of a window or more; 3 or more are accepted, as no two"):
        by_group({"all": [5, 0, 5]}, [0, 1, 2], "x", "speakers")
    with pytest.raises(DataError, match=r"x: 1 window of files is too little for the test split; 2 or more"):
        by_group({"all": [9, 2, 1]}, [0, 1, 2], "x", "files")
    with pytest.raises(DataError, match=r"x: too few windows of 64 characters \(5 in all\) .* a smaller --window\."):
        check_enough({"all": 5}, 64, "x", "characters")
