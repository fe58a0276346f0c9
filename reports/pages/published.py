"""Obtained beside published: the table and the learning curves of models trained by published recipes."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from reports import formatting
from reports.figures import svg
from reports.figures.matplotlib import INK, STYLE, as_svg, images_label
from reports.formatting import quantity
from reports.pages.study import markdown_environment

if TYPE_CHECKING:
    from pathlib import Path

UNITS = {"nll_nats": "nats", "bits_per_dim": "bits/dim"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def write_published(folder: Path) -> Path:
    """Write ``README.md`` and its figures from the ``obtained.csv`` and ``curves.csv`` in a folder; its path."""
    obtained = pd.read_csv(folder / "obtained.csv")
    curves = pd.read_csv(folder / "curves.csv")
    figures = []
    for metric, unit in UNITS.items():
        of_metric = obtained[obtained["metric"] == metric]
        if not of_metric.empty:
            title = f"Validation {unit} against training images seen"
            name = f"curves-{formatting.slug(metric)}.svg"
            raw = _draw_curves(of_metric, curves, f"validation/{metric}", unit)
            _write(folder / name, svg.standalone(raw, title))
            figures.append((title, name))
    rows = [_row(row) for _, row in obtained.iterrows()]
    page = (
        markdown_environment()
        .get_template("published.md.j2")
        .render(rows=rows, figures=figures, notes=_notes(obtained))
    )
    return _write(folder / "README.md", page)


def _row(row: pd.Series) -> dict[str, Any]:
    unit = UNITS[row["metric"]]
    error = float(row["standard_error"])
    known = not pd.isna(row["published"])
    gap = float(row["obtained"]) - float(row["published"]) if known else math.nan
    return {
        "title": row["title"],
        "published": f"{row['published']:g} {unit}" if known else formatting.MISSING,
        "obtained": quantity(float(row["obtained"]), error, unit),
        "monte_carlo": quantity(float(row["monte_carlo_error"])),
        "gap": quantity(gap, error) if known else formatting.MISSING,
        "bound": f"k = {int(row['importance_samples'])}, {int(row['test_images']):,} test images",
        "budget": f"{int(row['images_seen']):,} images, {row['images_seen'] / row['published_images']:.2g} of the "
        "recipe's",
        "time": quantity(float(row["training_seconds"]), None, "s"),
        "device": f"{row['backend']} on {row['device']}, {int(row['cores'])} cores of {row['processor']}",
        "seed": str(row["seed"]),
        "commit": str(row["commit"])[:12],
    }


def _notes(obtained: pd.DataFrame) -> list[tuple[str, str]]:
    """What each row's recipe is and how it departs from the published one."""
    first = obtained.drop_duplicates("model")
    return [
        (str(row["title"]), " ".join(part for part in (f"{row['source']}.", _text(row["deviations"])) if part))
        for _, row in first.iterrows()
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _draw_curves(obtained: pd.DataFrame, curves: pd.DataFrame, column: str, unit: str) -> str:
    """Learning curves of several models on one scale, without the highest points; published figures as lines."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        shown = []
        for colour, (_, row) in zip(COLOURS * len(obtained), obtained.iterrows(), strict=False):
            points = curves[curves["run_id"] == row["run_id"]].dropna(subset=[column])
            label = f"{row['model']}, {images_label(float(row['images_seen']))}"
            axes.plot(points["images"], points[column], color=colour, label=label)
            shown.append(points[column])
        values = pd.concat(shown)
        for published in sorted(set(obtained["published"].dropna())):
            axes.axhline(published, color=INK, linewidth=0.8, linestyle=":")
        low = min([float(values.min()), *obtained["published"].dropna()])
        high = float(values.quantile(0.9))
        axes.set_ylim(low - 0.05 * (high - low), high)
        axes.set_xlabel("training images seen")
        axes.set_ylabel(f"validation {unit}, one-sample bound")
        axes.xaxis.set_major_formatter(lambda value, _: images_label(value))
        axes.legend(frameon=False)
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.7)
        return as_svg(figure)


def _write(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path
