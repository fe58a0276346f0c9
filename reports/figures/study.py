"""The figures of a study's report, each a function from the prepared study to what is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.core.metrics import METRICS
from bench.core.results import RunState
from reports.analysis import arm_forecasts, budget, curves, differences, literature, selection, statistics
from reports.analysis.curves import HOLLOW_STATES, fence
from reports.analysis.forecast import FARTHEST, Fit
from reports.analysis.importance import importances as importances_of
from reports.analysis.reference_codes import best_code, kinds, reference_codes, reference_model, short
from reports.analysis.results import LIKELIHOOD
from reports.analysis.trade_offs import trade_offs as trade_offs_of
from reports.figures.grammar import Axis, Band, Bars, Figure, Line, Panel, Points, Rule, Step
from reports.figures.registry import register_figure
from reports.figures.scales import LONGEST
from reports.figures.styles import ENDS, UNKNOWN_END, arm_styles
from reports.formatting import count, listing, quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from reports.analysis.reference_codes import Code
    from reports.analysis.results import Study
    from reports.analysis.statistics import Interval
    from reports.figures.grammar import Dash, Layer, Place

VALIDATION = "validation bits/dim"
FAINT = 0.35
"""The opacity of search trials' learning curves."""
IMAGES, SECONDS = Axis("training images seen"), Axis("training time", "s")


