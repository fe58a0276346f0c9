"""The search: what it proposes, and whom it stops."""

from __future__ import annotations

import json

import pytest

from bench.core.results import RunState
from bench.study.search_space import Choices, Integers, Reals, from_json, to_json, value_at
from tests.bench.search.conftest import FIRST, SPACE

SAMPLERS = ("tpe", "qmc", "random")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_trial_is_the_base_configuration_and_all_others_lie_in_the_space(search, run, journal, sampler):
    proposed = run(search(journal, sampler), 10)
    assert proposed[0] == FIRST
    assert all(value in SPACE[name] for values in proposed for name, value in values.items())
    assert len({json.dumps(values) for values in proposed}) == 10


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_interrupted_after_each_trial_proposes_what_an_uninterrupted_one_does(search, run, tmp_path, sampler):
    whole = run(search(str(tmp_path / "whole.journal"), sampler), 9)
    parts = str(tmp_path / "parts.journal")
    assert [run(search(parts, sampler), 1)[0] for _ in range(9)] == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_interrupted_in_the_midst_of_trials_proposes_the_same_values_in_the_same_order(
    search, run, tmp_path, sampler
):
    whole = run(search(str(tmp_path / "whole.journal"), sampler), 8)
    parts = str(tmp_path / "parts.journal")
    finished = []
    for number in range(8):
        if number in (0, 2, 5):
            one = search(parts, sampler)
            one.offer(one.tasks(number + 1))
            one.claim().end(RunState.INTERRUPTED)
        finished += run(search(parts, sampler), 1)
    assert finished == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_seed_proposes_other_values(search, run, tmp_path, sampler):
    one, other = (run(search(str(tmp_path / f"{seed}.journal"), sampler, seed=seed), 5)[1:] for seed in (0, 1))
    assert all(a != b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_failing_first_trials_do_not_make_a_search_repeat_itself(search, journal, sampler):
    failing = search(journal, sampler)
    failing.offer(failing.tasks(5))
    proposed = []
    for _ in range(5):
        claim = failing.claim()
        proposed.append(json.dumps(claim.values))
        claim.end(RunState.DIVERGED)
    assert len(set(proposed)) == 5


@pytest.mark.parametrize("sampler", ["qmc", "random"])
def test_a_design_that_does_not_look_at_outcomes_is_the_same_for_any_number_of_workers(search, run, tmp_path, sampler):
    alone = run(search(str(tmp_path / "alone.journal"), sampler), 9)
    shared = str(tmp_path / "shared.journal")
    search(shared, sampler).offer(search(shared, sampler).tasks(9))
    workers = [search(shared, sampler) for _ in range(3)]
    claims = [worker.claim() for _ in range(3) for worker in workers]
    for claim in reversed(claims):
        claim.end(RunState.COMPLETE, 1.0)
    assert [claim.values for claim in sorted(claims, key=lambda claim: claim.number)] == alone


def test_workers_that_propose_at_the_same_moment_do_not_propose_the_same(search, journal):
    first = search(journal)
    first.offer(first.tasks(8))
    claims = [search(journal).claim() for _ in range(8)]
    assert len({json.dumps(claim.values) for claim in claims}) == 8
    assert [claim.number for claim in claims] == list(range(8))


def test_tpe_looks_where_trials_were_good(search, run, tmp_path):
    def mean_distance(sampler):
        one = search(str(tmp_path / f"{sampler}.journal"), sampler, {"depth": Integers(1, 640)}, {"depth": 600})
        return sum(abs(values["depth"] - 20) for values in run(one, 30)[-15:])

    assert mean_distance("tpe") < 0.5 * mean_distance("random")


def test_quasi_random_values_cover_the_space_evenly(search, run, journal):
    proposed = run(search(journal, "qmc", {"depth": Integers(0, 63)}, {"depth": 0}), 17)[1:]
    assert sorted(values["depth"] // 8 for values in proposed) == sorted([*range(8)] * 2)


@pytest.mark.parametrize(
    ("parameter", "at_0", "at_half", "at_1"),
    [
        (Integers(1, 4), 1, 2, 4),
        (Integers(1, 64, log=True), 1, 6, 64),
        (Reals(0.0, 2.0), 0.0, 1.0, 2.0),
        (Reals(1e-4, 1e-2, log=True), 1e-4, 1e-3, 1e-2),
        (Choices(("a", "b", "c")), "a", "b", "c"),
    ],
)
def test_a_range_is_spaced_evenly_or_by_ratio_from_end_to_end(parameter, at_0, at_half, at_1):
    found = [value_at(parameter, u) for u in (0.0, 0.5, 1 - 1e-12)]
    assert found == [
        at_0,
        pytest.approx(at_half) if isinstance(at_half, float) else at_half,
        pytest.approx(at_1) if isinstance(at_1, float) else at_1,
    ]
    assert all(value in parameter for value in found)


def test_whole_numbers_at_the_ends_of_a_range_are_as_likely_as_the_others():
    drawn = [value_at(Integers(1, 4), (i + 0.5) / 400) for i in range(400)]
    assert [drawn.count(value) for value in (1, 2, 3, 4)] == [100] * 4


def test_a_space_comes_back_from_json_as_it_was():
    space = {**SPACE, "float-like": Reals(1.0, 64.0), "mixed": Choices((1, 2.5, True, "x"))}
    back = from_json(json.loads(json.dumps(to_json(space))))
    assert {name: repr(parameter) for name, parameter in back.items()} == {
        name: repr(parameter) for name, parameter in space.items()
    }


def lag(search, levels, looks=10):
    """Trials one after the other, each at one level of bits/dim; at which look each was stopped, or None."""
    search.offer(search.tasks(len(levels)))
    stopped = []
    for level in levels:
        claim = search.claim()
        at = None
        for look in range(1, looks + 1):
            claim.report(level, look)
            if claim.should_prune():
                at = look
                break
        stopped.append(at)
        claim.end(RunState.COMPLETE if at is None else RunState.PRUNED, level if at is None else None)
    return stopped


def test_a_trial_that_lags_behind_is_stopped_but_neither_early_nor_among_the_first(search, journal):
    assert lag(search(journal, pruner="halving"), (3.0, 1.0, 1.0, 5.0, 0.5)) == [None, None, None, 5, None]


def test_nothing_is_stopped_where_pruning_is_off(search, journal):
    assert lag(search(journal), (1.0, 1.0, 1.0, 99.0)) == [None] * 4


def test_a_trial_is_held_against_those_still_running(search, journal):
    one = search(journal, pruner="halving")
    one.offer(one.tasks(4))
    claims = [one.claim() for _ in range(4)]
    for claim in claims[:3]:
        for look in range(1, 6):
            claim.report(1.0, look)
            assert not claim.should_prune()
    claims[3].report(9.0, 5)
    assert claims[3].should_prune()


def test_an_attempt_that_was_interrupted_counts_once_in_pruning(search, journal):
    one = search(journal, pruner="halving")
    one.offer(one.tasks(4))
    for level in (1.0, 1.0):
        claim = one.claim()
        claim.report(level, 5)
        claim.end(RunState.COMPLETE, level)
    interrupted = one.claim()
    interrupted.report(1.0, 5)
    interrupted.end(RunState.INTERRUPTED)
    late = one.claim()
    late.report(9.0, 5)
    assert not late.should_prune()
