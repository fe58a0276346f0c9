"""Which trials a person may promote: checked on a search alone, before anything is recorded."""

from __future__ import annotations

import pytest

from bench.core.errors import SettingsError
from bench.core.results import RunState
from bench.execution.promotion import new_promotions
from bench.search.sampler import Search
from bench.search.storage import open_storage
from bench.study.promotion import Promotion
from bench.study.search_space import Integers


@pytest.fixture
def search(tmp_path):
    """Opens a search of 8 evaluations a trial, with successive halving by default."""

    def opened(pruner="halving"):
        space = {"size": Integers(1, 64)}
        return Search(open_storage(str(tmp_path / "s.journal")), "s/vae", space, {"size": 4}, "random", pruner, 8, 0)

    return opened


@pytest.fixture
def begun(search):
    """Trials 0 and 1 are stopped at a rung, 2 is whole, 3 has diverged, and 4 waits."""
    one = search()
    one.set_open(True)
    one.offer([one.task(0, 2), one.task(1, 4), one.task(2, 8), one.task(3, 8)])
    for evaluations, state in ((2, RunState.PRUNED), (4, RunState.PRUNED), (8, RunState.COMPLETE)):
        claim = one.claim()
        for step in range(1, evaluations + 1):
            claim.report(1.0, step)
        claim.end(state, 1.0 if state == RunState.COMPLETE else None)
    one.claim().end(RunState.DIVERGED, reason="loss became nan")
    one.offer([one.task(4, 2)])
    return one


def promoted(search, *numbers):
    return new_promotions({"vae": search}, [Promotion("vae", number) for number in numbers])


def test_a_trial_that_is_stopped_at_a_rung_is_promoted_from_there(begun):
    assert promoted(begun, 1, 0) == ({"vae": {1: 4, 0: 2}}, [])


def test_a_trial_that_is_whole_or_was_promoted_before_is_no_error(begun):
    assert promoted(begun, 2) == ({}, ["vae:2 is trained to the whole budget already"])
    begun.promote({0: 2, 3: 2})
    assert promoted(begun, 0, 1, 3) == (
        {"vae": {1: 4}},
        ["vae:3 was promoted before, and ended since: diverged, loss became nan"],
    )


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (9, "there is no such trial"),
        (4, "it has not come to a rung yet"),
        (3, "nothing continues it, as it ended: diverged, loss became nan"),
    ],
)
def test_another_trial_is_refused(begun, number, problem):
    with pytest.raises(SettingsError) as error:
        promoted(begun, 0, number)
    assert str(error.value) == f"promote='vae:{number}': {problem}; stopped at a rung: 0, 1"
    assert begun.promoted == {}


def test_a_search_in_which_no_trial_is_stopped_has_none_to_promote(search):
    one = search()
    one.offer([one.task(0, 2)])
    with pytest.raises(SettingsError, match="it has not come to a rung yet; none is stopped at a rung"):
        promoted(one, 0)


def test_a_search_with_a_pruner_that_is_an_object_has_no_rungs(begun, search):
    import optuna

    message = (
        "^promote='vae:0': your own pruner stops no trial at a rung, from which it could be continued; "
        "pruner='halving' does that$"
    )
    with pytest.raises(SettingsError, match=message):
        promoted(search(optuna.pruners.MedianPruner()), 0)
