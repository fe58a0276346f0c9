"""Best so far against budget: by hand, by simulation, and never with an interval where none is valid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.search import sampler as search
from reports.analysis import budget
from reports.analysis.results import Study
from reports.figures import matplotlib as static
from reports.figures.styles import arm_styles
from reports.figures.trials import budgets


def test_best_of_by_hand():
    found = budget.best_of(np.array([3.0, 1.0, 2.0, 4.0]))
    # q = 1/2, 0.293, 0.206, 0.159 of four values: ranks 2, 2, 1, 1.
    assert list(found["median"]) == [2, 2, 1, 1]
    # c = 0.624: q - c is below 0; q + c is above 1 for the first, else at most 0.917 and 0.83 and 0.783: the last rank.
    assert stats.kstwo.ppf(0.95, 4) == pytest.approx(0.624, abs=1e-3)
    assert list(found["low"]) == [-np.inf] * 4
    assert list(found["high"]) == [np.inf, 4, 4, 4]


def test_failed_trials_raise_the_band():
    values = np.linspace(2, 3, 40)
    whole = budget.best_of(values)
    failed = budget.best_of(np.where(np.arange(40) % 2 == 0, values, np.inf))
    assert (failed["high"] >= whole["high"]).all()
    assert np.isinf(failed["median"].iloc[0]) or failed["median"].iloc[0] > whole["median"].iloc[0]
    assert np.isinf(budget.best_of(np.full(5, np.inf))["median"]).all()


def test_band_covers_all_n_at_once():
    # For uniform values F(y) = y: the median of the best of n is q_n itself.
    rng = np.random.default_rng(0)
    n = np.arange(1, 26)
    truth = 1 - 0.5 ** (1 / n)
    hits = []
    for _ in range(300):
        found = budget.best_of(rng.uniform(size=25))
        hits.append(((found["low"] <= truth) & (truth <= found["high"])).all())
    # At least 95% by construction; more, as only 25 places of the distribution are compared.
    assert np.mean(hits) >= 0.93


def test_course_of_a_search(measured):
    runs = measured.runs
    for data in budget.best_so_far(Study(measured)):
        mine = runs[(runs["arm"] == data.arm) & (runs["role"] == "search")]
        ended = mine[mine["state"] != "running"]
        assert len(data.observed) == len(ended)
        assert data.observed["trials"].iloc[-1] == (ended["state"] != "interrupted").sum()
        of_their_own = ended[ended["state"] != "interrupted"]
        trained = measured.histories[measured.histories["run_id"].isin(ended["run_id"].drop(of_their_own.index))]
        interrupted = trained.groupby("run_id")["seconds"].max().sum()
        assert data.observed["seconds"].iloc[-1] == pytest.approx(of_their_own["seconds"].sum() + interrupted)
        best = data.observed["best"].dropna()
        assert (best.diff().dropna() <= 0).all()
        assert best.iloc[-1] == Study(measured).trials.query("arm == @data.arm and best")["value"].item()
        # Neither the first trial, the arm's own configuration, nor interrupted ones, which are repeated, are draws.
        assert data.draws == (ended["state"] != "interrupted").sum() - 1
        assert data.band is not None
        assert data.pruned


def test_only_random_trials_have_a_band(measured, study):
    builder = study({"vae": [2.3]})
    for sampler in ("tpe", "qmc", None):
        results = builder.results(settings={"sampler": sampler} if sampler else {})
        (data,) = budget.best_so_far(Study(results))
        assert data.band is None
        (figure,) = budgets(Study(results))
        assert "No interval is drawn" in figure.caption
        assert "repeated studies" in figure.caption
    captions = [figure.caption for figure in budgets(Study(measured))]
    assert all("15 independent draws" in caption and "only approximately" in caption for caption in captions)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_single_trial(empty, sampler):
    run = empty.run("vae", "search", number=0)
    empty.measure(run, "validation", "bits_per_dim", 2.0)
    results = empty.results(settings={"sampler": sampler})
    (data,) = budget.best_so_far(Study(results))
    assert data.band is None
    (figure,) = budgets(Study(results))
    assert "<svg" in static.draw(figure, arm_styles({"vae": "vae"}))


def test_without_a_finite_value_there_is_no_course(empty):
    empty.run("vae", "search", "diverged", number=0)
    assert budget.best_so_far(Study(empty.results())) == []


@pytest.mark.parametrize(("trials", "random"), [(4, True), (5, False)])
def test_tpe_before_it_models_anything_is_called_random(empty, trials, random):
    for number in range(trials):
        run = empty.run("vae", "search", number=number, param_latent_size=number)
        empty.measure(run, "validation", "bits_per_dim", 2.0 + number)
    known = Study(empty.results(settings={"sampler": "tpe"}, swept={"vae": ["latent_size"]}))
    (figure,) = budgets(known)
    assert ("the arm's own configuration and random draws" in figure.caption) == random
    assert ("its trials were proposed by the tpe sampler" in figure.caption) != random


def test_the_random_start_is_that_of_the_search():
    assert budget.TPE_STARTUP_TRIALS == search.TPE_STARTUP_TRIALS