def _widened(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A scale with a margin at both ends."""
    margin = share * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def _errors(study: Study, split: str, runs: pd.Series) -> np.ndarray:
    """The standard errors of the bits/dim of some runs, NaN where none was measured."""
    measured = study.measured(split, LIKELIHOOD).drop_duplicates("run_id").set_index("run_id")
    return runs.map(measured["standard_error"]).to_numpy(dtype=float)


def _with_bars(limits: tuple[float, float], values: pd.Series, errors: np.ndarray) -> tuple[float, float]:
    """A scale with the error bars of the values that are on it."""
    inside = values.between(*limits).to_numpy() & np.isfinite(errors)
    ends = [values.to_numpy()[inside] + sign * errors[inside] for sign in (-1, 1)]
    return float(np.min([limits[0], *ends[0]])), float(np.max([limits[1], *ends[1]]))


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
        layers[:0] = [Rule(code.value, label=code.label, dash=_dash(code), opacity=0.6) for code in lined]
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
LINE_OF: dict[Dash, str] = {"dotted": "dotted", "dashdot": "dash-dotted"}
"""The lines at reference codes in words."""
MOST_PUBLISHED = 4
"""Published results in the figure of the answer; the table has all."""
ROOM_FOR_CODES, ROOM_FOR_THE_BEST = 1.5, 3.0
"""The figure of the answer has codes up to so many times the highest arm's bits/dim, and farther those with a line."""


def _strokes(values: list[float], place: dict[int, float], first: int, label: str, about: list[str]) -> Points:
    """Upright strokes, one a row from the ``first`` on."""
    at = [place[first + row] for row in range(len(values))]
    return Points(values, at, label=label, marker="upright", size=13, about=about)


def _dash(code: Code) -> Dash:
    """How the line at a code is broken: otherwise for the model than for the others."""
    return "dashdot" if code.is_model else "dotted"


def _row_of(code: Code) -> str:
    return f"{'model' if code.is_model else 'code'}: {short(code)}"


def _codes_caption(codes: list[Code], shown: list[Code], lined: list[Code]) -> list[str]:
    sentences = []
    if shown:
        what = {True: "a small exact model", False: "the shortest code"}
        named = [f"{LINE_OF[_dash(code)]}: {what[code.is_model]}, {code.in_words}" for code in lined]
        names = listing(sorted({f"“{_row_of(code).split(':')[0]}”" for code in shown}))
        sentences.append(f"Strokes named {names}: {kinds(shown)}, of no arm; {'; '.join(named)}.")
    return [*sentences, *_beyond([code for code in codes if code not in shown])]


def _beyond(codes: list[Code]) -> list[str]:
    """The reference codes that the scale does not reach, in a sentence."""
    named = listing([f"{code.label} at {quantity(code.value)}" for code in codes])
    return [f"{kinds(codes).capitalize()} beyond this scale: {named}."] if codes else []


def _nearest(known: list[tuple[str, float, str]], lowest: float) -> list[tuple[str, float, str]]:
    """The lowest published result and those nearest to the lowest arm, the lowest first."""
    ranked = sorted(known, key=lambda each: each[1])
    near = sorted(ranked[1:], key=lambda each: abs(each[1] - lowest))[: MOST_PUBLISHED - 1]
    return sorted([*ranked[:1], *near], key=lambda each: each[1])


def _published_caption(study: Study, shown: list[tuple[str, float, str]]) -> list[str]:
    some = ", the lowest and those nearest to the lowest arm" if len(shown) < len(_published(study)) else ""
    return [f"Upright strokes: published results of the same data, in bits/dim{some}."] if shown else []


def rows_panel(x: Axis, names: list[str], layers: list[Layer]) -> Panel:
    """A panel with a row for each name, the first on top."""
    ticks = [(float(len(names) - row), name) for row, name in enumerate(names)]
    y = Axis(ticks=ticks, named=True, limits=(0.4, len(names) + 0.6))
    inches = 0.34 if max(map(len, names)) <= LONGEST else 0.46
    return Panel(x, y, layers, height=0.8 + inches * len(names))


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


BARS = "bars of one standard error over images"
COSTS = {
    "training_seconds": ("training time", Axis("training time", "s", scale="log")),
    "parameters": ("size", Axis("trainable parameters", scale="log")),
    "sample_images_per_second": ("sampling speed", Axis("images sampled per second", scale="log")),
}


@register_figure("trade-off", "Likelihood against its cost", section="comparison")
def trade_offs(study: Study) -> Iterator[Figure]:
    """Likelihood against training time, size and sampling speed, each with its Pareto front."""
    styles = arm_styles(study.families)
    for data in trade_offs_of(study):
        cost, axis = COSTS[data.metric]
        front = data.front
        where: Place = "pre" if data.higher_is_better else "post"
        layers: list[Layer] = [Step(front["cost"], front["value"], where=where, dash="dashed", width=1.0, opacity=0.55)]
        points = data.points.sort_values("value", kind="stable")
        for arm in study.arms:
            for on_front in (False, True):
                some = points[(points["arm"] == arm) & (points["front"] == on_front)]
                layers.append(
                    Points(
                        some["cost"],
                        some["value"],
                        _errors(study, data.split, some["run_id"]),
                        label=study.title(arm),
                        colour=arm,
                        filled=on_front,
                        runs=some["run_id"],
                        about=some["about"],
                    )
                )
        errors = _errors(study, data.split, data.points["run_id"])
        limits = _with_bars(fence(data.points["value"]) or (0.0, 1.0), data.points["value"], errors)
        lines, limits, about_codes = code_lines(study, limits) if data.split == "test" else ([], limits, [])
        limits = _widened(*limits, share=0.08)
        layers = [*lines, *layers]
        runs = "complete trials" if data.split == "validation" else "final runs"
        arms = [arm for arm in study.arms if arm in set(data.points["arm"])]
        key = [f"{styles[arm].filled} {study.title(arm)}" for arm in arms]
        counts = front["arm"].value_counts()
        joined = " and joined" if len(front) > 1 else ""
        bars = f", with {BARS}" if np.isfinite(errors).any() else ""
        caption = (
            f"{', '.join(key)}: {len(data.points)} {runs}{bars}. Filled{joined}: the Pareto front, runs that no other "
            f"beats in both, {listing([f'{counts[arm]} of {study.title(arm)}' for arm in counts.index])}."
        )
        caption = " ".join([caption, *about_codes, *beyond(data.points["value"], limits)])
        under = f" ({data.conditions})" if data.conditions else ""
        title = f"{data.split.capitalize()} bits/dim against {cost}{under}"
        yield Figure(title, [Panel(axis, Axis(f"{data.split} bits/dim", limits=limits), layers)], caption, stem=cost)


def beyond(values: pd.Series, limits: tuple[float, float]) -> list[str]:
    """How many marks a scale leaves out, in a sentence."""
    above = int((values > limits[1]).sum())
    return [f"{above} above this scale {'is' if above == 1 else 'are'} not shown."] if above else []


def code_lines(study: Study, limits: tuple[float, float]) -> tuple[list[Layer], tuple[float, float], list[str]]:
    """Lines at the reference codes near a scale of test bits/dim, the scale with them in it, and sentences on them."""
    low, high = limits
    codes = reference_codes(study)
    shown = [code for code in codes if low - (high - low) <= code.value <= high + (high - low)]
    lines: list[Layer] = [
        Rule(code.value, label=code.label, across="y", dash=_dash(code), opacity=0.6, written=True) for code in shown
    ]
    ends = [code.value for code in shown]
    among = [[code for code in shown if code.is_model == is_model] for is_model in (False, True)]
    key = "; ".join(f"{LINE_OF[_dash(some[0])]}: {kinds(some)}" for some in among if some)
    dotted = [f"{key[0].upper()}{key[1:]}, of no arm."] if shown else []
    beyond = _beyond([code for code in codes if code not in shown])
    return lines, (min([low, *ends]), max([high, *ends])), [*dotted, *beyond]


@register_figure("bound", "The bound against importance samples", section="diagnostics")
def bound_curves(study: Study) -> Iterator[Figure]:
    """The bound against the number of importance samples, of each arm."""
    for data in curves.bound_curves(study):
        samples, value = data.points["importance_samples"], data.points["value"]
        error = 2 * data.points["error"].fillna(0.0)
        layers: list[Layer] = [Line(samples, value, colour=data.arm, label=study.title(data.arm), markers=True)]
        if error.any():
            layers.insert(0, Band(samples, value - error, value + error, colour=data.arm))
        over = f"mean over {data.seeds} seeds" if data.seeds > 1 else "one seed"
        band = "; the band is two Monte Carlo errors" if error.any() else ""
        yield Figure(
            f"{study.title(data.arm)}: test bits/dim against importance samples k",
            [Panel(Axis("importance samples k", scale="log2"), Axis("test bits/dim"), layers)],
            f"The {over}{band}. Where the curve is flat, more samples gain nothing.",
            stem=data.arm,
        )


@register_figure("latents", "What each latent carries", section="diagnostics")
def latent_profiles(study: Study) -> Iterator[Figure]:
    """What each latent carries, of the first seed of each arm that has latents."""
    for data in curves.latent_profiles(study):
        kl, active = data.points["kl_nats"].to_numpy(), data.points["active"].to_numpy()
        rank = np.arange(1, len(kl) + 1)
        layers = [
            Points(rank[some], kl[some], colour=data.arm, filled=filled, size=5, label=label)
            for some, filled, label in ((active, True, "active"), (~active, False, "not active"))
        ]
        # From just below 0, so that marks at 0 show whole.
        limits = (min(0.0, float(kl.min())) - 0.04 * (float(kl.max()) or 1.0), 1.05 * (float(kl.max()) or 1.0))
        yield Figure(
            f"{study.title(data.arm)}: KL to the prior of each latent, seed {data.seed}",
            [Panel(Axis("latent, by its KL", whole=True), Axis("KL to the prior", "nats", limits=limits), layers)],
            f"Latents in descending order: {active.sum()} active (filled), {(~active).sum()} not (hollow).",
            stem=data.arm,
        )


RESPONSE_NOTE = (
    "Each mark is a trial. Hollow marks are trials that ended early or still run, at the last validation value they "
    "reached. Trials that have no place on the scale stand in the strip at the top edge, so that none is left out."
)


@register_figure("response", "Likelihood against each swept parameter", section="trials", note=RESPONSE_NOTE)
def responses(study: Study) -> Iterator[Figure]:
    """Validation bits/dim against each swept parameter of each arm, sizes and learning rates first."""
    for arm, parameter in selection.by_interest(study):
        data = curves.response(study, arm, parameter)
        if data is not None:
            yield response(study, data)


def response(study: Study, data: curves.Response) -> Figure:
    """A response curve with its strip of trials that have no place on the scale."""
    strip, body = (data.points[data.points["strip"] == there] for there in (True, False))
    whole = bool((data.points["x"] % 1 == 0).all())
    scale: Literal["linear", "log"] = "log" if data.log else "linear"
    x = Axis(data.parameter, scale=scale, ticks=data.ticks or (), named=data.named, whole=whole)
    complete = body[body["mark"] == RunState.COMPLETE]
    errors = _errors(study, "validation", complete["run_id"])
    layers: list[Layer] = [_trials(complete, data.arm, error=errors, opacity=0.85)]
    for state in HOLLOW_STATES:
        marker = "" if state == RunState.PRUNED else "lozenge"
        layers.append(_trials(body[body["mark"] == state], data.arm, marker=marker, filled=False))
    chosen = body[body["selected"]]
    layers.append(Points(chosen["x"], chosen["value"], label="selected", marker="circle", filled=False, size=13))
    layers = [layer for layer in layers if not isinstance(layer, Points) or len(layer.x)]
    note = "" if data.limits is not None else "no trial has a finite value"
    limits = None if data.limits is None else _with_bars(data.limits, complete["value"], errors)
    y = Axis(VALIDATION, limits=None if limits is None else _widened(*limits, share=0.08))
    panels = [Panel(x, y, layers, height=2.8, note=note)]
    if len(strip):
        panels.insert(0, _strip(strip, x, data.arm))
    title = f"{study.title(data.arm)}: {VALIDATION} against {data.parameter}"
    stem = f"{data.arm}-{data.parameter}"
    return Figure(title, panels, _response_caption(study, data), one_x=True, stem=stem)


def _trials(points: pd.DataFrame, arm: str, **known: object) -> Points:
    label = str(points["mark"].iloc[0]) if len(points) else ""
    about = {"runs": points["run_id"], "about": points["about"], "label": label, "colour": arm}
    return Points(points["x"], points["value"], **(about | known))  # type: ignore[arg-type]


def _strip(strip: pd.DataFrame, x: Axis, arm: str) -> Panel:
    """The marks that have no place on the scale; those that share a place are stacked, so that each shows."""
    rank = strip.groupby("x").cumcount()
    strip = strip.assign(value=(rank + 1) / (rank.groupby(strip["x"]).transform("size") + 1))
    layers = [
        _trials(some, arm, marker=ENDS.get(str(mark), UNKNOWN_END).marker, size=7.5)
        for mark, some in strip.groupby("mark", sort=False)
    ]
    hidden = Axis(scale=x.scale, shown=False)
    return Panel(hidden, Axis(limits=(0.0, 1.0), shown=False), layers, height=0.6, shaded=True)


def _response_caption(study: Study, data: curves.Response) -> str:
    style = arm_styles(study.families)[data.arm]
    body = data.points[~data.points["strip"]]
    counts = body["mark"].value_counts()
    complete = body.loc[body["mark"] == RunState.COMPLETE, "run_id"]
    bars = f" with {BARS}" if np.isfinite(_errors(study, "validation", complete)).any() else ""
    key = [
        f"{symbol} {counts[mark]} {words}"
        for mark, symbol, words in (
            (RunState.COMPLETE, style.filled, f"complete{bars}"),
            (RunState.PRUNED, style.hollow, "pruned"),
            (RunState.INTERRUPTED, "◊", "interrupted"),
            (RunState.RUNNING, "◊", "running"),
        )
        if mark in counts
    ]
    if body["selected"].any():
        key.append("◯ the selected one")
    edge = data.points.loc[data.points["strip"], "mark"].value_counts(sort=False)
    strip = [ENDS.get(mark, UNKNOWN_END).caption(n) for mark, n in edge.items()]
    sentences = [f"{', '.join(key)}." if key else "", f"In the strip: {', '.join(strip)}." if strip else ""]
    if data.without:
        sentences.append(f"{count(data.without, 'trial')} without a value of this parameter not drawn.")
    return " ".join(filter(None, sentences))


@register_figure("importance", "Which parameter matters", section="trials")
def importances(study: Study) -> Iterator[Figure]:
    """Which swept parameter the likelihood depends on, of each arm with enough complete trials."""
    for data in importances_of(study):
        shares = data.shares
        bars = Bars(list(shares["parameter"]), shares["share"], shares["low"], shares["high"], colour=data.arm)
        x = Axis("share of the variation that single parameters explain", limits=(0.0, 1.0))
        yield Figure(
            f"{study.title(data.arm)}: which swept parameter matters",
            [Panel(x, Axis(), [bars], height=0.9 + 0.55 * len(shares))],
            f"Shares of the variation of {VALIDATION} over the swept ranges, by functional ANOVA on "
            f"{count(data.trials, 'complete trial')}; the line is the range over resampled trials.",
            stem=data.arm,
        )


@register_figure("budget", "Best so far against the budget", section="trials")
def budgets(study: Study) -> Iterator[Figure]:
    """The best validation bits/dim so far against what the search has spent, of each arm."""
    for data in budget.best_so_far(study):
        best = data.observed["best"]
        inside = [] if data.band is None else list(data.band["median"][np.isfinite(data.band["median"])])
        found = study.trials[(study.trials["arm"] == data.arm) & study.trials["best"]]
        error = _errors(study, "validation", found["run_id"])
        ends = [float(best.iloc[-1]) + side * float(by) for by in error if np.isfinite(by) for side in (-1, 1)]
        low, high = _widened(
            min([float(best.min()), *inside, *ends]), max([float(best.max()), *inside, *ends]), share=0.1
        )
        y = Axis("best bits/dim so far", limits=(low, high))
        panels = []
        for column, axis in (("trials", Axis("trials", whole=True)), ("images", IMAGES), ("seconds", SECONDS)):
            spent = data.observed[column]
            layers: list[Layer] = [
                Step(spent, best, colour=data.arm, label="this study"),
                Points(spent.iloc[-1:], best.iloc[-1:], error, colour=data.arm, size=5, label="this study"),
            ]
            if column == "trials" and data.band is not None:
                band = data.band.clip(lower=low - 1, upper=high + 1)  # infinite ends leave the scale
                n, label = data.band["trials"], "median of random trials"
                layers.append(Band(n, band["low"], band["high"], colour=data.arm, step=True))
                layers.append(
                    Step(n, band["median"], where="mid", colour=data.arm, dash="dashed", width=1.2, label=label)
                )
            limits = (0.0, 1.03 * max(float(spent.max()), 1e-9))
            panels.append(Panel(Axis(axis.label, axis.unit, limits=limits, whole=axis.whole), y, layers, height=2.3))
        title = f"{study.title(data.arm)}: best {VALIDATION} so far against the budget"
        bar = " The bar at the line's end is one standard error over images." if ends else ""
        yield Figure(title, panels, f"{_budget_caption(data)}{bar}", stem=data.arm)


def _budget_caption(data: budget.BestSoFar) -> str:
    if data.band is None:
        how = f" by the {data.sampler} sampler" if data.sampler else ""
        trials = int(data.observed["trials"].iloc[-1])
        if data.sampler == "random":
            reason = "no trial is a random draw yet"
        elif data.sampler == "tpe" and trials <= budget.TPE_STARTUP_TRIALS:
            reason = (
                "its trials are the arm's own configuration and random draws, as the tpe sampler proposes none "
                f"before {budget.TPE_STARTUP_TRIALS} trials have completed, and they are too few"
            )
        else:
            reason = f"its trials were proposed{how} and not drawn independently"
        return (
            f"The line is what this one study found, in its order. No interval is drawn: {reason}, so only repeated "
            "studies could say how far another one would differ."
        )
    sentences = [
        "Solid: what this study found, in its order.",
        "Dashed: the median best of so many random trials, with its 95% band, from "
        f"{count(data.draws, 'independent draw')} (the first trial is the arm's own configuration and no draw). Where "
        "the band leaves the scale, the trials are too few to bound it.",
        "Trials that failed, diverged or were pruned count as infinitely bad, as they cannot be selected.",
    ]
    if data.pruned:
        sentences.append("Pruning depends on earlier trials, so that here the band holds only approximately.")
    return " ".join(sentences)


@register_figure("learning", "Validation in the course of training", section="learning")
def learning_curves(study: Study) -> Iterator[Figure]:
    """The final runs of all arms in one figure, then all runs of each arm."""
    found = curves.learning_curves(study)
    comparable = len(differences.likelihood_units(study, "validation")) < 2
    together = [data for data in found if len(data.band)] if comparable else []
    if len(together) > 1:
        layers = {
            column: [layer for data in together for layer in _mean(study, data, column, label=True)]
            for column in ("images", "seconds")
        }
        panels = _course_panels(together, layers)
        title = f"All arms: {VALIDATION} of the final runs against {_across(panels)}"
        caption = (
            "Mean over the final runs of each arm; bands are the ranges over seeds."
            if _banded(panels)
            else "The final run of each arm."
        )
        yield Figure(title, panels, caption, legend=True, stem="arms", numbers="histories.csv")
    for data in found:
        panels = _course_panels([data], {column: _runs(study, data, column) for column in ("images", "seconds")})
        final = f"{count(len(data.final), 'final run')} in full colour"
        mean = ", their mean bold, their range over seeds as a band" if _banded(panels) else ""
        runs = [
            f"{count(len(data.searched), 'search trial')} faint" if data.searched else "",
            f"{final}{mean}" if data.final else "",
        ]
        yield Figure(
            f"{study.title(data.arm)}: {VALIDATION} against {_across(panels)}",
            panels,
            f"{'; '.join(filter(None, runs))}. One scale for all arms, without the highest 5% of points.",
            stem=data.arm,
            numbers="histories.csv",
        )


def _across(panels: list[Panel]) -> str:
    """What the panels' horizontal axes show."""
    return listing([panel.x.label for panel in panels])


def _banded(panels: list[Panel]) -> bool:
    return any(isinstance(layer, Band) for panel in panels for layer in panel.layers)


def _course_panels(found: list[curves.LearningCurves], layers: dict[str, list[Layer]]) -> list[Panel]:
    """A panel against images, and one against seconds where all were logged."""
    shown = [curve for data in found for curve in (*data.searched, *data.final)]
    y = Axis(VALIDATION, limits=_widened(*found[0].limits, share=0.05))
    panels = []
    for column, axis in (("images", IMAGES), ("seconds", SECONDS)):
        if all(np.isfinite(getattr(curve, column)).all() for curve in shown):
            limits = (0.0, 1.03 * max(float(getattr(curve, column).max()) for curve in shown))
            panels.append(Panel(Axis(axis.label, axis.unit, limits=limits), y, layers[column], height=2.9))
    return panels


def _runs(study: Study, data: curves.LearningCurves, column: str) -> list[Layer]:
    """The trials thin, those with the lowest last value first, and the final runs: their mean, range and lines."""
    searched = sorted(data.searched, key=lambda curve: float(curve.value[-1]))
    lines: Iterable[Layer] = (
        Line(
            getattr(curve, column),
            curve.value,
            colour=data.arm,
            width=0.9,
            opacity=opacity,
            run=curve.run_id,
            about=curve.about,
        )
        for group, opacity in ((searched, FAINT), (data.final, 1.0))
        for curve in group
    )
    return [*lines, *_mean(study, data, column)]


def _mean(study: Study, data: curves.LearningCurves, column: str, *, label: bool = False) -> list[Layer]:
    band, several = data.band, len(data.final) > 1
    if band.empty:
        return []
    name = study.title(data.arm)
    ranges: list[Layer] = [Band(band[column], band["low"], band["high"], colour=data.arm)] if several else []
    return [
        *ranges,
        Line(
            band[column],
            band["mean"],
            colour=data.arm,
            label=name if label else "",
            about=f"{name}: {'mean of the final runs' if several else 'the final run'}",
            width=1.9,
            markers=len(band) <= 30,
            dash="arm" if label else "solid",
        ),
    ]


FORECAST_NOTE = (
    "Solid: the mean validation curve of the final runs, as measured. Dashed, with a band: a forecast of these runs "
    "trained on, the best so far by a saturating power law with drift, with its 95% interval; nothing of it has been "
    "measured. It ends at twice the measured budget, as farther out such intervals held too few ends of logged curves."
)


@register_figure("forecast", "Forecast of more training", section="learning", note=FORECAST_NOTE)
def forecasts(study: Study) -> Figure | None:
    """What more training is forecast to bring each arm that has a forecast."""
    if len(differences.likelihood_units(study, "validation")) > 1:
        return None
    found = {arm: arm_forecasts.forecast(study, arm) for arm in study.arms}
    fits = {arm: fit for arm, fit in found.items() if isinstance(fit, Fit)}
    if not fits:
        return None
    layers: list[Layer] = []
    shown = []
    for arm, fit in fits.items():
        budgets = np.geomspace(fit.end, FARTHEST * fit.end, 40)
        value, low, high = fit.at(budgets)
        name = study.title(arm)
        layers += [
            Band(budgets, low, high, label=f"{name}, forecast", colour=arm, opacity=0.6),
            Line(budgets, value, label=f"{name}, forecast", colour=arm, dash="dashed", width=1.2),
            Line(fit.images, fit.mean, label=f"{name}, measured", colour=arm, width=1.9),
        ]
        shown += [fit.mean, low, high]
    layers += [Rule(end, dash="dotted", opacity=0.6) for end in sorted({fit.end for fit in fits.values()})]
    values = np.concatenate(shown)
    y = Axis(VALIDATION, limits=_widened(float(values.min()), float(values.max()), share=0.05))
    title = f"{listing([study.title(arm) for arm in fits])}: {VALIDATION} forecast to {FARTHEST:g} times the budget"
    caption = (
        "A dashed line is a forecast of the best so far, its band the 95% interval; a dotted line ends what was "
        "measured. The first tenth of training is not fitted and not drawn."
    )
    without = [study.title(arm) for arm in found if arm not in fits]
    if without:
        caption = f"{caption} Without a forecast: {listing(without)}."
    panel = Panel(Axis(IMAGES.label, scale="log"), y, layers, height=2.9)
    return Figure(title, [panel], caption, legend=True, stem="arms")
