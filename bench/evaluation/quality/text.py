"""Sample quality of text: how its short runs of symbols are distributed, and whether its long ones are copies.

Notation: an n-gram is a run of n symbols within a window; p and q are the shares of the n-grams among all of two sets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.core.blocks import independent
from bench.core.errors import SettingsError
from bench.core.metrics import COPIED_FLOOR, FLOOR_SUFFIX, SMALLEST_SET
from bench.core.results import Measurement
from bench.data.choice import fixed_choice
from bench.data.dataset import Images
from bench.evaluation.quality.estimate import Estimate, Mask
from bench.evaluation.quality.scores import LARGEST_FRECHET_SET, Quality

TRIGRAM = 3
LONG_RUN = 20
"""Symbols of a run that text does not repeat by chance, about four words of English."""
MOST_SYMBOLS = 2**23
"""Symbols of each set, at most, that are compared: some 40 bytes of memory each while they are sorted."""
_DIVERGENCES = ("trigram_divergence", f"trigram_divergence{FLOOR_SUFFIX}")
_COPIES = ("copied_share", COPIED_FLOOR)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Symbols = npt.NDArray[np.integer]
Codes = npt.NDArray[np.uint64]


def text_quality(samples: Images, held_out: Images, train: Images, levels: int, broken: Mask | None = None) -> Quality:
    """Compare samples of text with held-out windows and with the training text, each score beside that of real text.

    Args:
        samples: windows (m, 1, length, 1) in 0..levels-1 drawn from the model.
        held_out: windows that the model was not trained on.
        train: training windows, all of them.
        levels: the number of symbols.
        broken: which samples (m,) stand for some that are none. The divergence takes them as they are; copies are
            sought among the others, as noise would hide that these are copies.

    Raises:
        SettingsError: windows differ in length.
    """
    lines = [images.reshape(len(images), -1) for images in (samples, held_out, train)]
    if len({each.shape[1] for each in lines}) > 1:
        lengths = ", ".join(str(each.shape[1]) for each in lines)
        raise SettingsError(f"sample quality: windows of {lengths} symbols differ in length; one length is accepted")
    length = lines[0].shape[1]
    n = min(*map(len, lines), LARGEST_FRECHET_SET, max(SMALLEST_SET, MOST_SYMBOLS // length))
    if n < SMALLEST_SET:
        reason = f"needs at least {SMALLEST_SET} windows of each set, and there are {n}."
        return Quality([], dict.fromkeys((*_DIVERGENCES, *_COPIES), reason))
    drawn, own, real = (_some(each, n) for each in lines)
    divergences = (ngram_divergence(each, own, levels, min(TRIGRAM, length)) for each in (drawn, real))
    measured = [
        Measurement("quality", name, each.value, each.standard_error, n)
        for name, each in zip(_DIVERGENCES, divergences, strict=True)
    ]
    whole = drawn if broken is None else drawn[~_some(broken, n)]
    if len(whole) < SMALLEST_SET:
        reason = f"needs at least {SMALLEST_SET} samples that are whole, and of {n} samples {len(whole)} are."
        return Quality(measured, dict.fromkeys(_COPIES, reason))
    known, run = _some(lines[2], max(n, MOST_SYMBOLS // length)), min(LONG_RUN, length)
    conditions = f"runs of {run}, sought in {known.size:,} of {lines[2].size:,} training symbols"
    for name, windows in zip(_COPIES, (whole, own), strict=True):
        share = copied_share(windows, known, run)
        measured.append(
            Measurement("quality", name, share.value, share.standard_error, len(windows), conditions=conditions)
        )
    return Quality(measured, {})


def _some(windows: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """A :func:`fixed_choice` of them in their order, in which blocks of them are made."""
    return windows[np.sort(fixed_choice(np.arange(len(windows)), n))]


def ngram_divergence(x: Symbols, y: Symbols, levels: int, order: int = TRIGRAM) -> Estimate:
    """The Jensen-Shannon divergence in bits (Lin 1991) between the n-grams of windows x (n, length) and y (m, length).

        JS(p, q) = ½ Σ p log2(p / m) + ½ Σ q log2(q / m),    m = ½ (p + q)

    is 0 of equal shares and 1 of sets that have no n-gram in common. Its standard error is by the delta method over
    blocks of windows (:func:`bench.core.blocks.independent`), of whose n-grams the divergence has the derivatives
    ½ log2(p / m) and ½ log2(q / m).

    Raises:
        ValueError: n-grams are too many for 64 bits.
    """
    if levels**order > 2**64:
        raise ValueError(f"order={order} with {levels} symbols: at most {int(64 / np.log2(levels))} are accepted")
    of_x, of_y = (_codes(each, order, np.uint64(levels)) for each in (x, y))
    keys, inverse = np.unique(np.concatenate([of_x.reshape(-1), of_y.reshape(-1)]), return_inverse=True)
    places = np.split(inverse.reshape(-1), [of_x.size])
    shares = [np.bincount(place, minlength=len(keys)) / len(place) for place in places]
    middle = (shares[0] + shares[1]) / 2
    value, variance = 0.0, 0.0
    for place, share, codes in zip(places, shares, (of_x, of_y), strict=True):
        with np.errstate(divide="ignore"):
            logs = np.log2(share / middle)
        by_window = logs[place].reshape(codes.shape).mean(axis=1) / 2
        own = independent(by_window, "text")
        value += float(by_window.mean())
        variance += float(own.var(ddof=1)) / len(own)
    return Estimate(max(0.0, value), variance**0.5)


def copied_share(windows: Symbols, train: Symbols, run: int = LONG_RUN) -> Estimate:
    """The share of the runs of windows (n, length) that stand in one of the training windows, its error over blocks.

    Runs are compared by 64 bits of a polynomial hash: one that is not among m others is taken for one of them with a
    probability of about m/2⁶⁴, below 10⁻¹².
    """
    known = np.unique(_codes(train, run, _MULTIPLIER))
    wanted = _codes(windows, run, _MULTIPLIER)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    by_window = (known[place] == wanted).mean(axis=1)
    own = independent(by_window, "text")
    return Estimate(float(by_window.mean()), float(own.std(ddof=1) / len(own) ** 0.5))


def _codes(windows: Symbols, order: int, base: np.uint64) -> Codes:
    """Each run of so many symbols as one number in this base, modulo 2⁶⁴: (n, length - order + 1)."""
    length = windows.shape[1]
    codes = np.zeros((len(windows), length - order + 1), np.uint64)
    for place in range(order):
        # Of symbols from 1 on, as a leading 0 would not count.
        codes = codes * base + (windows[:, place : length - order + 1 + place].astype(np.uint64) + np.uint64(1))
    return codes
