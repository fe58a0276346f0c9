"""Predictions of remaining time, on a clock that the tests move."""

from __future__ import annotations

import pytest

from bench.study.eta import ExpectedRuns, Pace, StudyEta


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_pace_without_any_sign_predicts_nothing(clock):
    assert Pace(10, clock).remaining() is None


def test_the_first_sign_predicts_from_all_the_time_so_far(clock):
    pace = Pace(10, clock)
    clock.now = 5.0
    pace.at(1)
    assert pace.remaining() == 45.0


def test_from_the_second_sign_on_the_time_before_the_first_is_left_out(clock):
    """30 s of compilation and a first epoch, then 2 s an epoch."""
    pace = Pace(10, clock)
    for now, done in ((30.0, 1), (32.0, 2), (34.0, 3)):
        clock.now = now
        pace.at(done)
    assert pace.remaining() == 14.0
    clock.now = 40.0
    assert pace.remaining() == 8.0
    clock.now = 99.0
    assert pace.remaining() == 0.0


def test_a_pace_of_work_that_is_done_is_nothing_left(clock):
    pace = Pace(2, clock)
    for done in (1, 2):
        clock.now += 3.0
        pace.at(done)
    assert pace.remaining() == 0.0


@pytest.fixture
def study(clock: Clock) -> StudyEta:
    """Two VAE trials, two Glow trials that are expected to take ten times as long, a final run of each."""
    expected = {
        "vae search": ExpectedRuns(2, 1.0),
        "glow search": ExpectedRuns(2, 10.0),
        "vae final": ExpectedRuns(1, 3.0),
        "glow final": ExpectedRuns(1, 30.0),
    }
    return StudyEta(expected, clock)


def test_a_study_predicts_nothing_before_a_run_has_ended(study):
    study.begin("vae search")
    assert study.seconds() is None


def test_kinds_still_to_come_are_scaled_by_how_far_the_finished_ones_missed_what_was_expected(study, clock):
    study.begin("vae search")
    clock.now = 2.0
    study.end()
    # Twice what was expected: 1 trial of 2 s, 2 of 20 s, finals of 6 s and 60 s.
    assert study.seconds() == 2 + 40 + 6 + 60


def test_kinds_that_were_measured_take_what_they_took_on_average_and_the_current_run_counts_down(study, clock):
    for seconds in (2.0, 4.0):
        study.begin("vae search")
        clock.now += seconds
        study.end()
    study.begin("glow search")
    clock.now += 9.0
    study.end()
    # 15 s where 12 s were expected.
    assert study.seconds() == 9 + 1.25 * (3 + 30)
    study.begin("glow search")
    clock.now += 5.0
    assert study.seconds() == 4 + 1.25 * 33
    clock.now += 100.0
    assert study.seconds() == 1.25 * 33


def test_runs_of_an_earlier_process_are_neither_left_nor_measured(study, clock):
    study.skip("vae search", 2)
    study.skip("glow search", 1)
    assert study.seconds() is None
    study.begin("glow search")
    clock.now = 10.0
    study.end()
    assert study.seconds() == 3 + 30
