"""Arrays that were given in Python are kept by what they hold, and an altered file is refused."""

from __future__ import annotations

import stat

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.kept import find_kept, keep

ARRAYS = {"x_train": np.arange(48, dtype=np.uint8).reshape(3, 4, 4), "grey_levels": np.array([48])}


def test_arrays_are_written_once_for_this_user_alone(tmp_path):
    path = keep(ARRAYS, tmp_path)
    written = path.stat().st_mtime_ns
    assert keep(dict(reversed(ARRAYS.items())), tmp_path) == path
    assert path.stat().st_mtime_ns == written
    assert keep(ARRAYS | {"y_train": np.arange(3)}, tmp_path) != path
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with np.load(path, allow_pickle=False) as kept:
        assert {name: kept[name].tolist() for name in kept.files} == {n: a.tolist() for n, a in ARRAYS.items()}
    assert find_kept(f"/elsewhere/{path.relative_to(tmp_path)}", tmp_path) == str(path)


def edited(path):
    np.savez(path, **(ARRAYS | {"x_train": ARRAYS["x_train"][::-1]}))


def of_another_type(path):
    np.savez(path, **(ARRAYS | {"x_train": ARRAYS["x_train"].astype(np.int64)}))


def longer(path):
    np.savez(path, **ARRAYS, y_train=np.arange(3))


def truncated(path):
    path.write_bytes(path.read_bytes()[:-50])


def replaced(path):
    path.write_text("no archive")


@pytest.mark.parametrize("alter", [edited, of_another_type, longer, truncated, replaced])
def test_a_file_that_was_altered_is_refused_until_it_is_removed(tmp_path, alter):
    path = keep(ARRAYS, tmp_path)
    alter(path)
    with pytest.raises(DataError, match=r"arrays\.npz, which keeps the arrays.*altered: remove it"):
        keep(ARRAYS, tmp_path)
    path.unlink()
    assert keep(ARRAYS, tmp_path) == path
    assert keep(ARRAYS, tmp_path) == path
