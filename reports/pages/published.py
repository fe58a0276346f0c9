"""Obtained beside published: the table and the learning curves of models trained by published recipes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.core.files import write_file
from reports import formatting
from reports.figures import matplotlib as static
from reports.figures import svg
from reports.figures.grammar import Axis, Figure, Line, Panel, Points, Rule
from reports.figures.styles import HUES
from reports.formatting import quantity, tick
from reports.pages.templates import markdown

if TYPE_CHECKING:
    from pathlib import Path

    from reports.figures.grammar import Dash, Layer

DASHES: tuple[Dash, ...] = ("solid", "dashed", "dotted", "dashdot")
UNITS = {"nll_nats": "nats", "bits_per_dim": "bits/dim"}


def write_published(folder: Path) -> Path:
    """Write ``README.md`` and its figures from the ``obtained.csv`` and ``curves.csv`` in a folder; its path."""
    # Rows of versions before lack some columns.
    columns = dict.fromkeys(("dataset", "published_images", "recipe_samples", "weights"), math.nan)
    obtained = pd.read_csv(folder / "obtained.csv").pipe(lambda frame: frame.assign(**(columns | dict(frame))))
    curves = pd.read_csv(folder / "curves.csv")
    figures = []
    for metric, unit in UNITS.items():
        of_metric = obtained[obtained["metric"] == metric]
        if not of_metric.empty:
            title = f"Validation {unit} against training images seen"
            name = f"curves-{formatting.slug(metric)}.svg"
            raw = static.draw(_figure(of_metric, curves, metric, title), {})
            write_file(folder / name, svg.standalone(raw, title))
            figures.append((title, name))
    rows = [_row(row) for _, row in obtained.iterrows()]
    page = markdown("published.md.j2", rows=rows, figures=figures, notes=_notes(obtained))
    return write_file(folder / "README.md", page)


def _row(row: pd.Series) -> dict[str, Any]:
    unit = UNITS[row["metric"]]
    error = float(row["standard_error"])
    share = float(row["images_seen"]) / float(row["recipe_images"])
    known = not pd.isna(row["published"])
    gap = float(row["obtained"]) - float(row["published"]) if known else math.nan
    return {
        "title": row["title"],
        "published": f"{row['published']:g} {unit}" if known else formatting.MISSING,
        "obtained": quantity(float(row["obtained"]), error, unit),
        "monte_carlo": quantity(float(row["monte_carlo_error"])),
        "gap": quantity(gap, error) if known else formatting.MISSING,
        "bound": f"k = {_whole(row['importance_samples'])}{_recipe_k(row)}, {_whole(row['test_images'])} test images",
        "weights": formatting.MISSING if pd.isna(row["weights"]) else _whole(row["weights"]),
        "budget": f"{int(row['images_seen']):,} images, {share:.2g} of the recipe's",
        "time": quantity(float(row["training_seconds"]), None, "s"),
        "device": f"{row['backend']} on {row['device']}, {_cores(row['cores'])} of {row['processor']}",
        "dataset": "" if pd.isna(row["dataset"]) else row["dataset"],
        "seed": str(row["seed"]),
        "commit": str(row["commit"])[:12],
    }


def _whole(value: float) -> str:
    return f"{int(value):,}"


def _cores(count: float) -> str:
    return "1 core" if count == 1 else f"{_whole(count)} cores"


def _recipe_k(row: pd.Series) -> str:
    """The k of the recipe where it is another: more samples give a tighter bound."""
    known = row["recipe_samples"]
    return "" if pd.isna(known) or known == row["importance_samples"] else f" (the recipe's: {_whole(known)})"


def _notes(obtained: pd.DataFrame) -> list[tuple[str, str]]:
    """What each row's recipe is and how it departs from the published one."""
    first = obtained.drop_duplicates("model")
    return [
        (str(row["title"]), " ".join(part for part in (f"{row['source']}.", _text(row["deviations"])) if part))
        for _, row in first.iterrows()
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _figure(obtained: pd.DataFrame, curves: pd.DataFrame, metric: str, title: str) -> Figure:
    """Learning curves of several models on one scale, without the highest points.

    Published likelihoods are lines, and marks at the images that the published models saw, where these are known.
    """
    column = f"validation/{metric}"
    layers: list[Layer] = [
        Rule(each, across="y", dash="dotted") for each in sorted(set(obtained["published"].dropna()))
    ]
    shown = []
    for place, (_, row) in enumerate(obtained.iterrows()):
        # As many curves as there are hues have each line.
        hue, dash = list(HUES)[place % len(HUES)], DASHES[place // len(HUES) % len(DASHES)]
        points = curves[curves["run_id"] == row["run_id"]].dropna(subset=[column])
        images = float(f"{row['images_seen']:.2g}")
        label = f"{row['model']}, {tick(images)} images"
        layers.append(Line(points["images"], points[column], label=label, colour=hue, dash=dash))
        shown.append(points[column])
    known = obtained.dropna(subset=["published", "published_images"]).drop_duplicates("model")
    if len(known):
        points = (known["published_images"], known["published"])
        layers.append(Points(*points, label="published, on test", marker="diamond"))
    values = pd.concat(shown)
    low, high = min([float(values.min()), *obtained["published"].dropna()]), float(values.quantile(0.9))
    # The highest points, of the first evaluations, would flatten the rest.
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    y = Axis(f"validation {UNITS[metric]}, one sample", limits=(low - margin, high + margin))
    panel = Panel(Axis("training images seen", scale="log"), y, layers, height=3.6 + 0.25 * len(shown))
    return Figure(title, [panel], legend=True, width=7.2)
