import numpy as np
import pytest

from bench.study.rungs import Progress, attempts, expected_gain, rungs, targets


@pytest.mark.parametrize(
    ("evaluations", "earlier", "expected"),
    [
        (60, [], [15, 30, 60]),
        (10, [], [2, 5, 10]),
        (2, [], [1, 2]),
        (1, [], [1]),
        (600, [15, 30, 60], [15, 30, 60, 150, 300, 600]),
        (30, [15, 30, 60], [7, 15, 30]),
    ],
)
def test_rungs_halve_the_budget_and_keep_those_of_earlier_ones(evaluations, earlier, expected):
    assert rungs(evaluations, earlier) == expected


def trained(to, value):
    return Progress(to, curve={to: value})


def test_while_trials_are_on_their_way_half_of_those_at_a_rung_rounded_down_are_continued():
    done = {0: trained(2, 1.5), 1: trained(2, 1.0), 2: trained(2, 1.2)}
    assert targets(done, [2, 4, 8], 6) == {0: 2, 1: 4, 2: 2, 3: 2, 4: 2, 5: 2}


def test_once_no_other_can_come_half_of_them_rounded_up_is():
    done = {0: trained(2, 1.5), 1: trained(2, 1.0), 2: trained(2, 1.2)}
    assert targets(done, [2, 4, 8], 3) == {0: 2, 1: 4, 2: 4}


def test_the_only_trial_is_trained_to_the_end():
    assert targets({0: trained(2, 9.0)}, [2, 4], 1) == {0: 4}


def test_none_is_continued_before_all_have_begun_unless_time_may_end_the_search():
    done = {0: trained(2, 1.5), 1: trained(2, 1.0)}
    assert targets(done, [2, 4], 4, under_way=1) == dict.fromkeys(range(4), 2)
    assert targets(done, [2, 4], 4, under_way=2) == {0: 2, 1: 4, 2: 2, 3: 2}
    assert targets(done, [2, 4], 4) == {0: 2, 1: 4, 2: 2, 3: 2}


def test_what_failed_takes_the_place_of_none_and_is_not_waited_for():
    done = {0: Progress(99, is_out=True, curve={1: 0.1, 2: 0.1}), 1: trained(2, 2.0)}
    assert targets(done, [2, 4], 2)[1] == 4


def test_what_was_trained_further_stays_so_though_others_passed_it():
    done = {0: Progress(4, curve={2: 1.0, 4: 0.9}), 1: trained(2, 0.5), 2: trained(2, 0.4), 3: trained(2, 0.6)}
    assert targets(done, [2, 4, 8], 4) == {0: 4, 1: 4, 2: 4, 3: 2}


def test_the_best_evaluation_until_a_rung_counts_and_not_its_last():
    done = {0: Progress(2, curve={1: 1.0, 2: 3.0}), 1: trained(2, 2.0)}
    assert targets(done, [2, 4], 2)[0] == 4


def test_a_promoted_trial_is_wanted_whole_and_the_better_half_is_as_without_it():
    done = {0: trained(2, 1.5), 1: trained(2, 1.0), 2: trained(2, 1.2), 3: trained(2, 1.1)}
    assert targets(done, [2, 4, 8], 4) == {0: 2, 1: 4, 2: 2, 3: 4}
    assert targets(done, [2, 4, 8], 4, promoted={0: 2}) == {0: 8, 1: 4, 2: 2, 3: 4}


def test_one_that_is_promoted_before_all_have_begun_is_not_waited_for():
    assert targets({0: trained(2, 1.5)}, [2, 4], 3, under_way=0, promoted={0: 2}) == {0: 4, 1: 2, 2: 2}


def test_a_promotion_beyond_the_number_of_trials_counts_and_one_that_has_not_ended_does_not():
    assert targets({5: trained(2, 1.0)}, [2, 4], 1, promoted={5: 2, 6: 2}) == {0: 2, 5: 4}


def test_a_trial_that_was_promoted_to_the_end_takes_no_place_at_the_rungs_beyond():
    """It is the best of all at the second rung, to which it came by hand alone."""
    done = {n: Progress(4, curve={2: 1.0 + n / 10, 4: 0.9 + n / 10}) for n in range(3)}
    done |= {3: trained(2, 1.3), 4: Progress(8, curve={2: 9.0, 4: 0.1, 8: 0.1})}
    without = targets(done | {4: trained(2, 9.0)}, [2, 4, 8], 5)
    assert without == {0: 8, 1: 8, 2: 4, 3: 2, 4: 2}
    assert targets(done, [2, 4, 8], 5, promoted={4: 2}) == without | {4: 8}
    assert targets(done, [2, 4, 8], 5) != without | {4: 8}


