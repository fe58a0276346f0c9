"""What existed before a study is not visited by the garbage collector while it runs, and is afterwards."""

import gc
import weakref

from bench.runtime.garbage import existing_objects_uncollected


class Cycle:
    def __init__(self):
        self.itself = self


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
