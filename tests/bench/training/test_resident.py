"""Training images are on the device once: in place on a processor, whatever the number of programs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from bench.data import alignment
from bench.data.bundled import load_digits
from bench.data.registry import load
from bench.data.shared import open_shared, share
from bench.training import resident

pytestmark = pytest.mark.backend


@pytest.fixture
def none_kept(monkeypatch):
    monkeypatch.setattr(resident, "_kept", type(resident._kept)())


@pytest.mark.usefixtures("none_kept")
def test_an_array_is_moved_once_for_all_programs_and_a_few_are_kept():
    moved = []
    arrays = [np.arange(3) + i for i in range(6)]

    def move(array):
        moved.append(array)
        return len(moved)

    assert [resident.on_device(arrays[0], "here", move) for _ in range(3)] == [1, 1, 1]
    assert resident.on_device(arrays[0], "there", move) == 2
    for array in arrays[1:]:
        resident.on_device(array, "here", move)
    assert len(resident._kept) == 4
    assert resident.on_device(arrays[0], "here", move) == 8


def own_file(tmp_path, dtype):
    np.savez(tmp_path / "own.npz", images=np.arange(40 * 9).reshape(40, 3, 3).astype(dtype) % 400, grey_levels=400)
    return load(str(tmp_path / "own.npz"))


@pytest.mark.parametrize("shared", [False, True])
def test_the_backend_takes_the_user_s_images_in_place(tmp_path, shared):
    data = own_file(tmp_path, np.int64)
    if shared:
        share(data, tmp_path / "shared")
        data = open_shared(data.info, data.digest, data.labels_digest, tmp_path / "shared")
    images = data.tuning.train.images
    assert alignment.is_aligned(images)
    if keras.backend.backend() == "tensorflow":
        tensor = resident.to_tensorflow(images)
    else:
        import jax

        tensor = jax.device_put(images, jax.devices("cpu")[0])
    np.testing.assert_array_equal(np.asarray(tensor), images)
    assert np.shares_memory(np.asarray(tensor), images)


def test_other_images_are_copied():
    digits = load_digits().tuning.train.images
    images = alignment.empty((digits.size + 1,), digits.dtype)[1:].reshape(digits.shape)
    images[...] = digits
    assert not alignment.is_aligned(images)
    if keras.backend.backend() == "tensorflow":
        tensor = resident.to_tensorflow(images)
        np.testing.assert_array_equal(np.asarray(tensor), images)
        assert not np.shares_memory(np.asarray(tensor), images)
