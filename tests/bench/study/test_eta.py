"""Predictions of remaining time, on a clock that the tests move."""

from __future__ import annotations

import pytest

from bench.study.eta import Eta, Expected, TimeLeft


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_without_a_finished_unit_there_is_no_prediction(clock):
    assert Eta({"first": Expected(1), "later": Expected(9)}, clock).seconds() is None


def test_the_first_unit_predicts_the_others_until_one_of_these_is_measured(clock):
    """30 s with compilation, then 2 s each."""
    eta = Eta({"first": Expected(1), "later": Expected(9)}, clock)
    clock.now = 30.0
    eta.finish("first")
    assert eta.seconds() == 9 * 30
    for clock.now in (32.0, 34.0):
        eta.finish("later")
    assert eta.seconds() == 14.0
    clock.now = 40.0
    assert eta.seconds() == 8.0
    clock.now = 99.0
    assert eta.seconds() == 0.0


def test_units_may_finish_many_at_a_time(clock):
    eta = Eta({"first": Expected(25), "later": Expected(75)}, clock)
    clock.now = 5.0
    eta.finish("first", 25)
    assert eta.seconds() == 15.0
    clock.now = 7.0
    eta.finish("later", 50)
    assert eta.seconds() == 1.0


def test_nothing_is_left_of_finished_work(clock):
    eta = Eta({"first": Expected(1), "later": Expected(1)}, clock)
    for kind in ("first", "later"):
        clock.now += 3.0
        eta.finish(kind)
    assert eta.seconds() == 0.0


@pytest.fixture
def study(clock: Clock) -> Eta:
    """Two VAE trials, two Glow trials that are expected to take ten times as long, a final run of each."""
    expected = {
        "vae search": Expected(2, 1.0),
        "glow search": Expected(2, 10.0),
        "vae final": Expected(1, 3.0),
        "glow final": Expected(1, 30.0),
    }
    return Eta(expected, clock)


def test_a_study_predicts_nothing_before_a_run_has_ended(study):
    assert study.seconds() is None


def test_kinds_still_to_come_are_scaled_by_how_far_the_finished_ones_missed_what_was_expected(study, clock):
    clock.now = 2.0
    study.finish("vae search")
    # Twice what was expected: 1 trial of 2 s, 2 of 20 s, finals of 6 s and 60 s.
    assert study.seconds() == 2 + 40 + 6 + 60


def test_kinds_that_were_measured_take_what_they_took_on_average_and_the_prediction_counts_down(study, clock):
    for seconds in (2.0, 4.0):
        clock.now += seconds
        study.finish("vae search")
    clock.now += 9.0
    study.finish("glow search")
    # 15 s where 12 s were expected.
    assert study.seconds() == 9 + 1.25 * (3 + 30)
    clock.now += 5.0
    assert study.seconds() == 4 + 1.25 * 33
    clock.now += 100.0
    assert study.seconds() == 0.0


def test_runs_in_parallel_take_the_time_between_two_ends(study, clock):
    """Two workers: a trial of 4 s ends every 2 s."""
    for _ in range(2):
        clock.now += 2.0
        study.finish("vae search")
    assert study.seconds() == 2.0 * (2 * 10 + 3 + 30)


def test_runs_of_an_earlier_process_are_neither_left_nor_measured(study, clock):
    study.finish("vae search", 2, timed=False)
    study.finish("glow search", 1, timed=False)
    assert study.seconds() is None
    clock.now = 10.0
    study.finish("glow search")
    assert study.seconds() == 3 + 30


def test_a_time_is_counted_down_whatever_is_finished(clock):
    eta = TimeLeft(10.0, clock)
    assert eta.seconds() == 10.0
    clock.now += 4.0
    eta.finish("vae search")
    assert eta.seconds() == 6.0
    eta.shorten(2.0)
    assert eta.seconds() == 4.0
    clock.now += 40.0
    assert eta.seconds() == 0.0
