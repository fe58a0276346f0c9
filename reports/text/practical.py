"""Practical size in words: probabilities, and what the region of equivalence is as file size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import formatting
from reports.analysis.practical import PracticalSize, RegionSize, Verdict, practical_size, practical_sizes, region_size
from reports.formatting import count, quantity
from reports.text.tables import Cell, Table

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


def sentence(study: Study, low: str, high: str) -> str:
    """How probably the arm with the lower mean is better than another in practice, and what the region means.

    Args:
        study: the study.
        low: the arm with the lower mean test bits/dim.
        high: the other.
    """
    size, known = practical_size(study, low, high), region_size(study)
    if size.probabilities is None:
        return f"How probably the difference is more than {region(study)} is not known: {size.reason}."
    names = study.title(low), study.title(high)
    verdict = {
        Verdict.BETTER: f"In practice {names[0]} is better",
        Verdict.EQUAL: "In practice the two are equal",
        Verdict.WORSE: f"In practice {names[1]} is better",
        Verdict.OPEN: "Whether the difference matters in practice is open",
    }[size.verdict]
    meaning = f"{_meaning(known)}." if known else ""
    return " ".join(filter(None, [f"{verdict}: {chances(size.probabilities, region(study), *names)}.", meaning]))


def chances(found: Probabilities, by: str, first: str, second: str) -> str:
    """The three probabilities, such as ``P(Glow better than VAE by more than 0.01 bits/dim) = 0.998``."""
    return (
        f"P({first} better than {second} by more than {by}) {_equals(found.better)}, "
        f"P(practically equal) {_equals(found.equal)}, P({second} better by more) {_equals(found.worse)}"
    )


def _equals(p: float) -> str:
    text = formatting.chance(p)
    return text if text[0] in "<>" else f"= {text}"


def _meaning(known: RegionSize) -> str:
    """What the region is as file size."""
    nats = "" if known.nats is None else f"{quantity(known.nats)} nats or "
    percent = quantity(100 * known.share)
    return (
        f"{known.bits_per_dim:g} bits/dim are {nats}{quantity(known.image_bytes, None, 'bytes')} an image, "
        f"{quantity(known.all_bytes, None, 'bytes')} over {count(known.images, 'test image')}, {percent}% of the lowest "
        "mean"
    )


def table(study: Study) -> Table:
    """The probabilities of every pair of arms, the one with the lower mean first."""
    rows = [_row(study, size) for size in practical_sizes(study)]
    by = region(study)
    columns = ["First and second", f"P(first better by more than {by})", "P(practically equal)"]
    columns += ["P(second better by more)", "In practice"]
    return Table(f"Practical size: are two arms further apart than {by}?", columns, rows)


def _row(study: Study, size: PracticalSize) -> list[Cell]:
    head = Cell(f"{study.title(size.first)} and {study.title(size.second)}", _interval(size))
    found = size.probabilities
    if found is None:
        return [head, *[Cell(formatting.MISSING)] * 3, Cell("not known", [size.reason])]
    values = [Cell(formatting.chance(p), order=p) for p in (found.better, found.equal, found.worse)]
    return [head, *values, Cell(VERDICTS[found.verdict])]


def _interval(size: PracticalSize) -> list[str]:
    if size.interval is None:
        return []
    value, low, high = formatting.difference(size.interval.value, size.interval.low, size.interval.high)
    covers = " and ".join(
        name for name, known in (("seeds", size.interval.over_seeds), ("images", size.interval.over_images)) if known
    )
    return [f"difference {value}, 95% interval {low} to {high} over {covers}"]


def won(study: Study, win: Win) -> str:
    """How many images an arm wins against another, and by how much the pictured ones."""
    names = study.title(win.winner), study.title(win.loser)
    share = quantity(100 * win.won / win.measured)
    return (
        f"{names[0]} takes fewer bits than {names[1]} for {win.won:,} of {count(win.measured, 'test image')} ({share}%), "
        f"for {win.clearly:,} of them by more than {region(study)}"
    )
