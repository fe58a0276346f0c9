"""Published figures: each with its source, named once, and in the unit of its data."""

from __future__ import annotations

import math
from urllib.parse import urlsplit

import pytest

from bench.core.metrics import METRICS
from bench.data.registry import BUILT_IN, describe
from reports.analysis.literature import RESULTS, published


def test_there_are_thirty_of_data_sets_that_the_project_has_fashion_mnist_among_them():
    assert sum(map(len, RESULTS.values())) >= 30
    assert ("fashion_mnist", 256) in RESULTS
    for name, levels in RESULTS:
        assert name in BUILT_IN
        assert describe(name).grey_levels == levels


@pytest.mark.parametrize("key", list(RESULTS), ids=str)
def test_each_has_a_name_of_its_own_and_a_source_that_can_be_opened(key):
    known = RESULTS[key]
    assert len({each.model for each in known}) == len(known)
    # One table and one figure show all results of a data set, in one unit.
    assert len({each.metric for each in known}) == 1
    for each in known:
        assert each.source
        address = urlsplit(each.url)
        assert address.scheme == "https"
        assert address.netloc
        assert "." in address.netloc
        assert METRICS[each.metric].higher_is_better is False
        for number in (each.weights, each.images):
            assert number is None or (isinstance(number, int) and number > 1000)


@pytest.mark.parametrize("key", list(RESULTS), ids=str)
def test_each_is_better_than_knowing_nothing(key):
    info = describe(key[0])
    for each in RESULTS[key]:
        bits = each.value if each.metric == "bits_per_dim" else each.value / (info.dimensions * math.log(2))
        assert 0 < bits < math.log2(info.grey_levels)


def test_the_lowest_comes_first_and_other_data_has_none():
    known = published({"name": "cifar10", "grey_levels": 256})
    assert [each.value for each in known] == sorted(each.value for each in known)
    assert published({"name": "cifar10", "grey_levels": 2}) == []
    assert published({"name": "mine"}) == []
    # Of a user's file that is called like it, or resized.
    assert published({"name": "cifar10", "grey_levels": 256, "image_shape": [32, 32, 3]}) == known
    assert published({"name": "cifar10", "grey_levels": 256, "image_shape": (16, 16, 3)}) == []
