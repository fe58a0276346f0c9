"""A function of the user's as a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import register_dataset
from bench.core.errors import DataError
from bench.core.extensions import load_extension
from bench.data import npz
from bench.data.preparation import Preparation
from bench.data.registry import BUILT_IN, describe, load

pytestmark = pytest.mark.usefixtures("own_registries")
MINE = Path(__file__).resolve().parents[2] / "extensions" / "my_dataset.py"


def test_a_function_of_the_user_s_own_file_is_a_data_set_by_its_name():
    module = load_extension(MINE).module
    info, data = describe("stripes"), load("stripes")
    assert info == data.info
    assert (info.name, info.image_shape, info.grey_levels, info.classes) == ("stripes", (4, 4, 1), 4, 2)
    assert info.source == "drawn by a program, in the public domain"
    splits = (data.tuning.train, data.tuning.validation, data.open_test())
    found = np.concatenate([split.images for split in splits])
    assert sorted(each.tobytes() for each in found) == sorted(each.tobytes() for each in module.stripes()["images"])
    for split in splits:
        upright = (split.images[:, :1] == split.images).all(axis=(1, 2, 3))
        assert (upright >= split.labels).all()


def test_it_is_the_data_set_that_a_file_of_the_same_arrays_is(tmp_path):
    arrays = load_extension(MINE).module.stripes()
    np.savez(tmp_path / "stripes.npz", **arrays)
    assert load("stripes").digest == npz.load(tmp_path / "stripes.npz", Preparation(4)).digest


def test_grey_levels_are_the_user_s_own_the_registered_ones_or_those_that_the_pixels_show():
    images = np.zeros((20, 2, 2), np.uint8)
    register_dataset("plain", source="here")(lambda: {"images": images})
    register_dataset("fixed", source="here", grey_levels=9)(lambda: {"images": images})
    assert [describe(*each).grey_levels for each in (("plain",), ("fixed",), ("fixed", Preparation(5)))] == [2, 9, 5]


def fails() -> None:
    raise OSError("the disk is away")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda: np.zeros((20, 2, 2), np.uint8), "'mine' returned ndarray: a mapping of arrays by name"),
        (lambda: None, "'mine' returned NoneType: a mapping of arrays by name"),
        (fails, "'mine' cannot be made: OSError: the disk is away"),
        (lambda: {"images": [[1, 2], [3]]}, "'mine' holds what is no array"),
        (lambda: {}, "mine holds the arrays none; x_train"),
        (lambda: {"x_test": np.zeros((20, 2, 2), int)}, "mine holds the arrays x_test; x_train"),
        (lambda: {"images": np.zeros((20, 2, 2))}, "mine: images has dtype float64; integer grey levels"),
        (lambda: {"images": np.zeros((20, 4), int)}, r"mine: images has shape \(20, 4\)"),
        (lambda: {"images": np.full((20, 2, 2), 300)}, "mine.* 300"),
    ],
)
def test_what_a_function_wrongly_returns_is_refused_in_one_line(returned, message):
    register_dataset("mine", source="here")(returned)
    with pytest.raises(DataError, match=message) as raised:
        load("mine")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [*BUILT_IN, "a/b", "", "x" * 65])
def test_a_name_that_is_taken_or_none_is_refused(name):
    with pytest.raises(DataError, match="cannot be registered as"):
        register_dataset(name, source="here")
