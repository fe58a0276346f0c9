"""The page of what was measured: its tables, and what they say in a sentence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

OURS, UNPRUNED, BY_HAND, BEFORE, NOW = "ours", "ours without a pruner", "by hand", "before", "now"
WITHIN = "within a trial"
WATCHED = (
    "log an evaluation to the outbox",
    "report an evaluation to the storage",
    "ask whether to stop",
    "show progress",
    "save a checkpoint",
)
"""What watches the training of a trial, from its own thread."""
FAMILIES = {"vae": "VAE", "glow": "Glow"}
PHASES = ("start", "search", "final runs", "report")


class Row(NamedTuple):
    """A figure of one round of one part of the benchmark."""

    part: str
    of: str
    backend: str
    round: int
    figure: str
    value: float


class Figures:
    """The figures of one part, by what they are of."""

    def __init__(self, rows: Iterable[Row], part: str) -> None:
        self.rows = [row for row in rows if row.part == part]

    @property
    def rounds(self) -> list[int]:
        """Their numbers."""
        return sorted({row.round for row in self.rows})

    def backend(self, of: str) -> str:
        """What it ran on."""
        return next(row.backend for row in self.rows if row.of == of)

    def one(self, of: str, number: int, figure: str) -> float:
        """A figure of a round."""
        return next(row.value for row in self.rows if (row.of, row.round, row.figure) == (of, number, figure))

    def median(self, of: str, figure: str) -> float:
        """A figure's median over rounds."""
        return statistics.median(self.one(of, number, figure) for number in self.rounds)

    def over_rounds(self, figure: Callable[[int], float]) -> list[float]:
        """What is computed of each round."""
        return [figure(number) for number in self.rounds]


def page(rows: Sequence[Row], about: Mapping[str, str]) -> str:
    """The page, Markdown, of the parts that were measured.

    Args:
        rows: all figures.
        about: where, of what and by which command they were measured.
    """
    parts = [
        "# How long a whole study takes\n",
        f"`{about['command']}` on {about['machine']}, commit {about['commit']}, {about['versions']}. Mean load of the "
        f"15 minutes before: {about['load']}. Every figure of every round is in [whole_study.csv](whole_study.csv).\n",
    ]
    sections = {BY_HAND: _by_hand, BEFORE: _before, WITHIN: _within}
    for part, section in sections.items():
        figures = Figures(rows, part)
        if figures.rows:
            parts += section(figures, about)
    return "\n".join(parts)


def _by_hand(figures: Figures, about: Mapping[str, str]) -> list[str]:
    names = {OURS: "our command", UNPRUNED: "our command without a pruner", BY_HAND: "the loop by hand"}
    ratios = []
    for of, whose in ((OURS, "Our"), (UNPRUNED, "Without a pruner our")):
        whole = _ratios(figures, lambda n, of=of: figures.one(of, n, "seconds") / figures.one(BY_HAND, n, "seconds"))
        search = _ratios(figures, lambda n, of=of: _searched(figures, of, n) / figures.one(BY_HAND, n, "seconds"))
        ratios.append(
            f"{whose} whole command takes {whole} times as long as the loop by hand; up to the end of its search, "
            f"which is all that the loop does, {search} times."
        )
    return [
        "## Against a loop written by hand\n",
        f"Both search VAE and Glow on the bundled digits: {about['budget']}, from the start of the process to its end, "
        "in turns, each in a fresh folder, each round from a seed of its own. The loop "
        "([by_hand.py](../../tests/benchmarks/whole_study/by_hand.py)) is Optuna's TPE over the ranges of "
        "`vae_vs_glow`, first its own configurations, the same models trained by Keras's `fit` with AdamW and a cosine "
        "schedule, as `compile` leaves it, and an MLflow run for each trial. Ours is `reparam-bench study vae_vs_glow "
        "--seeds 1`, with its own pruner and with `--pruner none`, which trains all trials to the end as the loop "
        "does; beyond the search it trains and measures the best of each arm on test, trains the classifier of sample "
        "quality before it, and writes the report.\n",
        _table(
            ("", "backend", "seconds", "processor s", *PHASES),
            [_study_line(figures, of, name) for of, name in names.items()],
        ),
        f"Medians over {_rounds(figures)}. **{ratios[1]}** {ratios[0]}\n",
        "### The trials\n",
        _table(
            (
                "",
                "trials",
                "their seconds",
                "training s",
                "first epochs s",
                "best on validation, bits/dim",
                "as good as by hand after, share of its time",
            ),
            [
                _family_line(figures, of, f"{FAMILIES[family]}, {name}", family)
                for family in FAMILIES
                for of, name in names.items()
            ],
        ),
        "Training is from the first step to the last evaluation; first epochs, part of it, are where programs are "
        "compiled. The loop by hand does not say them. With our own pruner a trial that is continued counts as another "
        "one, and the training of those that were stopped is in their seconds alone. The error of a best value is its "
        "standard error over validation "
        "images, the luck of the search left out: the two propose different trials. The last column is the time from "
        "the start of our command until one of its trials had reached the best value of the loop by hand (inf: none "
        "did), over the whole "
        f"time of that loop. {_agreement(figures)}\n",
    ]


