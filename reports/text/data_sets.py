"""A comparison over data sets in words and tables: its answer, its ranks and its performance profiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import formatting
from reports.analysis.data_sets import kind
from reports.analysis.ranks import LEAST_DATA_SETS, LEVEL, PERMUTATIONS, data_sets_needed, least_p
from reports.formatting import MISSING, NO_BREAK, count, listing, number, plain, quantity
from reports.text.smoke import marked
from reports.text.table import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reports.analysis.data_sets import OverDataSets
    from reports.analysis.profiles import Profile
    from reports.analysis.ranks import RankTest


@dataclass(frozen=True)
class Measure:
    """What a performance profile is of.

    Attributes:
        best: what the best arm of a data set has.
        profiles: the profiles.
        steps: the ratios at which the table counts data sets, in words.
        excess: a ratio in words, before what it is of.
        short: a ratio in a cell.
    """

    best: str
    profiles: Callable[[OverDataSets], Mapping[str, Profile]]
    steps: Mapping[float, str]
    excess: Callable[[float], str]
    short: Callable[[float], str]


RANKS: list[tuple[str, str]] = [
    (
        "Ranks",
        "On each data set the arms are ordered by their mean test bits/dim over seeds, 1 being the lowest, however "
        "small the difference: each study's own report has the intervals. Arms without a value on some data set are "
        "shown and not ranked. Data sets enter by their order alone, so that they may differ in size, grey levels and "
        "number of images; bits/dim are never averaged over them.",
    )
]
"""What the ranks in the table are."""
TESTS: list[tuple[str, str]] = [
    (
        "Friedman and Nemenyi",
        "Whether the average ranks differ by more than chance (Friedman 1937), and which do (Nemenyi 1963), as in "
        "Demšar (2006). The p-values are shares of all arrangements of the ranks within data sets, or of "
        f"{PERMUTATIONS:,} random ones where there are more, as the usual approximations do not hold for few data "
        "sets; those of pairs are adjusted for all pairs. The difference of two arms' average ranks depends on which "
        "other arms there are (Benavoli et al. 2016).",
    ),
    (
        "Performance profile",
        "Of each arm, the share of data sets on which it is within a ratio of the best arm there (Dolan & Moré 2002). "
        "The ratio of bits/dim is that of the sizes to which an ideal coder would bring the images. Training time is "
        "that of the final runs, on whatever machine each study ran; the ratio is within one study.",
    ),
]
"""What is computed of :data:`reports.analysis.ranks.LEAST_DATA_SETS` data sets or more."""


def _percent(ratio: float) -> str:
    """By how much a ratio is above 1, with two significant digits and no more than two decimals."""
    excess = 100 * (ratio - 1)
    if 0 < excess < 0.005:
        return "< 0.01%"
    decimals = 1 - math.floor(math.log10(excess) + 1e-9) if excess > 0 else 0
    return f"{number(excess, min(2, max(0, decimals)))}%"


def _times(ratio: float) -> str:
    return f"{number(ratio, 2)}×" if ratio < 2 else formatting.ratio(ratio)


LIKELIHOOD = Measure(
    "lowest bits/dim",
    lambda data_sets: data_sets.likelihood_profiles,
    {1.01: "1% above", 1.05: "5% above"},
    lambda ratio: f"{_percent(ratio)} above",
    lambda ratio: f"+{_percent(ratio)}",
)
TIME = Measure(
    "shortest training",
    lambda data_sets: data_sets.time_profiles,
    {2.0: "2×", 5.0: "5×"},
    _times,
    _times,
)


def headline(data_sets: OverDataSets) -> str:
    """What the data sets say together, in a sentence or two."""
    smoke = any(study.results.settings.get("smoke") is True for study in data_sets.studies.values())
    return marked(_headline(data_sets), {"smoke": smoke})


def _headline(data_sets: OverDataSets) -> str:
    studies = data_sets.studies
    if len(studies) < 2:
        return "There are no two data sets to compare arms over."
    if not data_sets.ranked:
        return f"No two arms were measured on all {len(studies)} data sets: none are ranked."
    lead = _lead(data_sets)
    test = data_sets.test
    if test is None:
        return (
            f"{lead}. No test over {len(studies)} data sets can say which arm is better in general: the table is all "
            "that is known."
        )
    if test.p > LEVEL:
        return f"{lead}, but no difference between arms is established ({_friedman(test)})."
    return f"{lead}, and the arms differ ({_friedman(test)}). {_separated(data_sets, test)}"


def _lead(data_sets: OverDataSets) -> str:
    """Which arm is the lowest, over so many data sets."""
    n, average = len(data_sets.studies), data_sets.average_ranks
    best = [arm for arm, rank in average.items() if rank - min(average.values()) < 1e-9]
    names = listing([data_sets.title(arm) for arm in best])
    if len(best) > 1:
        return f"Over {n} data sets {names} share the lowest average rank"
    first = int((data_sets.ranks[best[0]] == 1).sum())
    if first == n and data_sets.test is None:
        return f"{names} has the lowest test bits/dim on {_of(first, n)} data sets"
    return f"Over {n} data sets {names} has the lowest average rank, {number(average[best[0]], 2)}"


def _of(some: int, n: int) -> str:
    return {(2, 2): "both"}.get((some, n), f"all {n}" if some == n else f"{some} of {n}")


def _friedman(test: RankTest) -> str:
    return f"Friedman's test, p{NO_BREAK}{_p(test.p)}"


def _p(p: float) -> str:
    text = formatting.probability(p)
    return (text if text.startswith("<") else f"= {text}").replace(" ", NO_BREAK)


def _separated(data_sets: OverDataSets, test: RankTest) -> str:
    """The pairs of arms whose average ranks differ by more than chance, the lower one first."""
    arms = data_sets.ranked
    found = []
    for (i, j), p in test.pairs.items():
        if p <= LEVEL:
            low, high = (arms[i], arms[j]) if test.average[i] < test.average[j] else (arms[j], arms[i])
            found.append(f"{data_sets.title(low)} below {data_sets.title(high)} (p{NO_BREAK}{_p(p)})")
    if not found:
        return "No two of them are separated by themselves."
    return f"Separated are {listing(found)}." if len(found) < len(test.pairs) else f"All are: {listing(found)}."


def details(data_sets: OverDataSets) -> list[str]:
    """What a reader must know to weigh the headline."""
    found = list(data_sets.left_out)
    n, k = len(data_sets.studies), len(data_sets.ranked)
    if data_sets.test is not None and least_p(n, k) > LEVEL:
        found.append(
            f"With {k} arms, {n} data sets cannot reach 5% however they turn out: the smallest possible p is "
            f"{formatting.probability(least_p(n, k))}; {data_sets_needed(k)} data sets could."
        )
    elif n < LEAST_DATA_SETS and k > 1:
        found.append(f"A test needs {data_sets_needed(k)} data sets or more with these {k} arms.")
    missing = {
        arm: [name for name, row in data_sets.estimates.items() if row[arm] is None] for arm in data_sets.unranked
    }
    found += [
        f"{data_sets.title(arm)} is not ranked: it has no test bits/dim on {listing(names)}."
        for arm, names in missing.items()
        if names
    ]
    found += [
        f"{data_sets.title(arm)} is of different families on different data sets: {listing(families)}."
        for arm, families in data_sets.other_families.items()
    ]
    if len({study.results.dataset.get("grey_levels") for study in data_sets.studies.values()}) > 1:
        found.append(
            "The data sets have different numbers of grey levels, and their bits/dim different scales: only the "
            "order of the arms on each, and ratios within each, are compared."
        )
    return found


OF_ONE_SEED = " (with one seed that over test images)"


def likelihoods(data_sets: OverDataSets) -> Table:
    """Test bits/dim of each arm on each data set with its rank, and the average ranks where there is a test."""
    arms = [*data_sets.average_ranks, *data_sets.unranked]
    rows = [[Cell(name, [kind(data_sets.studies[name])]), *_row(data_sets, name, arms)] for name in data_sets.studies]
    levels = [each for row in data_sets.estimates.values() for each in row.values() if each is not None]
    of_one_seed = OF_ONE_SEED if any(each.seeds == 1 for each in levels) else ""
    if data_sets.test is not None:
        average = data_sets.average_ranks
        cells = [Cell(number(average[arm], 2)) if arm in average else Cell(MISSING) for arm in arms]
        rows.append([Cell("Average rank"), *cells])
    caption = f"Test bits/dim, mean over seeds ± its error{of_one_seed}; less is better. Compare within a row alone"
    return Table(caption, ["Data set", *map(data_sets.title, arms)], rows)


def _row(data_sets: OverDataSets, name: str, arms: list[str]) -> list[Cell]:
    study, ranks, found = data_sets.studies[name], data_sets.ranks.loc[name].to_dict(), []
    least = min((each.mean for each in data_sets.estimates[name].values() if each is not None), default=math.nan)
    for arm in arms:
        estimate = data_sets.estimates[name][arm]
        if estimate is None:
            found.append(Cell("no value" if arm in study.families else "absent"))
            continue
        notes = [f"rank {_rank(ranks[arm])}"] if arm in ranks else []
        notes += [f"+{_percent(estimate.mean / least)}"] if least > 0 and estimate.mean > least else []
        notes.append(count(estimate.seeds, "seed"))
        found.append(Cell(quantity(estimate.mean, estimate.error), notes))
    return found


def _rank(rank: float) -> str:
    return number(rank, 0 if rank.is_integer() else 1)


def pairs(data_sets: OverDataSets, test: RankTest) -> Table:
    """Every two ranked arms with the difference of their average ranks."""
    arms, ranks = data_sets.ranked, data_sets.ranks
    rows = []
    for (i, j), p in sorted(test.pairs.items(), key=lambda each: each[1]):
        low, high = (i, j) if test.average[i] <= test.average[j] else (j, i)
        first, second = ranks[arms[low]], ranks[arms[high]]
        rows.append(
            [
                Cell(f"{data_sets.title(arms[low])} and {data_sets.title(arms[high])}"),
                Cell(f"{int((first < second).sum())} to {int((first > second).sum())}"),
                Cell(number(float(test.average[high] - test.average[low]), 2)),
                Cell(formatting.probability(p)),
                Cell("separated" if p <= LEVEL else "within chance"),
            ]
        )
    return Table("Two arms at a time", ["Arms", "Lower on", "Average ranks apart", "Nemenyi's p", "At 5%"], rows)


def found_by_test(test: RankTest) -> str:
    """What the test found, in numbers."""
    over = "all arrangements" if test.exact else f"{PERMUTATIONS:,} random arrangements"
    reach = (
        "no difference of average ranks is beyond chance at 5%"
        if test.critical is None
        else f"average ranks that are {number(test.critical, 2)} or more apart differ by more than chance at 5%"
    )
    return f"Friedman's χ² is {number(test.statistic, 2)}, p{NO_BREAK}{_p(test.p)} over {over} of the ranks; {reach}."


def profile_sentences(data_sets: OverDataSets) -> list[str]:
    """The performance profiles in two sentences: of likelihood, and of training time."""
    n = len(data_sets.studies)
    found = []
    for measure in (LIKELIHOOD, TIME):
        profiles = {arm: each for arm, each in measure.profiles(data_sets).items() if len(each.ratios)}
        if not profiles:
            continue
        most = max(profile.within(1.0) for profile in profiles.values())
        leaders = [data_sets.title(arm) for arm, profile in profiles.items() if profile.within(1.0) == most]
        have, each = ("has", "") if len(leaders) == 1 else ("have", ", each")
        parts = [f"{listing(leaders)} {have} the {measure.best} on {_of(most, n)} data sets{each}"]
        farthest = {arm: float(profile.ratios[-1]) for arm, profile in profiles.items() if profile.is_complete}
        parts += [
            f"{data_sets.title(arm)} is at most {measure.excess(ratio)} that"
            for arm, ratio in sorted(farthest.items(), key=lambda each: each[1])
            if ratio > 1
        ]
        found.append(f"{'; '.join(parts)}.")
    return found


def profile_table(data_sets: OverDataSets) -> Table:
    """On how many data sets each arm is within some ratios of the best, and its largest ratio."""
    measures = (LIKELIHOOD, TIME)
    columns = ["Arm"]
    for measure in measures:
        within = [f"at most {step} that" for step in measure.steps.values()]
        columns += [measure.best.capitalize(), *within, "Farthest"]
    rows = []
    for arm in (*data_sets.average_ranks, *data_sets.unranked):
        cells = [Cell(data_sets.title(arm))]
        for measure in measures:
            profile = measure.profiles(data_sets)[arm]
            cells += [Cell(f"{profile.within(ratio)} of {profile.data_sets}") for ratio in (1.0, *measure.steps)]
            farthest = profile.ratios[-1] if profile.is_complete else None
            cells.append(Cell(MISSING if farthest is None else measure.short(float(farthest))))
        rows.append(cells)
    return Table("Performance profiles: on how many data sets an arm is so near to the best", columns, rows)


def sources(data_sets: OverDataSets) -> Table:
    """The study of each data set."""
    rows = []
    for name, study in data_sets.studies.items():
        known, settings = study.results.provenance, study.results.settings
        values = [settings.get("trials"), settings.get("seeds"), known.get("commit"), known.get("device")]
        rows.append([Cell(name), Cell(study.results.study_id), *(Cell(plain(value)) for value in values)])
    return Table("The studies", ["Data set", "Study", "Trials", "Seeds", "Commit", "Device"], rows)
