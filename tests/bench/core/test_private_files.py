"""A private folder is its user's alone; the folders above it are as the user makes folders."""

from __future__ import annotations

import os
import stat

import pytest

from bench.core.private_files import make_private


@pytest.fixture
def group_writable():
    """New folders are those of a group, as in folders that one shares."""
    before = os.umask(0o002)
    yield
    os.umask(before)


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


def test_the_output_folder_itself_stays_open_to_the_group(tmp_path, group_writable):
    made = tmp_path / "runs" / "data" / "abc"
    make_private(made)
    assert [mode(each) for each in (made.parents[1], made.parent, made)] == [0o775, 0o775, 0o700]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path, group_writable):
    (tmp_path / "data").mkdir()
    make_private(tmp_path / "data")
    assert mode(tmp_path / "data") == 0o775