def _searched(figures: Figures, of: str, number: int) -> float:
    return figures.one(of, number, "start") + figures.one(of, number, "search")


def _study_line(figures: Figures, of: str, name: str) -> list[str]:
    known = {row.figure for row in figures.rows if row.of == of}
    shown = [
        f"{figures.median(of, each):.1f}" if each in known else "" for each in ("seconds", "processor seconds", *PHASES)
    ]
    return [name, figures.backend(of), *shown]


def _family_line(figures: Figures, of: str, name: str, family: str) -> list[str]:
    known = {row.figure for row in figures.rows if row.of == of}
    timed = [
        f"{figures.median(of, each):.1f}" if each in known else ""
        for each in (
            f"{family} seconds of trials",
            f"{family} seconds of training",
            f"{family} seconds of first epochs",
        )
    ]
    bests = [
        f"{figures.one(of, number, f'{family} best bits/dim'):.4f}"
        + (f" ± {figures.one(of, number, error):.4f}" if (error := f"{family} standard error") in known else "")
        for number in figures.rounds
    ]
    until = f"{family} seconds until as good"
    share = (
        _ratios(figures, lambda n: figures.one(of, n, until) / figures.one(BY_HAND, n, "seconds"))
        if until in known
        else ""
    )
    return [name, f"{figures.median(of, f'{family} trials'):.0f}", *timed, ", ".join(bests), share]


def _agreement(figures: Figures) -> str:
    """How far the bests of both loops lie apart."""
    said = []
    for family, name in FAMILIES.items():
        bests = [
            [figures.one(of, number, f"{family} best bits/dim") for of in (OURS, BY_HAND)] for number in figures.rounds
        ]
        apart = [ours - by_hand for ours, by_hand in bests]
        error = f" ± {statistics.stdev(apart) / len(apart) ** 0.5:.4f}" if len(apart) > 1 else ""
        said.append(f"{statistics.mean(apart):+.4f}{error} ({name})")
    over = f", mean and its standard error over {_rounds(figures)}" if len(figures.rounds) > 1 else ""
    return f"Ours less that of the loop by hand, bits/dim: {', '.join(said)}{over}."


def _before(figures: Figures, about: Mapping[str, str]) -> list[str]:
    ratio = _ratios(figures, lambda n: figures.one(BEFORE, n, "seconds") / figures.one(NOW, n, "seconds"))
    commits = {BEFORE: about["before"], NOW: about["commit"]}
    return [
        "## Against an earlier version\n",
        f"`reparam-bench study vae_vs_glow{about['before options']}`, as `make study` runs it, of two checkouts in "
        "turns, each in a fresh folder, from the start of the process to its end. Both go by the earlier one's study "
        "id, from which seeds and proposals derive.\n",
        _table(
            ("", "backend", "seconds", "processor s", *PHASES),
            [_study_line(figures, of, f"{of}, commit {commit}") for of, commit in commits.items()],
        ),
        f"Medians over {_rounds(figures)}. **The earlier version takes {ratio} times as long as this one.**\n",
        _table(
            ("best on validation, bits/dim", *FAMILIES.values()),
            [[of, *(_best(figures, of, family) for family in FAMILIES)] for of in commits],
        ),
    ]


def _best(figures: Figures, of: str, family: str) -> str:
    best, error = (figures.median(of, f"{family} {figure}") for figure in ("best bits/dim", "standard error"))
    return f"{best:.4f} ± {error:.4f}"


