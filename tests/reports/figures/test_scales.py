"""The ticks of an axis: round, distinct, apart from each other, and enough of them to read between."""

from __future__ import annotations

import re

import numpy as np
import pytest

from reports.figures.grammar import Axis, Figure, Line, Panel, Points, Rule
from reports.figures.scales import labels, scales

SUFFIXES = {"k": 1e3, "M": 1e6}
DIGITS = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")


def value_of(label):
    """The number that a reader takes a label for."""
    text = label.replace(",", "")
    if found := re.fullmatch(r"(?:(.+)·)?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text):
        return float((found[1] or "1").translate(DIGITS)) * 10.0 ** float(found[2].translate(DIGITS))
    text, _, suffix = text.translate(DIGITS).partition(" ")
    return float(text) * SUFFIXES.get(suffix, 1.0)


def seen(low, high, scale="linear", **known):
    """The horizontal and the vertical scale of a panel whose axes both end there."""
    axis = Axis("a", scale=scale, limits=(low, high), **known)
    (both,) = scales(Figure("f", [Panel(axis, axis, [])]))
    return both


RANGES = [
    *((3e4, 5.2e4), (3.8e4, 4.2e5), (53, 64), (62, 65.5), (1.9, 2.2), (0.9, 130), (80, 700), (12, 19), (7, 7.2)),
    *((1e-4, 1e-1), (2e-4, 9e-4), (1e-7, 1e4), (1.2345e-4, 1.2346e-4), (1e6, 1.00001e6), (5e8, 5e10), (1e-12, 1e12)),
    *(
        (np.exp(low), np.exp(low + width))
        for low, width in np.random.default_rng(0).uniform([-9, 0.01], [12, 9], (40, 2))
    ),
]


@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
@pytest.mark.parametrize("ends", RANGES, ids=lambda ends: f"{ends[0]:.4g}-{ends[1]:.4g}")
def test_every_axis_has_ticks_that_can_be_read(ends, scale):
    for axis in seen(*ends, scale):
        places, texts = zip(*axis.ticks, strict=True)
        assert 2 <= len(places) <= 7
        assert list(places) == sorted(places)
        assert -1e-5 <= axis.place(places[0]) < axis.place(places[-1]) <= 1 + 1e-5
        assert len(set(texts)) == len(texts)
        # A label is the whole number at its place, to a twentieth of the distance to its neighbour at least.
        nearest = np.min(np.abs(np.subtract.outer(places, places)) + np.diag(np.full(len(places), np.inf)), axis=0)
        assert np.all(np.abs(np.array([value_of(text) for text in texts]) - places) <= 0.05 * nearest)


def test_labels_that_were_seen_to_mislead():
    def texts(*arguments):
        return [label for _, label in seen(*arguments)[0].ticks]

    assert texts(2.9e4, 5.2e4, "log") == ["30 k", "35 k", "40 k", "45 k", "50 k"]
    assert texts(3.8e4, 4.2e5, "log") == ["50 k", "100 k", "200 k"]
    assert texts(1, 256, "log2") == ["1", "4", "16", "64", "256"]
    assert texts(1, 4096, "log2") == ["1", "8", "64", "512", "4,096"]
    assert texts(1.84, 2.11) == ["1.85", "1.90", "1.95", "2.00", "2.05", "2.10"]
    assert labels([1e6, 1e6 + 2]) == ["1,000,000", "1,000,002"]
    assert labels([]) == []


def test_numbers_that_would_touch_give_way_to_round_ones():
    swept = [(value, f"{value:g}") for value in (5, 8, 9, 16, 53, 55)]
    across, _ = seen(4, 60, "log", ticks=swept)
    assert [label for _, label in across.ticks] == ["5", "10", "20", "30", "50"]
    few = [(value, f"{value:g}") for value in (2, 4, 8, 16, 32)]
    assert seen(1.8, 36, "log", ticks=few)[0].ticks == tuple(few)


@pytest.mark.parametrize(
    "names",
    [
        ["uniform", "variational"],
        ["convolutional", "dense", "residual network", "transformer"],
        ["a network that is far too long for its place", "a network that is far too long for any place"] * 2,
        [f"activation {i}" for i in range(9)],
    ],
    ids=len,
)
def test_every_name_has_a_label_of_its_own(names):
    names = list(dict.fromkeys(names))
    axis = Axis("network", ticks=list(enumerate(names)), named=True)
    ((across, upright),) = scales(Figure("f", [Panel(axis, axis, [Points([0.0], [0.0])])]))
    for scale in (across, upright):
        assert [place for place, _ in scale.ticks] == list(range(len(names)))
        assert len({label for _, label in scale.ticks}) == len(names)
        assert (scale.low, scale.high) == (-0.5, len(names) - 0.5)
    assert all(len(line) <= 18 for _, label in upright.ticks for line in label.split("\n"))


def test_an_axis_ends_beyond_all_that_is_drawn():
    layers = [Line([1, 2, 5], [1.0, np.nan, 3.0], [0.5, np.nan, 1.0]), Rule(7.0), Rule(-2.0, across="y")]
    ((x, y),) = scales(Figure("f", [Panel(Axis("x"), Axis("y"), layers)]))
    assert (x.low, x.high) == pytest.approx((0.7, 7.3))
    assert (y.low, y.high) == pytest.approx((-2.3, 4.3))
    ((_, log),) = scales(Figure("f", [Panel(Axis("x"), Axis("y", scale="log"), layers)]))
    assert log.low == pytest.approx(0.5 / 8**0.05)
    above = Panel(Axis(shown=False), Axis(shown=False), [Points([20.0], [0.5])])
    shared = scales(Figure("f", [above, Panel(Axis("x"), Axis("y"), layers)], one_x=True))
    assert shared[0][0].high == shared[1][0].high > 20
    assert shared[0][0].ticks == ()


@pytest.mark.parametrize(("scale", "whole"), [("linear", False), ("linear", True), ("log", False), ("log", True)])
@pytest.mark.parametrize("value", [1.0, 8.0, 3e4])
def test_a_single_place_has_an_axis_too(scale, whole, value):
    axis = Axis("x", scale=scale, whole=whole)
    ((x, _),) = scales(Figure("f", [Panel(axis, Axis("y"), [Points([value], [2.0])])]))
    assert x.low < value < x.high
    assert len(x.ticks) >= 2
    assert not whole or all(place % 1 == 0 for place, _ in x.ticks)


@pytest.mark.parametrize("scale", ["linear", "log", "log2"])
def test_an_axis_without_a_place_has_a_title_and_no_ticks(scale):
    axis = Axis("x", scale=scale)
    for layers in ([], [Points([], []), Points([np.nan], [np.inf])]):
        for seen in scales(Figure("f", [Panel(axis, axis, layers)]))[0]:
            assert seen.ticks == ()
            assert seen.title == "x"
            assert seen.low < seen.high


def test_an_axis_without_a_place_has_the_ticks_of_its_limits_or_names():
    ((x, y),) = scales(Figure("f", [Panel(Axis(limits=(0, 5)), Axis(ticks=[(1, "a"), (2, "b")], named=True), [])]))
    assert len(x.ticks) >= 2
    assert [label for _, label in y.ticks] == ["a", "b"]


def test_panels_side_by_side_leave_the_same_room_for_names():
    """Below each other, panels begin where the longest name ends."""
    named = Axis(ticks=[(1, "a name of eighteen"), (2, "b")], named=True)
    across = Axis(limits=(0.0, 1.0), ticks=[(i / 6, f"{i / 6:.3f}") for i in range(7)])
    short = Axis(ticks=[(1, "c")], named=True)
    panels = [Panel(across, named, []), Panel(across, short, [])]
    (first, _), (second, _) = scales(Figure("f", panels))
    assert first.ticks == second.ticks


def test_limits_are_checked():
    with pytest.raises(ValueError, match="limits 0 and 1 of 'size': two numbers above 0, the lower one first"):
        Axis("size", scale="log", limits=(0.0, 1.0))
    for limits in ((2.0, 1.0), (1.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="two finite numbers, the lower one first"):
            Axis("size", limits=limits)
