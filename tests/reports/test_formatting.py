"""Numbers read well, and foreign text stays text."""

from __future__ import annotations

import numpy as np
import pytest

from reports import formatting
from reports.formatting import NO_BREAK


@pytest.mark.parametrize(
    ("value", "error", "unit", "shown"),
    [
        (1.97333, 0.00882, "bits/dim", "1.9733 ± 0.0088 bits/dim"),
        (1.97333, None, "", "1.97"),
        (12_345.0, 210.0, "images/s", "12.35 ± 0.21 k images/s"),
        (1_254_112, None, "", "1.25 M"),
        (812e6, None, "bytes", "812 MB"),
        (3.2e9, None, "bytes", "3.20 GB"),
        (42.13, None, "s", "42.1 s"),
        (0.00161, 0.00016, "s", "1.61 ± 0.16 ms"),
        (300.0, 12.0, "s", "5.00 ± 0.20 min"),
        (9000.0, None, "s", "2.50 h"),
        (0.00021, 0.00004, "MMD²", "2.10 ± 0.40 × 10⁻⁴ MMD²"),
        (-0.00021, None, "MMD²", "−2.10 × 10⁻⁴ MMD²"),
        (0.0, None, "", "0"),
        (3.0, 0.0, "", "3.00"),
        (50.0, None, "", "50"),
        (1.5, float("nan"), "", "1.50"),
        (float("nan"), 0.1, "s", "–"),
        (None, None, "s", "–"),
        (float("-inf"), None, "", "−∞"),
    ],
)
def test_quantity(value, error, unit, shown):
    assert formatting.quantity(value, error, unit).replace(NO_BREAK, " ") == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (16.0, "16"),
        (np.int64(3), "3"),
        (0.00470781234, "0.00470781"),
        (True, "True"),
        (np.bool_(False), "False"),
        (None, "–"),
        (np.nan, "–"),
        (float("inf"), "inf"),
        ((8, 8, 1), "8 × 8 × 1"),
        (10**20, "100000000000000000000"),
        ("", "–"),
    ],
)
def test_plain(value, shown):
    assert formatting.plain(value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("# no heading", "\\# no heading"),
        ("- no item", "\\- no item"),
        ("1. no item", "1\\. no item"),
        ("---", "\\---"),
        ("two\nlines", "two lines"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("\u202eabc", "\\\\u202eabc"),
        ("12.5 and -3", "12.5 and -3"),
    ],
)
def test_markdown(text, shown):
    assert formatting.markdown(text) == shown


def test_fence_is_longer_than_what_it_holds():
    assert formatting.fence("a ```` b").splitlines()[0] == "`````text"


def test_visible_keeps_what_writing_systems_need():
    assert formatting.visible("שלום 😀 naïve\n\ttab") == "שלום 😀 naïve\n\ttab"
    assert formatting.visible("\ud800\x07\u2066") == "\\ud800\\u0007\\u2066"


def test_ratio_has_two_digits():
    assert [formatting.ratio(x) for x in (5.2345, 0.0461, 120.0, 0.0)] == ["5.2×", "0.046×", "120×", "–"]


@pytest.mark.parametrize(("value", "text"), [(0.00274813, "0.00275"), (16.0, "16"), (3, "3"), ("logit", "logit")])
def test_values_within_a_sentence_are_short(value, text):
    assert formatting.short(value) == text
