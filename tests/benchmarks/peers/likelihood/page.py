"""The page of what was measured: a table and a figure for each work, and who is ahead at each budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from reports.figures import svg
from reports.figures.matplotlib import STYLE, as_svg
from reports.figures.styles import INK
from tests.benchmarks.peers.likelihood.rows import Best, Comparison, Row, best_within, compare
from tests.benchmarks.peers.likelihood.works import ALPHA, OURS, LikelihoodWork

UNITS = {"bits_per_dim": "bits/dim", "nll_nats": "nats"}
DIGITS = {"bits_per_dim": 3, "nll_nats": 2}
BUSY = 0.1
"""Share of the processors that others take beyond which seconds mean little: PyTorch's threads wait for each other."""
COLOURS = ("#0072b2", "#d55e00", "#009e73")


def write_page(
    folder: Path, rows: Sequence[Row], works: Mapping[str, LikelihoodWork], about: Mapping[str, str]
) -> Path:
    """Write ``peers_likelihood.md`` and its figures.

    Args:
        folder: where to.
        rows: all that was measured.
        works: by key, with the budgets that are shown.
        about: command, machine, backend.
    """
    compared = {key: compare(rows, key, work) for key, work in works.items()}
    every = [each for comparisons in compared.values() for each in comparisons]
    shown = [row for row in rows if row.work in works]
    commits = ", ".join(dict.fromkeys(row.commit[:12] for row in shown))
    versions = ", ".join(dict.fromkeys(text for row in shown for text in row.versions.split(", ") if text))
    parts = [
        "# Validation likelihood beside packages on PyTorch\n",
        f"`{about['command']}` on {about['machine']}, commit {commits}, ours by Keras on {about['backend']} "
        f"({versions}). {_share_of_others(shown)} All evaluations are in "
        "[peers_likelihood.csv](peers_likelihood.csv).\n",
        _verdict(every),
    ]
    for key, work in works.items():
        own = [row for row in shown if row.work == key and row.run_images in work.budgets]
        parts.append(f"## {work.title}\n")
        if not compared[key]:
            parts.append("Not measured: no run of ours beside one of a peer.\n")
            continue
        name = f"peers_likelihood-{key}.svg"
        title = f"{work.title}: validation {UNITS[work.metric]} against images and seconds"
        (folder / name).write_text(svg.standalone(_figure(own, work), title))
        parts += [_table(work, compared[key]), _stopped(own), f"![{title}]({name})\n"]
    path = folder / "peers_likelihood.md"
    path.write_text("\n".join(part for part in [*parts, "## What is compared\n", _explained(works, shown)] if part))
    return path


def _verdict(comparisons: Sequence[Comparison]) -> str:
    """At how many budgets ours is at or below the best peer, and where it is not."""
    if not comparisons:
        return "Nothing was compared yet.\n"
    gaps = [(each, each.sides[OURS].value - each.peers[each.best_peer].value) for each in comparisons]
    above = [f"{each.work} at {each.images:,} images by {gap:.3g}" for each, gap in gaps if gap > 0]
    pairs = [(each, peer, best) for each in comparisons for peer, best in each.at_equal_seconds.items()]
    later = [
        f"{each.work} at the {_seconds(each.sides[peer].seconds)} of {peer} within {each.images:,} images"
        for each, peer, best in pairs
        if best is None or best.value > each.sides[peer].value
    ]
    return (
        f"At equal images ours is at or below the best peer at {len(gaps) - len(above)} of {len(gaps)} "
        f"budgets{_listed('; above it', above)}. Within the seconds after which a peer reached its value, ours is at "
        f"or below it in {len(pairs) - len(later)} of {len(pairs)} comparisons{_listed('; above it', later)}.\n"
    )


def _listed(lead: str, items: Sequence[str]) -> str:
    return f"{lead}: {', '.join(items)}" if items else ""


def _table(work: LikelihoodWork, comparisons: Sequence[Comparison]) -> str:
    sides = [side for side in work.sides if any(side in each.sides for each in comparisons)]
    digits = DIGITS[work.metric]
    head = ["images seen", *sides, "ours less the best peer", "ours in the best peer's seconds"]
    lines = []
    for each in comparisons:
        ours, peer = each.sides[OURS], each.peers[each.best_peer]
        errors = [best.standard_error or 0.0 for best in (ours, peer)]
        equal = each.at_equal_seconds[each.best_peer]
        cells = [_cell(each.sides.get(side), digits) for side in sides]
        gap = f"{ours.value - peer.value:+.{digits}f} ± {math.hypot(*errors):.{digits}f}".replace("-", "−")
        lines.append([f"{each.images:,}", *cells, gap, "none yet" if equal is None else f"{equal.value:.{digits}f}"])
    rows = [head, ["--:"] * len(head), *lines]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    explained = (
        f"Validation {UNITS[work.metric]} ± standard error, the seconds of training after which it was reached, and "
        "the learning rate."
    )
    return f"{explained}\n\n{table}\n"


