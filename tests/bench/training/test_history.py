"""The times of a training, in one process or over several."""

import pytest

from bench.core.results import EvaluationRecord
from bench.training.history import TrainingLog


def log_of(interval_seconds, **others):
    records = [EvaluationRecord(i + 1, 10, 1.5 * (i + 1), {}) for i in range(len(interval_seconds))]
    return TrainingLog(records, interval_seconds, 60, **others)


def test_the_first_evaluation_which_compiles_is_no_part_of_the_speed():
    log = log_of([5.0, 2.0, 1.0, 3.0])
    assert log.images_per_second().tolist() == [30.0, 60.0, 20.0]
    assert log.compile_seconds == 3.0
    assert log.seconds == 6.0


def test_no_more_is_the_first_evaluation_of_a_process_that_continued():
    log = log_of([5.0, 2.0, 7.0, 3.0], starts=[0, 2])
    assert log.images_per_second().tolist() == [30.0, 20.0]
    assert log.compile_seconds == 2.5


@pytest.mark.parametrize(("seconds", "starts"), [([4.0], [0]), ([4.0, 6.0], [0, 1])])
def test_where_every_evaluation_compiled_their_speed_is_what_there_is(seconds, starts):
    log = log_of(seconds, starts=starts)
    assert log.images_per_second().tolist() == [60 / each for each in seconds]
    assert log.compile_seconds == 0.0


def test_a_process_that_continues_begins_where_the_log_ends():
    log = log_of([5.0, 2.0])
    assert not log.was_continued
    continued = log.continued()
    assert continued.was_continued
    assert continued.starts == [0, 2]
    assert continued.records == log.records
    assert continued.seconds == log.seconds


def test_an_interval_with_rescues_is_no_part_of_the_speed():
    log = log_of([5.0, 2.0, 1.0, 3.0])
    assert log.rescues == 0
    for record, times in zip(log.records, (0, 0, 2, 2), strict=True):
        record.values["train/rescues"] = times
    assert log.rescues == 2
    assert log.images_per_second().tolist() == [30.0, 20.0]


def test_what_a_rescue_repeated_in_the_first_interval_is_not_taken_for_compilation():
    log = log_of([5.0, 2.0, 1.0, 3.0])
    for record in log.records:
        record.values["train/rescues"] = 1
    assert log.compile_seconds == 0.0


def test_before_the_first_look_no_time_has_passed():
    assert log_of([]).seconds == 0.0
    assert log_of([]).rescues == 0