def _within(figures: Figures, about: Mapping[str, str]) -> list[str]:
    names = [name for name in FAMILIES if any(row.of == f"{name} alone" for row in figures.rows)]
    lines = {
        "training": lambda of: _seconds(figures, f"{of} in a worker", "training"),
        **{name: lambda of, name=name: _seconds(figures, f"{of} in a worker", name) for name in WATCHED},
        "**what watches, share of training**": lambda of: _spread(figures, lambda n: _watching(figures, of, n)),
        "claim a task": lambda of: _seconds(figures, f"{of} in a worker", "claim"),
        "from there to the first step": lambda of: _seconds(figures, f"{of} in a worker", "to the first step"),
        "to the first step, trial by itself": lambda of: _seconds(figures, f"{of} alone", "to the first step"),
        "whole trial, in a worker": lambda of: _seconds(figures, f"{of} in a worker", "trial"),
        "whole trial, by itself": lambda of: _seconds(figures, f"{of} alone", "trial"),
        "**what a worker adds, share of the trial**": lambda of: _spread(
            figures, lambda n: _added(figures, of, n, "trial")
        ),
        "upload of what is left when it ends": lambda of: _seconds(figures, f"{of} in a worker", "upload after it"),
        "processor seconds, in a worker": lambda of: _seconds(figures, f"{of} in a worker", "processor seconds"),
        "processor seconds, by itself": lambda of: _seconds(figures, f"{of} alone", "processor seconds"),
        "**what a worker adds, share of processor seconds**": lambda of: _spread(
            figures, lambda n: _added(figures, of, n, "processor seconds")
        ),
        "largest difference in bits/dim": lambda of: f"{_difference(figures, of):.1e}",
    }
    return [
        "## Within a trial\n",
        "The study's own first configurations, trained in a worker and by `run_trial` alone, from the same seeds, in "
        f"turns, on {figures.backend(f'{names[0]} alone')}; earlier trials have compiled their programs. Seconds of a "
        f"trial, median over {_rounds(figures)} (least … most). What watches runs on the training's own thread "
        "and is no part of what `cost/training_seconds` tells. The uploader uploads to MLflow on a thread of its own "
        "while the next trial trains; here each trial waits for it, and it is given apart, but for its processor "
        "seconds. Before the first step weights are drawn and initialised on training images.\n",
        _table(
            ("seconds of a trial", *map(FAMILIES.get, names)), [[name, *map(of, names)] for name, of in lines.items()]
        ),
    ]


def _seconds(figures: Figures, of: str, figure: str) -> str:
    values = figures.over_rounds(lambda number: figures.one(of, number, figure))
    return f"{statistics.median(values):.4f} ({min(values):.4f} … {max(values):.4f})"


def _spread(figures: Figures, share: Callable[[int], float]) -> str:
    values = figures.over_rounds(share)
    return f"{statistics.median(values):.2%} ({min(values):.2%} … {max(values):.2%})"


def _watching(figures: Figures, family: str, number: int) -> float:
    of = f"{family} in a worker"
    return sum(figures.one(of, number, name) for name in WATCHED) / figures.one(of, number, "training")


def _added(figures: Figures, family: str, number: int, figure: str) -> float:
    return figures.one(f"{family} in a worker", number, figure) / figures.one(f"{family} alone", number, figure) - 1


def _difference(figures: Figures, family: str) -> float:
    """Between the same trial in a worker and by itself: 0 where both computed the very same."""
    pairs = [
        [figures.one(f"{family} {how}", n, "bits/dim") for how in ("in a worker", "alone")] for n in figures.rounds
    ]
    return max(abs(one - other) for one, other in pairs)


def _ratios(figures: Figures, ratio: Callable[[int], float]) -> str:
    values = figures.over_rounds(ratio)
    spread = f" ({min(values):.2f} … {max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.2f}{spread}"


def _rounds(figures: Figures) -> str:
    count = len(figures.rounds)
    return f"{count} round{'s' * (count > 1)}"


def _table(head: Sequence[str], lines: Iterable[Iterable[str]]) -> str:
    shown = [list(head), ["---"] + ["--:"] * (len(head) - 1), *map(list, lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in shown) + "\n"
