"""A comparison over numbers of training images as a page of HTML, its Markdown twin, a figure, and numbers as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports.figures import train_sizes as figures
from reports.figures.drawing import draw_each
from reports.figures.styles import arm_styles
from reports.formatting import listing
from reports.pages.data_sets import write_several
from reports.pages.document import Beside, Block, Document, Figures, Glossary, Headline, Items, Section
from reports.text import train_sizes as text
from reports.units import in_unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reports.analysis.train_sizes import OverTrainSizes
    from reports.figures.grammar import Figure


def page(sizes: OverTrainSizes) -> Document:
    """Compute the page."""
    styles = arm_styles(sizes.families)

    def made() -> Iterable[Figure]:
        figure = figures.likelihoods(sizes)
        # Before it is drawn, as the texts of a PDF cannot be replaced.
        dataset = next(iter(sizes.studies.values())).results.dataset if sizes.studies else {}
        return [] if figure is None else [in_unit_of(dataset, figure)]

    drawn = draw_each("train-sizes", "Test bits/dim against the number of training images", made, styles, pdf=True)
    answer: list[Block] = [
        Headline(text.headline(sizes)),
        Beside([*([Figures(drawn)] if drawn else []), Items(text.details(sizes))]),
        text.likelihoods(sizes),
    ]
    sections = [Section("answer", "Answer", "Answer", answer)]
    gains = text.gains(sizes)
    if gains.rows:
        sections.append(Section("gains", "What more images bring", "More images", [gains]))
    sections.append(Section("method", "Method", "Method", [Glossary(text.NOTES), text.sources(sizes)]))
    names = listing(list(sizes.studies))
    return Document(
        name=f"{sizes.data_name} by number of training images",
        kicker=f"A comparison over numbers of training images of {sizes.data_name}: {names or 'none'}",
        heading="How does the answer change with the number of training images?",
        sections=sections,
        footer="Made by reparam-bench. Every number lies beside this page as CSV, the figure as PDF in figures, and in "
        "references.bib what it cites.",
        styles=list(styles.values()),
    )


def write_train_sizes(sizes: OverTrainSizes, folder: Path) -> Path:
    """Write ``compare.html`` and ``.md``, ``references.bib``, ``results.csv`` and ``gains.csv``.

    The same studies give the same bytes.

    Returns:
        The path of the HTML page.
    """
    frames = {"results": _results(sizes), "gains": _gains(sizes)}
    return write_several(page(sizes), frames, sizes.studies.values(), folder)


def _results(sizes: OverTrainSizes) -> pd.DataFrame:
    """A row for each number of training images and arm."""
    rows = []
    for n, order, (name, study) in zip(sizes.sizes, sizes.orders, sizes.studies.items(), strict=True):
        for arm, estimate in sizes.estimates[name].items():
            above, low, high = order.above if arm == order.second else (None, None, None)
            rows.append(
                {
                    "training_images": n,
                    "study": study.results.study_id,
                    "arm": arm,
                    "in_study": arm in study.families,
                    "images_seen_at_most": sizes.seen(arm).get(n),
                    "bits_per_dim": None if estimate is None else estimate.mean,
                    "error": None if estimate is None else estimate.error,
                    "seeds": 0 if estimate is None else estimate.seeds,
                    "is_lowest": arm == order.lowest,
                    "above_lowest": above,
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


def _gains(sizes: OverTrainSizes) -> pd.DataFrame:
    """A row for each arm and step to more training images."""
    rows = []
    for gain in sizes.gains:
        change = gain.change
        rows.append(
            {
                "arm": gain.arm,
                "from": gain.before,
                "to": gain.after,
                "change": None if change is None else change.value,
                "low": None if change is None else change.low,
                "high": None if change is None else change.high,
                "over_seeds": None if change is None else change.over_seeds,
                "paired": None if change is None else change.paired,
            }
        )
    names = ["arm", "from", "to", "change", "low", "high", "over_seeds", "paired"]
    return pd.DataFrame(rows, columns=names)
