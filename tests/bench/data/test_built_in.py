from __future__ import annotations

import gc
import subprocess
import sys
from types import FunctionType, ModuleType

import numpy as np
import pytest

import bench.data.bundled
from bench.core.errors import DataError
from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.preparation import Preparation
from bench.data.registry import BUILT_IN, describe, load

DIGITS_DIGEST = "d4642865430c089e93d6ee878cc785eccd9b3c0bff012f0a68030de26df6f54f"


def test_digits() -> None:
    digits = load("digits")
    assert digits.info == describe("digits")
    splits = {"train": digits.tuning.train, "validation": digits.tuning.validation, "test": digits.open_test()}
    assert {name: len(split) for name, split in splits.items()} == digits.info.sizes
    for split in splits.values():
        assert split.images.shape == (len(split), *digits.info.image_shape)
        assert split.images.dtype == np.uint8
        assert split.labels is not None
        assert set(split.labels) == set(range(10))
    assert max(split.images.max() for split in splits.values()) == digits.info.grey_levels - 1


def test_digits_are_those_of_scikit_learn_each_once() -> None:
    from sklearn.datasets import load_digits

    digits = load("digits")
    found = np.concatenate([s.images for s in (digits.tuning.train, digits.tuning.validation, digits.open_test())])
    expected = load_digits().images.astype(np.uint8)
    assert sorted(image.tobytes() for image in found) == sorted(image.tobytes() for image in expected)


def test_digits_that_are_not_where_scikit_learn_had_them_are_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.data.bundled, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"^digits: the installed scikit-learn has no datasets/data/digits.csv.gz: .*$"):
        load("digits")


def test_digest_is_stable() -> None:
    assert load("digits").digest == DIGITS_DIGEST


def test_digest_ignores_labels_names_and_width_of_the_integers() -> None:
    digits = load("digits")
    splits = [Split(s.images.astype(np.int64)) for s in (digits.tuning.train, digits.tuning.validation)]
    info = DatasetInfo("other", (8, 8, 1), 17, digits.info.sizes, 0, "elsewhere")
    assert Dataset(info, *splits, digits.open_test()).digest == DIGITS_DIGEST


@pytest.mark.parametrize("changed", ["train", "validation", "test"])
def test_digest_sees_one_pixel_of_any_split(changed: str) -> None:
    digits = load("digits")
    splits = {"train": digits.tuning.train, "validation": digits.tuning.validation, "test": digits.open_test()}
    splits[changed].images[-1, -1, -1, -1] ^= 1
    assert Dataset(digits.info, **splits).digest != DIGITS_DIGEST


def test_digest_sees_grey_levels_order_and_borders_between_splits() -> None:
    digits = load("digits")
    train, validation, test = digits.tuning.train, digits.tuning.validation, digits.open_test()
    finer = DatasetInfo("digits", (8, 8, 1), 256, digits.info.sizes, 10, "")
    everything = np.concatenate([train.images, validation.images])
    variants = [
        Dataset(finer, train, validation, test),
        Dataset(digits.info, Split(train.images[::-1]), validation, test),
        Dataset(digits.info, Split(everything[:-1]), Split(everything[-1:]), test),
    ]
    assert len({DIGITS_DIGEST, *(variant.digest for variant in variants)}) == 4


def test_tuning_data_does_not_lead_to_the_test_split() -> None:
    digits = load("digits")
    test = digits.open_test()
    reached: list[object] = []
    pending: list[object] = [digits.tuning]
    while pending:
        thing = pending.pop()
        if any(thing is seen for seen in reached) or isinstance(thing, type | ModuleType | FunctionType):
            continue
        reached.append(thing)
        pending += gc.get_referents(thing)
        if isinstance(thing, np.ndarray) and thing.base is not None:
            pending.append(thing.base)  # the collector does not see into arrays
    arrays = [thing for thing in reached if isinstance(thing, np.ndarray)]
    assert len(arrays) >= 4, "the walk reaches the images and labels of train and validation"
    assert not any(thing is test for thing in reached)
    assert not any(np.shares_memory(array, test.images) for array in arrays)


def test_unknown_name_shows_what_is_accepted() -> None:
    with pytest.raises(
        DataError, match=r"'fashion-mnits'.*Did you mean 'fashion_mnist'\?.*digits, mnist.*\.npz"
    ) as error:
        describe("fashion-mnits")
    assert all(name in str(error.value) for name in BUILT_IN)


@pytest.mark.parametrize("name", ["", " ", "no/such/file.npz", "a" * 5000, "\0"])
def test_name_of_nothing(name: str) -> None:
    with pytest.raises(DataError, match="data set"):
        load(name)


def test_grey_levels_of_a_built_in_data_set_are_fixed() -> None:
    assert describe("digits", Preparation(17)).grey_levels == 17
    with pytest.raises(DataError, match="digits has 17 grey levels, not 256"):
        load("digits", Preparation(256))


def test_describing_imports_no_framework() -> None:
    heavy = {"keras", "tensorflow", "jax", "sklearn", "pandas", "scipy", "PIL", "mlflow", "optuna"}
    code = (
        "import sys; from bench.data.registry import BUILT_IN, SEQUENCES, describe; "
        "[describe(name) for name in BUILT_IN if name not in SEQUENCES or not SEQUENCES[name].file]; "
        f"print(sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
