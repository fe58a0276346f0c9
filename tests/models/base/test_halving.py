import pytest

from models.base.halving import check_halvings, halved


def test_odd_sizes_are_halved_upwards():
    assert [halved((7, 5), times) for times in range(4)] == [(7, 5), (4, 3), (2, 2), (1, 1)]


def test_images_are_not_halved_below_one_pixel():
    check_halvings(3, (8, 9, 1))
    with pytest.raises(ValueError, match="downsamplings=4 halves 8x9 images below one pixel: at most 3"):
        check_halvings(4, (8, 9, 1))
