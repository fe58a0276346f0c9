"""The page of what was measured: a table for each part."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from tests.benchmarks.accelerator.rows import FAILED, WHOLE, Row
from tests.benchmarks.accelerator.sizes import CURVES, FLOW, MEMORY, PRECISION, SPEED, STUDY, TESTS

POINTS = 10
"""Of a learning curve that the page shows; the table on disk has all."""

PARTS = {
    TESTS: ("The models' tests", "`pytest -m 'backend and not slow' tests/models` under JAX, its closing line."),
    SPEED: (
        "Speed",
        "Images/s, the median of the turns. Each side has a process of its own, one after the other, and is warm. The "
        "fraction of peak counts 2 operations for each multiplication of the forward pass, times 3 for training, "
        "over the rate of a large matrix product in the default precision. Ratios are of GPUs alone: beside other "
        "processes PyTorch's threads wait for each other, and `make benchmark-peers` is what measures it.",
    ),
    PRECISION: (
        "Precision of matrix products",
        "The same training, its products computed in each precision that JAX names, then judged in float32 "
        "(`highest`). The difference to float32 is paired, image by image; training is chaotic, so that another "
        "rounding alone gives another model. The product's error against double precision tells what the device "
        "really computes where it accepts a name.",
    ),
    STUDY: ("The flagship study", "On MNIST, to its report, which lies in `report/`; ± over test images."),
    CURVES: (
        "Learning curves",
        "From the first step, compilation and looks at validation included; the bound has one sample, so that a "
        "tighter one would read lower.",
    ),
    MEMORY: (
        "Memory of a training step",
        "What XLA plans for intermediate results (`temp_size_in_bytes`), and on an accelerator the peak of the whole "
        "process, weights and optimizer included.",
    ),
    FLOW: (
        "A published flow, to its test bound",
        "Its recipe, on as many images as this device trains on in the time: measured first, then the cosine's length.",
    ),
}


def page(rows: Sequence[Row], about: Mapping[str, str]) -> str:
    """The page, Markdown.

    Args:
        rows: all that was measured.
        about: command, machine, commit, and a caution, empty where none is due.
    """
    parts = [
        "# What one accelerator does\n",
        f"`{about['command']}` on {about['machine']}, commit {about['commit'][:12]}, Keras on JAX. All rows are in "
        "[accelerator.csv](accelerator.csv).\n",
        f"{about['caution']}\n" if about["caution"] else "",
    ]
    for name, (title, explained) in PARTS.items():
        own = [row for row in rows if row.part == name]
        if own:
            measured = [row for row in own if row.subject != WHOLE and row.figure != FAILED]
            parts += [f"## {title}\n", f"{explained} {_took(own)}\n"]
            points = [row for row in measured if row.images is not None]
            others = [row for row in measured if row.images is None]
            parts += [_pivot(others)] * bool(others) + _curves(points)
            parts += [_failures(own)]
    return "\n".join(part for part in parts if part)


def _took(rows: Iterable[Row]) -> str:
    """How long the part took, each time that it was measured."""
    took = [f"{row.value:.0f} s {row.note}" for row in rows if row.subject == WHOLE and row.value is not None]
    return f"Took {', '.join(took)}." if took else "It did not come to its end."


def _pivot(rows: Sequence[Row]) -> str:
    """A line for each subject, a column for each figure."""
    subjects, figures = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("subject", "figure"))
    lines = []
    for subject in subjects:
        cells = [[row for row in rows if (row.subject, row.figure) == (subject, figure)] for figure in figures]
        lines.append([subject, *map(_cell, cells)])
    return _table(["", *figures], lines)


def _cell(rows: Sequence[Row]) -> str:
    """The median of the rows that say the same, with its error and what is to be known."""
    values = [row.value for row in rows if row.value is not None]
    value = number(statistics.median(values)) if values else ""
    errors = [f" ± {number(row.error)}" for row in rows if row.error is not None]
    notes = list(dict.fromkeys(f" ({row.note})" for row in rows if row.note))
    return "".join([value, *errors, *notes]).strip()


def _curves(rows: Iterable[Row]) -> list[str]:
    """A table for each curve, of some of its points."""
    points = [row for row in rows if row.images is not None and row.seconds is not None]
    tables = []
    for subject in dict.fromkeys(row.subject for row in points):
        own = [row for row in points if row.subject == subject]
        chosen = [own[round(i * (len(own) - 1) / (POINTS - 1))] for i in range(POINTS)] if len(own) > POINTS else own
        lines = [[f"{row.images:,}", f"{row.seconds:.1f}", _cell([row])] for row in chosen]
        tables.append(f"{subject}:\n\n" + _table(["training images seen", "seconds", own[0].figure], lines))
    return tables


def _failures(rows: Iterable[Row]) -> str:
    """What could not be measured, and why."""
    return "".join(f"- Not measured: {row.subject}: {row.note}\n" for row in rows if row.figure == FAILED)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    shown = [head, ["---", *["--:"] * (len(head) - 1)], *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in shown) + "\n"


def number(value: float) -> str:
    """With as many digits as are worth reading."""
    if value and abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