def _cell(best: Best | None, digits: int) -> str:
    if best is None:
        return "not measured"
    error = "" if best.standard_error is None else f" ± {best.standard_error:.{digits}f}"
    return f"{best.value:.{digits}f}{error}, {_seconds(best.seconds)}, {best.learning_rate:g}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else f"{value:,.0f} s"


def _stopped(rows: Iterable[Row]) -> str:
    """The runs that ended early."""
    ended = [f"- {row.side} at {row.learning_rate:g} {row.note}.\n" for row in rows if row.note]
    return "".join(dict.fromkeys(ended))


def _figure(rows: Sequence[Row], work: LikelihoodWork) -> str:
    """The best so far of each side, at the rate that is best in the end, against images and against seconds."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.6), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        values: list[float] = []
        for colour, side in zip(COLOURS, work.sides, strict=False):
            points = _best_run(rows, side)
            so_far = [min(row.value or 0.0 for row in points[: i + 1]) for i in range(len(points))]
            values += so_far
            for axes, column in zip(panels, ("images", "seconds"), strict=True):
                places = [getattr(row, column) for row in points]
                axes.step(places, so_far, where="post", color=colour, label=side, marker=".", markersize=4)
        for axes, label in zip(panels, ("training images seen", "seconds of training"), strict=True):
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.set_xlabel(label)
            axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)
        low, high = min(values), sorted(values)[round(0.9 * (len(values) - 1))]
        panels[0].set_ylim(low - (0.05 * (high - low) or 0.05), high + (0.05 * (high - low) or 0.05))
        panels[0].set_ylabel(f"best validation {UNITS[work.metric]}")
        panels[1].legend(frameon=False)
        return as_svg(figure)


def _best_run(rows: Sequence[Row], side: str) -> list[Row]:
    """The evaluations of a side's longest run at the rate that is best in the end, in order."""
    try:
        rate = best_within(rows, side).learning_rate
    except LookupError:
        return []
    own = [row for row in rows if row.side == side and row.learning_rate == rate and row.value is not None]
    longest = max(row.run_images for row in own)
    return sorted((row for row in own if row.run_images == longest), key=lambda row: row.images)


def _share_of_others(rows: Iterable[Row]) -> str:
    shares = sorted({(row.work, row.side, row.learning_rate, row.run_images): row.others for row in rows}.values())
    if not shares:
        return ""
    caution = " The machine was not idle: seconds are not to be compared." if shares[-1] > BUSY else ""
    return (
        f"Other processes took {shares[len(shares) // 2]:.0%} of the processors in the median run, {shares[-1]:.0%} at "
        f"most.{caution}"
    )


def _explained(works: Mapping[str, LikelihoodWork], rows: Sequence[Row]) -> str:
    sizes = {row.work: f"{row.validation_images:,}" for row in rows}
    data = "; ".join(f"{key}: {size}" for key, size in sizes.items())
    rates = "; ".join(f"{key}: {', '.join(f'{rate:g}' for rate in work.rates)}" for key, work in works.items())
    seeds = ", ".join(str(seed) for seed in sorted({row.seed for row in rows}))
    configurations = dict.fromkeys(
        (row.work, row.configuration)
        for row in rows
        if row.configuration and row.learning_rate == _first_rate(rows, row)
    )
    recipes = "".join(f"  - {key}: `{text}`\n" for key, text in configurations)
    return (
        f"- **Data.** The harness's training split, and the first images of its validation split ({data}); every side "
        "gets the same arrays. The test split is not opened.\n"
        f"- **Choice.** Each side is trained at each rate ({rates}) with seed {seeds}, and evaluated after the same "
        "numbers of images. A cell is the lowest evaluation of any rate within the budget, on every side: the "
        "choice makes all of them a little too good. One seed says nothing of the spread over seeds, and the "
        "standard errors, over validation images, ignore that all sides share these images: that of a difference is "
        "too large.\n"
        "- **Bound.** One sample in evaluation mode, with the same noise at each evaluation of a side. Glow: "
        "−log₂ p((x + u)/Q)/D + log₂ Q. VAE: log p(x|z) + log p(z) − log q(z|x) at one z, the KL sampled on all sides; "
        "the PyTorch loops train with the KL in closed form.\n"
        "- **Seconds** are those of training steps, evaluations excluded. Ours include compilation, without a cache, "
        "and exclude the initialisation on data; normflows' include theirs. Every run has a process of its own, one "
        "at a time.\n"
        f"- **normflows with a logit** is fed with logit(α + (1 − 2α)(x + u)/Q), α = {ALPHA:g}, the exact "
        "log-determinant in its bound; normflows with (x + u)/Q. Both are built as in its own example.\n"
        "- **PyTorch.** Inputs x/(Q − 1), `nn.Linear` as it comes, Adam as it comes; with the marginals as bias the "
        "output begins at each pixel's frequencies over the training images, counted once more each.\n"
        f"- **Ours** is `bench.training.loop.train` by `tests/benchmarks/peers/likelihood/recipe.py`, here at the "
        f"lowest rate, what departs from the defaults:\n{recipes}"
    )


def _first_rate(rows: Iterable[Row], like: Row) -> float:
    return min(row.learning_rate for row in rows if (row.work, row.side) == (like.work, like.side))
