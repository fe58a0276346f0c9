"""Metrics of the user's own: what is measured, and what becomes of those that fail."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench import register_metric
from bench.core.errors import SettingsError
from bench.core.metrics import METRICS
from bench.evaluation import metrics
from bench.evaluation.metrics import MEASURES, measure_all

pytestmark = pytest.mark.usefixtures("own_registries")
CONTEXT = SimpleNamespace(images=np.zeros((7, 2, 2, 1), np.uint8))


@pytest.fixture(autouse=True)
def _no_other(own_registries: None) -> None:
    MEASURES.clear()


def register(function, name="mine", **changes):
    return register_metric(name, **{"label": "Mine", "definition": "Mine.", "unit": "m", **changes})(function)


def test_each_number_has_its_group_name_and_images_and_the_function_stays_what_it_was():
    def mine(context):
        return np.float32(len(context.images) / 2)

    assert register(mine) is mine
    register(lambda context: 1, "other", group="quality", higher_is_better=True)
    found = measure_all(CONTEXT)
    assert [(row.key, row.value, row.n) for row in found.measurements] == [
        ("custom/mine", 3.5, 7),
        ("quality/other", 1.0, 7),
    ]
    assert found.unavailable == {}
    assert (METRICS["mine"].unit, METRICS["mine"].higher_is_better) == ("m", None)
    assert METRICS["other"].higher_is_better


def broken(context):
    raise ValueError("no samples")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (broken, "ValueError: no samples"),
        (lambda context: float("nan"), "custom/mine is nan"),
        (lambda context: -np.inf, "custom/mine is -inf"),
        (lambda context: "many", "ValueError: could not convert string to float: 'many'"),
        (lambda context: np.zeros(3), "TypeError: "),
    ],
)
def test_a_metric_that_fails_or_is_no_number_is_reported_and_the_others_are_measured(function, reason):
    register(function)
    register(lambda context: 1, "other")
    found = measure_all(CONTEXT)
    assert [row.metric for row in found.measurements] == ["other"]
    assert found.unavailable["mine"].startswith(reason)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bits_per_dim", {}, "metric 'bits_per_dim' is defined already, as 'Bits/dim'"),
        ("mine", {"unit": "s"}, "metric 'mine' is defined already, as 'Mine' in m: give yours another name"),
        ("mine", {"definition": "Other."}, "metric 'mine' is defined already"),
        ("Mine", {}, "metric 'Mine': a name has lower-case letters, digits and _, 64 at most"),
        ("a/b", {}, "metric 'a/b': a name"),
        ("new", {"group": "my group"}, "metric 'new': group='my group' is not a name"),
    ],
)
def test_a_metric_that_is_defined_already_or_cannot_be_logged_is_refused(name, changes, message):
    register(len)
    with pytest.raises(SettingsError, match=message):
        register(len, name, **changes)
    assert "new" not in METRICS
    assert list(MEASURES) == ["metric mine"]


def test_the_same_metric_may_be_registered_again_as_by_a_cell_that_is_run_twice():
    register(lambda context: 1)
    register(lambda context: 2)
    assert [row.value for row in metrics.measure_all(CONTEXT).measurements] == [2.0]
