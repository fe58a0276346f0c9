"""Practical size in words: probabilities, and what the region of equivalence is as file size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reports import formatting
from reports.analysis.practical import PracticalSize, RegionSize, Verdict, practical_size, practical_sizes, region_size
from reports.formatting import count, quantity
from reports.text.table import Cell, Table

if TYPE_CHECKING:
    from reports.analysis.practical import Probabilities
    from reports.analysis.results import Study
    from reports.analysis.won_images import Win

VERDICTS = {
    Verdict.BETTER: "first better",
    Verdict.EQUAL: "equal",
    Verdict.WORSE: "second better",
    Verdict.OPEN: "open",
}


def region(study: Study) -> str:
    """The region of equivalence with its unit."""
    return f"{study.results.equivalence:g} bits/dim"


def sentence(study: Study, low: str, high: str) -> list[str]:
    """How probably the arm with the lower mean is better than another in practice; empty where that is not known.

    Args:
        study: the study.
        low: the arm with the lower mean test bits/dim.
        high: the other.
    """
    found, known, by = practical_size(study, low, high).probabilities, region_size(study), region(study)
    if found is None:
        return []
    names = study.title(low), study.title(high)
    if known:
        size = quantity(known.all_bytes, None, "bytes")
        by = f"{by}, {size} over {count(known.images, 'test image')}"
    better, equal, worse = map(formatting.equals_chance, (found.better, found.equal, found.worse))
    said = {
        Verdict.BETTER: f"In practice {names[0]} is better (P {better} by more than {by}).",
        Verdict.EQUAL: f"Practically equal (P {equal} within {by}).",
        Verdict.WORSE: f"In practice {names[1]} is better (P {worse} by more than {by}).",
        Verdict.OPEN: f"Whether the difference matters in practice is open (P {formatting.equals_chance(found.equal)} "
        f"within {by}).",
    }
    return [said[found.verdict]]


def ground(study: Study, low: str, high: str) -> str:
    """All three probabilities and what the region is as file size, or why they are not known."""
    size, known = practical_size(study, low, high), region_size(study)
    if size.probabilities is None:
        return f"How probably the difference is more than {region(study)} is not known: {size.reason}."
    names = study.title(low), study.title(high)
    meaning = f"{_meaning(known)}." if known else ""
    return " ".join(filter(None, [f"{chances(size.probabilities, region(study), *names)}.", meaning]))


def chances(found: Probabilities, by: str, first: str, second: str) -> str:
    """The three probabilities, such as ``P(Glow better than VAE by more than 0.01 bits/dim) = 0.998``."""
    better, equal, worse = map(formatting.equals_chance, (found.better, found.equal, found.worse))
    return (
        f"P({first} better than {second} by more than {by}) {better}, P(practically equal) {equal}, "
        f"P({second} better by more) {worse}"
    )


def _meaning(known: RegionSize) -> str:
    """What the region is as file size."""
    nats = "" if known.nats is None else f"{quantity(known.nats)} nats or "
    percent = quantity(100 * known.share)
    return (
        f"{known.bits_per_dim:g} bits/dim are {nats}{quantity(known.image_bytes, None, 'bytes')} an image, "
        f"{quantity(known.all_bytes, None, 'bytes')} over {count(known.images, 'test image')}, {percent}% of the "
        "lowest mean"
    )


def table(study: Study) -> Table:
    """The probabilities of every pair of arms, the one with the lower mean first."""
    rows = [_row(study, size) for size in practical_sizes(study)]
    by = region(study)
    columns = ["First and second", f"P(first better by more than {by})", "P(practically equal)"]
    columns += ["P(second better by more)", "In practice", "Difference, first less second"]
    return Table(f"Practical size: are two arms further apart than {by}?", columns, rows)


def _row(study: Study, size: PracticalSize) -> list[Cell]:
    head = Cell(f"{study.title(size.first)} and {study.title(size.second)}")
    found = size.probabilities
    if found is None:
        return [head, *[Cell(formatting.MISSING)] * 3, Cell("not known", [size.reason]), _difference(size)]
    values = [Cell(formatting.chance(p), order=p) for p in (found.better, found.equal, found.worse)]
    return [head, *values, Cell(VERDICTS[found.verdict]), _difference(size)]


def _difference(size: PracticalSize) -> Cell:
    if size.interval is None:
        return Cell(formatting.MISSING)
    value, low, high = formatting.difference(size.interval.value, size.interval.low, size.interval.high)
    covers = [name for name in ("seeds", "images") if getattr(size.interval, f"over_{name}")]
    return Cell(value, [f"95% interval {low} to {high} over {formatting.listing(covers)}"])


def won(study: Study, win: Win) -> str:
    """On how many images an arm is better than another."""
    better, other = study.title(win.winner), study.title(win.loser)
    if not win.won:
        return f"{better} is better than {other} on none of {count(win.measured, 'test image')}"
    count_of = f"{win.won:,} of {count(win.measured, 'test image')} ({quantity(100 * win.won / win.measured)}%)"
    return f"{better} is better than {other} on {count_of}, by more than {region(study)} on {win.clearly:,} of them"


def won_labels(win: Win) -> tuple[str, ...]:
    """By how many bits/dim the winner lies below the loser on each of its clearest images, all with as many digits."""
    decimals = min(4, max(2, 1 - math.floor(math.log10(win.bits[-1])))) if win.bits else 0
    return tuple("< 0.0001" if bits < 0.5e-4 else formatting.number(bits, decimals) for bits in win.bits)
