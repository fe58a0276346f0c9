"""An n-gram model of sequences by interpolated counts: what a code takes that knows the last few symbols.

Notation: s is a symbol of 0..Q-1, c the m symbols before it, c' the last m - 1 of these; N(c, s) counts how often s
follows c in the training sequences, N(c) is its sum over s, and T(c) the number of different symbols that follow c.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[np.integer]
Codes = npt.NDArray[np.uint64]
ORDER = 5
"""n of the n-gram: a symbol and the four before it, as many as 250,000 symbols of text tell apart."""


def ngram_bits(test: Symbols, train: Symbols, levels: int, order: int = ORDER) -> npt.NDArray[np.float64]:
    """Bits of each test sequence (n,) under an n-gram with Witten and Bell's interpolation (1991, method C).

        P(s | c) = (N(c, s) + T(c)·P(s | c')) / (N(c) + T(c)),    P(s | no context) begins at 1/Q.

    It is a distribution over all sequences of a length: each begins without a context, as a window does for a model.

    Args:
        test: sequences (n, length) in 0..Q-1.
        train: as many as there are, of which the counts are taken.
        levels: Q.
        order: n, at most 8 with 256 symbols.

    Raises:
        ValueError: contexts are too many for 64 bits.
    """
    if levels**order > 2**64:
        raise ValueError(f"order={order} with {levels} symbols: at most {int(64 / np.log2(levels))} are accepted")
    p = np.full(test.shape, 1.0 / levels)
    for m in range(min(order, test.shape[1])):
        followed, own = _codes(train, m, levels), _codes(test, m, levels)
        pairs, n_pairs = np.unique(followed, return_counts=True)
        contexts, starts = np.unique(pairs // np.uint64(levels), return_index=True)
        kinds = np.diff(np.append(starts, len(pairs)))
        totals = np.add.reduceat(n_pairs, starts)
        context = own // np.uint64(levels)
        n, t = _found(context, contexts, totals), _found(context, contexts, kinds)
        known = n > 0
        interpolated = (_found(own, pairs, n_pairs) + t * p[:, m:]) / np.where(known, n + t, 1.0)
        p[:, m:] = np.where(known, interpolated, p[:, m:])
    return np.asarray(-np.log2(p).sum(axis=1))


def _codes(sequences: Symbols, m: int, levels: int) -> Codes:
    """Each symbol behind its m-th, with the m before it, as one number: (n, length - m)."""
    length = sequences.shape[1]
    codes = np.zeros((len(sequences), length - m), np.uint64)
    for before in range(m + 1):
        codes = codes * np.uint64(levels) + sequences[:, before : length - m + before].astype(np.uint64)
    return codes


def _found(wanted: Codes, keys: Codes, values: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """The value of each wanted key among the sorted ones, 0 where it is none of them."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0).astype(np.float64)
