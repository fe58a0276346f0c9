import pytest

from bench.study.config import TrainingConfig
from bench.training.early_stopping import REDUCTIONS, decide

PLATEAU = TrainingConfig(decay="plateau", patience=2)


def test_before_the_first_evaluation_there_is_no_best():
    found = decide([], PLATEAU)
    assert (found.best, found.reductions, found.lowers_rate, found.stops) == (None, 0, False, False)


@pytest.mark.parametrize(("values", "best"), [([3, 2, 1], 2), ([3, 1, 2], 1), ([1, 1, 1], 0), ([2, 3, 1, 1.5], 2)])
def test_the_best_is_the_first_of_the_lowest(values, best):
    assert decide(values, TrainingConfig()).best == best


def test_without_patience_training_goes_to_its_end():
    assert not decide([1.0, *[2.0] * 100], TrainingConfig()).stops


@pytest.mark.parametrize("decay", ["constant", "cosine", "staged"])
def test_patience_ends_training_where_no_rate_is_lowered(decay):
    config = TrainingConfig(decay=decay, patience=3)
    over = [decide([3.0, 2.0, 2.5, 2.4, 2.3][:n], config).stops for n in range(1, 6)]
    assert over == [False, False, False, False, True]
    assert not decide([3.0, 2.0, 2.5, 2.4, 1.9], config).stops


def test_a_plateau_lowers_the_rate_a_few_times_and_then_ends():
    values = [1.0, *[2.0] * (2 * (REDUCTIONS + 1))]
    states = [decide(values[:n], PLATEAU) for n in range(1, len(values) + 1)]
    assert [state.lowers_rate for state in states] == [False, *[False, True] * REDUCTIONS, False, False]
    assert [state.stops for state in states] == [*[False] * (len(values) - 1), True]
    assert states[-1].reductions == REDUCTIONS


def test_a_gain_too_small_to_matter_is_kept_but_buys_no_patience():
    found = decide([1.0, 1.0 - 1e-6, 1.0 - 2e-6], PLATEAU)
    assert found.best == 2
    assert found.lowers_rate


def test_a_new_best_buys_patience_again():
    assert decide([3.0, 3.1, 2.0, 2.1], PLATEAU).reductions == 0
    assert decide([3.0, 3.1, 3.2, 2.0, 2.1], PLATEAU).reductions == 1
