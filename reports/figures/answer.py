"""The figure of the answer: the arms beside what was published of the same data, and their distance to the lowest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.metrics import METRICS
from reports.analysis import differences, literature, statistics
from reports.analysis.reference_codes import best_code, kinds, reference_codes, reference_model, short
from reports.analysis.results import LIKELIHOOD
from reports.figures.axes import rows_panel
from reports.figures.grammar import Axis, Figure, Line, Points, Rule
from reports.figures.reference_codes import LINE_OF, codes_beyond, dash
from reports.figures.registry import register_figure
from reports.formatting import count, listing

if TYPE_CHECKING:
    import pandas as pd

    from reports.analysis.reference_codes import Code
    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval
    from reports.figures.grammar import Layer, Panel


@register_figure("answer", "Test bits/dim of each arm", section="answer")
def answer(study: Study) -> Figure | None:
    """Test bits/dim of the arms beside what was published of the same data, and each arm's distance to the lowest."""
    if len(differences.likelihood_units(study)) > 1:
        return None
    levels = {arm: final.measured("test", LIKELIHOOD) for arm, final in study.finals.items()}
    values = {arm: frame[np.isfinite(frame["value"])] for arm, frame in levels.items()}
    ranked = sorted((arm for arm in values if len(values[arm])), key=lambda arm: float(values[arm]["value"].mean()))
    if not ranked:
        return None
    without = [arm for arm in study.arms if arm not in ranked]
    lowest, *_, highest = [float(values[arm]["value"].mean()) for arm in (*ranked, ranked[-1])]
    known = _nearest(_published(study), lowest)
    codes = reference_codes(study)
    lined = [code for code in (best_code(study), reference_model(study)) if code is not None]
    shown = [code for code in codes if code.value <= (ROOM_FOR_THE_BEST if code in lined else ROOM_FOR_CODES) * highest]
    lined = [code for code in lined if code in shown]
    arms = [study.title(arm) for arm in (*ranked, *without)]
    rows = [*arms, *(_row_of(code) for code in shown), *(f"published: {name}" for name, _, _ in known)]
    place = {row: float(len(rows) - row) for row in range(len(rows))}
    layers = [layer for row, arm in enumerate(ranked) for layer in _level(study, arm, values[arm], place[row])]
    if shown:
        about = [f"{code.label}: {code.level} bits/dim" for code in shown]
        layers[:0] = [Rule(code.value, label=code.label, dash=dash(code), opacity=0.6) for code in lined]
        layers.append(_strokes([code.value for code in shown], place, len(arms), CODE, about))
    if known:
        about = [about for _, _, about in known]
        layers.append(_strokes([value for _, value, _ in known], place, len(arms) + len(shown), "published", about))
    panels = [rows_panel(Axis("test bits/dim, lower is better"), rows, layers)]
    excluded = {arm: len(levels[arm]) - len(values[arm]) for arm in ranked}
    caption = _answer_caption(study, layers, values, without, excluded)
    caption = " ".join([caption, *_codes_caption(codes, shown, lined), *_published_caption(study, known)])
    if len(ranked) > 1:
        intervals = {arm: differences.likelihood(study, arm, ranked[0]) for arm in ranked[1:]}
        drawn = {arm: interval for arm, interval in intervals.items() if interval is not None}
        panels += [_distances(study, ranked[0], drawn)] if drawn else []
        caption = f"{caption} {_distances_caption(study, ranked[0], intervals)}"
    return Figure("Test bits/dim of each arm", panels, caption)


CODE = "reference code"
MOST_PUBLISHED = 4
"""Published results in the figure of the answer; the table has all."""
ROOM_FOR_CODES, ROOM_FOR_THE_BEST = 1.5, 3.0
"""The figure of the answer has codes up to so many times the highest arm's bits/dim, and farther those with a line."""


def _strokes(values: list[float], place: dict[int, float], first: int, label: str, about: list[str]) -> Points:
    """Upright strokes, one a row from the ``first`` on."""
    at = [place[first + row] for row in range(len(values))]
    return Points(values, at, label=label, marker="upright", size=13, about=about)


def _row_of(code: Code) -> str:
    return f"{'model' if code.is_model else 'code'}: {short(code)}"


def _codes_caption(codes: list[Code], shown: list[Code], lined: list[Code]) -> list[str]:
    sentences = []
    if shown:
        what = {True: "a small exact model", False: "the shortest code"}
        named = [f"{LINE_OF[dash(code)]}: {what[code.is_model]}, {code.in_words}" for code in lined]
        names = listing(sorted({f"“{_row_of(code).split(':')[0]}”" for code in shown}))
        sentences.append(f"Strokes named {names}: {kinds(shown)}, of no arm; {'; '.join(named)}.")
    return [*sentences, *codes_beyond([code for code in codes if code not in shown])]


