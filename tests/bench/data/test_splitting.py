from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import DataError
from bench.data.splitting import SPLITS, permutation, select, split_sizes


def test_permutation_is_fixed() -> None:
    assert permutation(10).tolist() == [4, 9, 0, 5, 2, 6, 1, 3, 7, 8]


def test_permutation_ignores_the_global_seed() -> None:
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must not matter
    first = permutation(100)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, permutation(100))


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"all": 1797}, (1259, 179, 359)),
        ({"all": 6}, (2, 2, 2)),
        ({"all": 12}, (8, 2, 2)),
        ({"train": 600}, (417, 83, 100)),
        ({"train": 600, "test": 7}, (500, 100, 7)),
        ({"train": 600, "validation": 7}, (500, 7, 100)),
        ({"train": 6, "validation": 2, "test": 2}, (6, 2, 2)),
        ({"train": 120_000, "test": 2}, (110_000, 10_000, 2)),
    ],
)
def test_split_sizes(parts: dict[str, int], sizes: tuple[int, int, int]) -> None:
    assert split_sizes(parts, "data") == dict(zip(SPLITS, sizes, strict=True))


@pytest.mark.parametrize(
    "parts", [{"all": 3}, {"all": 5}, {"all": 0}, {"train": 5}, {"train": 1, "test": 5}, {"train": 9, "test": 1}]
)
def test_too_few_images(parts: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"somewhere: too few images \(\d in (all|train)"):
        split_sizes(parts, "somewhere")


@given(
    st.one_of(
        st.fixed_dictionaries({"all": st.integers(6, 500)}),
        st.fixed_dictionaries(
            {"train": st.integers(6, 500)},
            optional={"validation": st.integers(2, 50), "test": st.integers(2, 50)},
        ),
    )
)
def test_every_image_is_in_exactly_one_split(parts: dict[str, int]) -> None:
    chosen = {part: np.zeros(n, int) for part, n in parts.items()}
    selections = select(parts, "data")
    for split, n in split_sizes(parts, "data").items():
        part, indices = selections[split]
        assert len(np.arange(parts[part])[indices]) == n
        chosen[part][indices] += 1
    assert all((counts == 1).all() for counts in chosen.values())
