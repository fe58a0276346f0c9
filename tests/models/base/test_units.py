import numpy as np
import pytest

from models.base.units import bits_per_dim


def test_a_fair_coin_per_dimension_is_one_bit():
    assert bits_per_dim(12 * np.log(0.5), 12) == pytest.approx(1, rel=1e-14)


def test_lower_log_probability_is_more_bits():
    assert bits_per_dim(-20.0, 3) > bits_per_dim(-10.0, 3) > 0
