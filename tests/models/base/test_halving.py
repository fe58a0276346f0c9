import pytest

from models.base.halving import check_halvings, halved
from models.base.window import pair, window


def test_odd_sizes_are_halved_upwards():
    assert [halved((7, 5), times) for times in range(4)] == [(7, 5), (4, 3), (2, 2), (1, 1)]


def test_of_a_line_the_length_alone_is_halved():
    assert [halved((1, 5), times) for times in range(4)] == [(1, 5), (1, 3), (1, 2), (1, 1)]
    check_halvings(3, (1, 9, 1))
    with pytest.raises(ValueError, match="downsamplings=4 halves 1x9 images below one pixel: at most 3"):
        check_halvings(4, (1, 9, 1))


def test_a_window_is_a_square_and_of_lines_a_single_row():
    assert (window(3, (2, 8, 1)), window(3, (1, 8, 1)), window(1, (1, 8, 1))) == ((3, 3), (1, 3), (1, 1))
    assert (pair(2), pair((1, 2))) == ((2, 2), (1, 2))


def test_images_are_not_halved_below_one_pixel():
    check_halvings(3, (8, 9, 1))
    with pytest.raises(ValueError, match="downsamplings=4 halves 8x9 images below one pixel: at most 3"):
        check_halvings(4, (8, 9, 1))
