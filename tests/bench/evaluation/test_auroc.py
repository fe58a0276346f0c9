"""The area under the ROC curve, against scikit-learn and against its own spread."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.evaluation.auroc import auroc


@pytest.mark.parametrize("levels", [None, 4])
def test_the_area_is_scikit_learns_ties_included(levels):
    rng = np.random.default_rng(0)
    higher, lower = rng.normal(0.7, 1, 60), rng.normal(0, 1, 90)
    if levels:
        higher, lower = np.round(higher * levels / 4), np.round(lower * levels / 4)
    labels = np.r_[np.ones(60), np.zeros(90)]
    assert auroc(higher, lower).value == pytest.approx(roc_auc_score(labels, np.r_[higher, lower]))


def test_the_error_is_the_spread_over_draws():
    rng = np.random.default_rng(1)
    found = [auroc(rng.normal(0.5, 1, 80), rng.normal(0, 1, 50)) for _ in range(300)]
    spread = np.std([each.value for each in found], ddof=1)
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.15)


def test_the_error_of_windows_that_resemble_their_neighbours_is_over_blocks():
    rng = np.random.default_rng(2)

    def windows(mean):
        return np.repeat(rng.normal(mean, 1, 30), 20)

    found = [auroc(windows(0.5), windows(0), "text") for _ in range(300)]
    spread = np.std([each.value for each in found], ddof=1)
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.15)


def test_groups_apart_and_groups_alike():
    apart, alike = np.arange(10.0), np.zeros(10)
    assert auroc(apart + 100, apart) == (1.0, 0.0)
    assert auroc(apart, apart + 100).value == 0.0
    assert auroc(alike, alike) == (0.5, 0.0)
