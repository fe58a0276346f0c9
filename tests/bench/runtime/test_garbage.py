"""What existed before a study is not visited by the garbage collector while it runs, and is afterwards."""

import gc
import weakref

import pytest

from bench.runtime.garbage import existing_objects_uncollected


class Cycle:
    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def _unfrozen():
    """The tests' own conftest keeps objects from the collector."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_garbage_of_before_is_kept_and_that_of_the_block_collected_and_all_of_it_after():
    earlier = Cycle()
    before = weakref.ref(earlier)
    with existing_objects_uncollected():
        del earlier
        within = weakref.ref(Cycle())
        gc.collect()
        assert before() is not None
        assert within() is None
    gc.collect()
    assert before() is None


def test_a_block_in_a_block_leaves_it_to_the_outer_one():
    with existing_objects_uncollected():
        frozen = gc.get_freeze_count()
        with existing_objects_uncollected():
            assert gc.get_freeze_count() == frozen
        assert gc.get_freeze_count() == frozen > 0
    assert gc.get_freeze_count() == 0


def test_after_an_error_nothing_is_kept_from_the_collector():
    with pytest.raises(ValueError, match="mine"), existing_objects_uncollected():
        raise ValueError("mine")
    assert gc.get_freeze_count() == 0
