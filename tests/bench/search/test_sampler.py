"""The search: what it proposes, and whom it stops."""

from __future__ import annotations

import json

import optuna
import pytest

from bench.core.errors import SettingsError
from bench.core.results import RunState
from bench.search.foreign import only_own
from bench.search.sampler import build_pruner, build_sampler
from bench.study.search_space import Choices, Integers, Reals, from_json, to_json, value_at
from tests.bench.search.conftest import FIRST, SPACE

SAMPLERS = ("tpe", "qmc", "random")
CONDITIONAL = {
    "kind": Choices(("a", "b", "c")),
    "depth": Integers(1, 64),
    "rate": Reals(1e-4, 1e-1, log=True, when={"kind": ("a", "b")}),
    "order": Integers(1, 4, when={"kind": "a", "rate": 0.0}),
    "width": Choices((1, 2), when={"kind": "c"}),
}
CONDITIONAL_FIRST = {"kind": "c", "depth": 4, "width": 2}


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


def test_a_sampler_learns_from_a_trial_that_was_stopped_also_while_another_attempt_continues_it(search, journal):
    one = search(journal, "tpe", pruner="halving", evaluations=8)
    one.offer(one.tasks(3))
    for number in range(3):
        claim = one.claim()
        for evaluation in (1, 2):
            claim.report(float(number), evaluation)
        claim.end(RunState.PRUNED)
    one.offer(one.tasks(3))
    assert one.claim().number == 0
    own = only_own(one.storage, one.name)
    states = [each.state.name for each in own.get_all_trials(one.study._study_id)]
    # Another one that runs would count as worse than all that have ended.
    assert sorted(states) == ["PRUNED"] * 3 + ["WAITING"] * states.count("WAITING")


def stop_at(search, numbers, evaluation):
    """Have trials stopped at a rung, the first ones the best."""
    search.offer([search.task(number, evaluation) for number in numbers])
    for number in numbers:
        claim = search.claim()
        assert claim.number == number
        for step in range(1, evaluation + 1):
            claim.report(1.0 + number, step)
        claim.end(RunState.PRUNED)


def test_a_promoted_trial_is_to_be_trained_to_the_end_by_all_that_open_the_search(search, address):
    one = search(address, pruner="halving", evaluations=8)
    stop_at(one, range(4), 2)
    assert [task.evaluations for task in one.tasks(4)] == [4, 4, 2, 2]
    one.promote({3: 2})
    assert search(address, pruner="halving", evaluations=8).promoted == {3: 2}
    assert [task.evaluations for task in search(address, pruner="halving", evaluations=8).tasks(4)] == [4, 4, 2, 8]
    larger = search(address, pruner="halving", evaluations=32)
    assert larger.targets(4, larger.attempts())[3] == 32


def test_the_first_promotion_of_a_trial_is_kept_and_others_join_it(search, journal):
    one = search(journal, pruner="halving", evaluations=8)
    one.promote({3: 2})
    one.promote({3: 8, 1: 4})
    assert one.promoted == {1: 4, 3: 2}


def test_the_rung_at_which_a_promoted_trial_was_stopped_remains_one(search, journal):
    """Of an earlier budget: another search would have it as long as a trial is stopped there."""
    one = search(journal, pruner="halving", evaluations=8)
    stop_at(one, [0], 3)
    stop_at(one, [1, 2], 2)
    before = one.targets(3, one.attempts())
    one.promote({0: 3})
    one.offer([one.task(0, 8)])
    claim = one.claim()
    for step in range(1, 9):
        claim.report(1.0 if step <= 3 else 9.0, step)
    claim.end(RunState.COMPLETE, 9.0)
    assert one.targets(3, one.attempts()) == before | {0: 8}


def test_a_trial_that_is_left_out_is_not_continued_and_another_is_in_its_place(search, journal):
    one = search(journal, pruner="halving", evaluations=8)
    stop_at(one, range(4), 2)
    assert [number for number, target in one.targets(4, one.attempts()).items() if target > 2] == [0, 1]
    left = one.targets(4, one.attempts(), left_out={0})
    assert [number for number, target in left.items() if target > 2] == [1, 2]


def test_the_checkpoint_of_a_promoted_trial_is_kept_however_bad_it_is(search, journal):
    one = search(journal, pruner="halving", evaluations=8)
    stop_at(one, range(4), 2)
    assert one.foremost(1) == {0}
    one.promote({3: 2, 7: 2})
    assert one.foremost(1) == {0, 3}


@pytest.mark.parametrize("edited", [7, ["3"], {"x": 2, "3": "2", "2": True, "1": 2}], ids=str)
def test_promotions_that_somebody_edited_are_left_out_where_they_are_none(search, journal, edited):
    one = search(journal, pruner="halving", evaluations=8)
    one.study.set_user_attr("promoted", edited)
    assert one.promoted == ({1: 2} if isinstance(edited, dict) else {})


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