def test_a_promoted_trial_that_is_in_the_better_half_by_itself_has_its_place():
    done = {0: Progress(8, curve={2: 0.5, 4: 0.4, 8: 0.3}), 1: trained(2, 1.0), 2: trained(2, 1.2), 3: trained(2, 1.4)}
    assert targets(done, [2, 4, 8], 4, promoted={0: 2}) == {0: 8, 1: 4, 2: 2, 3: 2}


def test_one_that_had_passed_a_rung_before_it_was_promoted_still_counts_there():
    done = {0: Progress(8, curve={2: 1.0, 4: 0.9, 8: 0.8}), 1: trained(4, 0.5), 2: trained(4, 0.4), 3: trained(2, 0.6)}
    stopped = targets(done | {0: Progress(4, curve={2: 1.0, 4: 0.9})}, [2, 4, 8], 4)
    assert targets(done, [2, 4, 8], 4, promoted={0: 4}) == stopped | {0: 8}


def test_a_promoted_trial_that_diverged_leaves_the_better_half_as_large():
    done = {0: Progress(99, is_out=True, curve={1: 9.0, 2: 9.0}), 1: trained(2, 2.0), 2: trained(2, 2.1)}
    assert targets(done, [2, 4], 3, promoted={0: 2}) == {0: 4, 1: 4, 2: 4}
    done[0] = Progress(99, is_out=True, curve={2: 0.1})
    assert targets(done, [2, 4], 3, promoted={0: 2})[2] == 4


@pytest.mark.parametrize("trials", [3, 8, 20])
@pytest.mark.parametrize("seed", range(3))
def test_promotions_leave_what_becomes_of_all_other_trials_in_a_search_of_one_process(trials, seed):
    order = np.random.default_rng(seed)
    levels, quality = [2, 5, 10], {n: order.random() for n in range(trials)}

    def search(promoted):
        done, by_hand = {}, {}
        while left := [
            n
            for n, to in targets(done, levels, trials, promoted=by_hand).items()
            if n not in done or done[n].reached < to
        ]:
            number = left[0]
            to = targets(done, levels, trials, promoted=by_hand)[number]
            done[number] = Progress(to, curve={step: quality[number] + 1 / step for step in range(1, to + 1)})
            by_hand |= {n: done[n].reached for n in promoted if n in done and n not in by_hand}
        return {n: progress.reached for n, progress in done.items()}

    worst = max(quality, key=quality.get)
    assert search([]) | {worst: 10} == search([worst])


@pytest.mark.parametrize("trials", [1, 2, 3, 7, 8, 20])
@pytest.mark.parametrize("seed", range(3))
def test_a_search_ends_and_its_best_at_each_rung_is_trained_to_the_end(trials, seed):
    """Trials whose order never changes, done in any order: as one worker or many would do them."""
    order = np.random.default_rng(seed)
    levels, quality = [2, 5, 10], {n: order.random() for n in range(trials)}
    done, runs = {}, 0
    while left := [n for n, to in targets(done, levels, trials).items() if n not in done or done[n].reached < to]:
        number = int(order.choice(left))
        to = targets(done, levels, trials)[number]
        done[number] = Progress(to, curve={step: quality[number] + 1 / step for step in range(1, to + 1)})
        runs += 1
    assert done[min(quality, key=quality.get)].reached == 10
    assert runs >= sum(number for number, _ in attempts(trials, levels))


def test_attempts_say_how_many_trials_are_trained_from_rung_to_rung():
    assert attempts(8, [2, 5, 10]) == [(8, 2), (4, 3), (2, 5)]
    assert attempts(0, [2, 5, 10]) == [(0, 2), (0, 3), (0, 5)]


@pytest.mark.parametrize(("evaluation", "until"), [(8, 32), (9, 18), (5, 5), (8, 3)])
def test_the_gain_of_training_that_falls_with_the_square_root_is_exact(evaluation, until):
    trials = [Progress(9, False, {n: level + 0.7 / n**0.5 for n in range(1, 10)}) for level in (1.0, 2.0, 3.0)]
    gain = expected_gain(trials, evaluation)(until)
    assert gain == pytest.approx(0.7 / evaluation**0.5 - 0.7 / until**0.5, abs=1e-12)
    # The median over trials: one that has a plateau changes nothing.
    plateau = Progress(9, False, dict.fromkeys(range(1, 10), 1.0))
    assert expected_gain([*trials, trials[0], plateau], evaluation)(until) == pytest.approx(gain, abs=1e-12)


def test_no_gain_is_expected_where_nothing_is_known_of_it():
    curve = {1: 2.0, 2: 1.5}
    assert expected_gain([], 2)(4) == 0.0
    assert expected_gain([Progress(1, False, curve)], 1)(4) == 0.0
    # Never evaluated at the half.
    assert expected_gain([Progress(4, False, {4: 1.0})], 4)(8) == 0.0
    assert expected_gain([Progress(2, False, curve), Progress(4, False, {4: 1.0})], 2)(8) > 0
