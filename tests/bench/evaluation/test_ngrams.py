"""An n-gram is a distribution over sequences, and the one that its formula says."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from bench.data.registry import load
from bench.evaluation.ngrams import ngram_bits
from bench.evaluation.reference_codes import measure_reference_codes

ALL = np.array(list(itertools.product(range(3), repeat=4)))
TRAIN = np.random.RandomState(0).randint(0, 3, (5, 4)) // 2 * 2


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_it_sums_to_1_over_all_sequences(order):
    assert np.exp2(-ngram_bits(ALL, TRAIN, 3, order)).sum() == pytest.approx(1, abs=1e-12)


def by_its_formula(sequence, train, levels, order):
    """Bits of a sequence, from counts of strings."""

    def p(context, symbol):
        shorter = p(context[1:], symbol) if context else 1 / levels
        followers = Counter(
            text[i + len(context)]
            for text in train
            for i in range(len(text) - len(context))
            if text[i : i + len(context)] == context
        )
        if not followers:
            return shorter
        return (followers[symbol] + len(followers) * shorter) / (followers.total() + len(followers))

    parts = [p(sequence[max(0, i - order + 1) : i], symbol) for i, symbol in enumerate(sequence)]
    return -sum(map(math.log2, parts))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_witten_and_bell_s(order):
    random = np.random.RandomState(1)
    train, test = random.randint(0, 4, (30, 9)), random.randint(0, 5, (6, 9))
    train[:, 1::2] = train[:, ::2][:, : train[:, 1::2].shape[1]]
    expected = [by_its_formula(tuple(each), [tuple(line) for line in train], 5, order) for each in test]
    np.testing.assert_allclose(ngram_bits(test, train, 5, order), expected, rtol=1e-12)


def test_contexts_that_no_number_holds_are_refused():
    with pytest.raises(ValueError, match=r"order=9 with 256 symbols: at most 8"):
        ngram_bits(ALL, TRAIN, 256, 9)


def test_on_prose_it_takes_less_than_half_of_a_histogram_and_a_text_is_written_to_no_picture_format():
    text = load("python_topics")
    found = measure_reference_codes(text.open_test().images, text.tuning.train.images, text.info.grey_levels, "text")
    value = {each.metric: each.value for each in found.measured}
    assert set(value) == {"code_uniform", "code_pixel_histogram", "code_xz", "code_bzip2", "code_ngram"}
    assert found.unavailable == {}
    assert 0.4 * value["code_pixel_histogram"] < value["code_ngram"] < 0.5 * value["code_pixel_histogram"]
    assert value["code_bzip2"] < value["code_xz"] < value["code_pixel_histogram"]