def _nearest(known: list[tuple[str, float, str]], lowest: float) -> list[tuple[str, float, str]]:
    """The lowest published result and those nearest to the lowest arm, the lowest first."""
    ranked = sorted(known, key=lambda each: each[1])
    near = sorted(ranked[1:], key=lambda each: abs(each[1] - lowest))[: MOST_PUBLISHED - 1]
    return sorted([*ranked[:1], *near], key=lambda each: each[1])


def _published_caption(study: Study, shown: list[tuple[str, float, str]]) -> list[str]:
    some = ", the lowest and those nearest to the lowest arm" if len(shown) < len(_published(study)) else ""
    return [f"Upright strokes: published results of the same data, in bits/dim{some}."] if shown else []


def _distances(study: Study, best: str, intervals: dict[str, Interval]) -> Panel:
    """How far each arm lies above the lowest, with the interval of that difference."""
    layers: list[Layer] = [Rule(0.0)]
    for row, (arm, interval) in enumerate(intervals.items()):
        place = float(len(intervals) - row)
        layers.append(_interval(interval.low, interval.high, place, arm, "95% interval of the difference"))
        about = f"{study.title(arm)} less {study.title(best)}"
        layers.append(Points([interval.value], [place], label="difference", colour=arm, size=8.5, about=[about]))
    x = Axis(f"above {study.title(best)}", "bits/dim")
    return rows_panel(x, [study.title(arm) for arm in intervals], layers)


def _distances_caption(study: Study, best: str, intervals: dict[str, Interval | None]) -> str:
    known = [interval for interval in intervals.values() if interval is not None]
    unknown = [study.title(arm) for arm, interval in intervals.items() if interval is None]
    sentences = []
    if known:
        sentences.append(
            f"Below: how far above {study.title(best)}, with the 95% interval of that difference. Where it excludes 0 "
            "the arms differ, though their own intervals may overlap."
        )
        single = [study.title(arm) for arm, interval in intervals.items() if interval and not interval.over_seeds]
        if single:
            of = "" if len(single) == len(known) else f" of {listing(single)}"
            sentences.append(f"Seeds were not repeated: the interval{of} leaves open what another seed would change.")
    if unknown:
        sentences.append(f"Of {listing(unknown)} no interval of the difference is known.")
    return " ".join(sentences)


def _published(study: Study) -> list[tuple[str, float, str]]:
    """Published results of the data: the model's name, bits/dim, and the result in words."""
    return [
        (each.model, bits, f"{each.model}: {each.value:g} {METRICS[each.metric].unit}, {each.source}")
        for each, bits in literature.published_bits(study.results.dataset)
    ]


def _level(study: Study, arm: str, runs: pd.DataFrame, place: float) -> list[Layer]:
    """An arm's test bits/dim at its place: the seeds, and their mean with its 95% interval."""
    seeds, name = runs["value"].to_numpy(dtype=float), study.title(arm)
    one = len(seeds) == 1
    error = float(runs["standard_error"].iloc[0])
    layers: list[Layer] = []
    if not one and np.ptp(seeds) > 0:
        layers.append(_interval(*statistics.mean_interval(seeds), place, arm, OVER_SEEDS))
    elif one and np.isfinite(error):
        half = statistics.NORMAL * error
        layers.append(_interval(seeds[0] - half, seeds[0] + half, place, arm, OVER_IMAGES))
    about = [study.described[run] for run in runs["run_id"]]
    if not one:
        each = [place] * len(seeds)
        layers.append(
            Points(seeds, each, label="seed", colour=arm, filled=False, size=5, runs=runs["run_id"], about=about)
        )
    whole = [f"{name}: mean of {len(seeds)} seeds"] if not one else about
    run = runs["run_id"] if one else ()
    layers.append(Points([seeds.mean()], [place], label="mean", colour=arm, size=8.5, about=whole, runs=run))
    return layers


OVER_SEEDS, OVER_IMAGES = "95% interval over training seeds", "95% interval over test images"


def _interval(low: float, high: float, place: float, arm: str, label: str) -> Line:
    return Line([low, high], [place, place], colour=arm, label=label, width=3.0, opacity=0.5)


def _answer_caption(
    study: Study,
    layers: list[Layer],
    values: dict[str, pd.DataFrame],
    without: list[str],
    excluded: dict[str, int],
) -> str:
    shown = {layer.label for layer in layers}
    several = "seed" in shown
    sentences = ["Filled: the mean over training seeds; hollow: each seed." if several else "Filled: the one seed."]
    if several and any(len(frame) == 1 for frame in values.values()):
        sentences.append("An arm without hollow marks has one seed.")
    over = [words for label, words in ((OVER_SEEDS, "training seeds"), (OVER_IMAGES, "test images")) if label in shown]
    if len(over) == 2:
        sentences.append(f"Lines: 95% intervals over {over[0]}, and of an arm with one seed over {over[1]}.")
    elif over:
        sentences.append(f"Lines: 95% intervals over {over[0]}.")
    sentences += [f"{study.title(arm)}: {count(n, 'seed')} without a finite value." for arm, n in excluded.items() if n]
    if without:
        sentences.append(f"Without a test value: {listing([study.title(arm) for arm in without])}.")
    return " ".join(sentences)