@pytest.mark.parametrize("sampler", [*SAMPLERS, "RandomSampler"])
def test_a_conditional_parameter_is_proposed_where_its_condition_holds_alone(search, run, journal, sampler):
    one = search(journal, sampler, CONDITIONAL, CONDITIONAL_FIRST)
    proposed = run(one, 12)
    assert proposed[0] == CONDITIONAL_FIRST
    for values in proposed:
        swept = {"a": {"rate"}, "b": {"rate"}, "c": {"width"}}[values["kind"]]
        assert set(values) == {"kind", "depth"} | swept
    assert {values["kind"] for values in proposed} == {"a", "b", "c"}
    # What the storage holds is what the trials were.
    assert [each.values for each in one.attempts()] == proposed


@pytest.mark.parametrize("sampler", ["RandomSampler", "QMCSampler", "TPESampler"])
def test_a_sampler_of_optunas_proposes_by_its_name_the_same_when_it_is_continued(search, run, tmp_path, sampler):
    whole = run(search(str(tmp_path / "whole.journal"), sampler), 6)
    parts = str(tmp_path / "parts.journal")
    assert [run(search(parts, sampler), 1)[0] for _ in range(6)] == whole
    assert all(value in SPACE[name] for values in whole for name, value in values.items())
    assert len({json.dumps(values) for values in whole}) == 6


def test_a_sampler_given_as_an_object_is_the_one_that_proposes(search, run, journal):
    class Highest(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, name, distribution):
            return distribution.high

    assert run(search(journal, Highest(), {"depth": Integers(1, 64)}, {"depth": 4}), 3) == [
        {"depth": 4},
        {"depth": 64},
        {"depth": 64},
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: build_sampler("GuessingSampler", 0), "Optuna has no GuessingSampler: one of .*TPESampler"),
        (lambda: build_sampler("BaseSampler", 0), "Optuna has no BaseSampler"),
        (lambda: build_sampler("GridSampler", 0), r"GridSampler cannot be created by its name .*give an object"),
        (lambda: build_pruner("GuessingPruner"), "Optuna has no GuessingPruner: one of .*MedianPruner"),
        (lambda: build_pruner("ThresholdPruner"), "ThresholdPruner cannot be created by its name .*give an object"),
    ],
)
def test_what_optuna_has_not_or_cannot_make_is_refused_in_one_line(build, message):
    with pytest.raises(SettingsError, match=message) as raised:
        build()
    assert "\n" not in str(raised.value)


def test_tpe_looks_where_trials_were_good(search, run, tmp_path):
    def mean_distance(sampler):
        one = search(str(tmp_path / f"{sampler}.journal"), sampler, {"depth": Integers(1, 640)}, {"depth": 600})
        return sum(abs(values["depth"] - 20) for values in run(one, 30)[-15:])

    assert mean_distance("tpe") < 0.5 * mean_distance("random")


def test_the_quasi_random_sequence_is_the_same_in_whatever_order_and_number_it_is_drawn(search, journal):
    one, other = (search(journal, sampler="qmc") for _ in range(2))
    forwards = [one._point(number) for number in range(1, 70)]
    backwards = [other._point(number) for number in range(69, 0, -1)]
    assert forwards == backwards[::-1]


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


@pytest.mark.parametrize("condition", [{"kind": "a"}, {"kind": ("a", "b"), "depth": 3}])
def test_a_condition_comes_back_from_json_as_it_was(condition):
    for parameter in (Integers(1, 4, True, condition), Reals(0, 1.5, when=condition), Choices((1, "x"), condition)):
        (back,) = from_json(json.loads(json.dumps(to_json({"one": parameter})))).values()
        assert back == parameter


def lag(search, levels, evaluations=10):
    """Trials one after the other, each at one level of bits/dim; the evaluation that stopped each, or None."""
    search.offer(search.tasks(len(levels)))
    stopped = []
    for level in levels:
        claim = search.claim()
        at = None
        for evaluation in range(1, evaluations + 1):
            claim.report(level, evaluation)
            if claim.should_prune():
                at = evaluation
                break
        stopped.append(at)
        claim.end(RunState.COMPLETE if at is None else RunState.PRUNED, level if at is None else None)
    return stopped


def test_pruners_of_optunas_stop_trials_by_name_and_as_objects(search, tmp_path):
    levels = (1.0,) * 5 + (9.0,)
    for name, pruner in (("name", "MedianPruner"), ("object", optuna.pruners.MedianPruner())):
        assert lag(search(str(tmp_path / f"{name}.journal"), pruner=pruner), levels)[-1] == 1
    assert lag(search(str(tmp_path / "band.journal"), pruner="HyperbandPruner"), levels * 3).count(None) < 18


def test_nothing_is_stopped_where_pruning_is_off(search, journal):
    assert lag(search(journal), (1.0, 1.0, 1.0, 99.0)) == [None] * 4


def test_a_trial_that_was_continued_counts_once_in_pruning(search, journal):
    """Optuna's pruners leave the first trials alone: as many as are trials, not attempts."""
    for evaluations in (5, 10):
        one = search(journal, pruner="MedianPruner", evaluations=evaluations)
        one.offer(one.tasks(4))
        for _ in range(3):
            claim = one.claim()
            for evaluation in range(1, evaluations + 1):
                claim.report(1.0, evaluation)
            claim.end(RunState.COMPLETE, 1.0)
        late = one.claim()
        late.report(9.0, 5)
        assert not late.should_prune()
        late.end(RunState.INTERRUPTED)
    assert len(one.attempts()) == 8
