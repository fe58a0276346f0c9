"""On texts that everybody has, the reference codes come to what is published of them.

The texts are four of the Canterbury corpus (Arnold & Bell 1997), in Keras's cache as ``canterbury/alice29.txt`` and so
on; its published table has bits per character of ``bzip2 -9``. Without them nothing is tested.
"""

from __future__ import annotations

import bz2

import numpy as np
import pytest

from bench.data.cache import cache_folder
from bench.evaluation.ngrams import ngram_bits
from bench.evaluation.reference_codes import measure_reference_codes

BITS = {"alice29": 2.27, "asyoulik": 2.53, "lcet10": 2.02, "plrabn12": 2.42}
WITTEN_BELL = 2.0387
"""NLTK's ``WittenBellInterpolated(5)`` of the first 40 windows of 64 characters of alice29's last tenth, given those of
the other nine: bits a character."""


def text(name: str) -> bytes:
    file = cache_folder() / "canterbury" / f"{name}.txt"
    if not file.exists():
        pytest.skip(f"the Canterbury corpus is not at {file.parent}")
    return file.read_bytes()


@pytest.mark.parametrize("name", BITS)
def test_bzip2_takes_the_published_bits(name):
    content = text(name)
    assert 8 * len(bz2.compress(content)) / len(content) == pytest.approx(BITS[name], abs=0.005)
    # The reference code sees windows in a row, which here are the whole text but its end.
    windows = np.frombuffer(content, np.uint8)[: len(content) // 64 * 64].reshape(-1, 1, 64, 1)
    known = {each.metric: each.value for each in measure_reference_codes(windows, windows[:10], 256, "text").measured}
    assert known["code_bzip2"] == pytest.approx(BITS[name], abs=0.006)


def test_the_5_gram_takes_the_bits_of_another_package():
    content = np.frombuffer(text("alice29"), np.uint8)
    symbols, codes = np.unique(content, return_inverse=True)
    cut = int(0.9 * len(codes))
    train, test = (part[: len(part) // 64 * 64].reshape(-1, 64) for part in (codes[:cut], codes[cut:]))
    assert ngram_bits(test[:40], train, len(symbols), 5).mean() / 64 == pytest.approx(WITTEN_BELL, abs=1e-4)
