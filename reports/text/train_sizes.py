"""A comparison over numbers of training images in words and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import formatting
from reports.analysis.convergence import improving
from reports.analysis.results import SAME_BUDGET
from reports.analysis.train_sizes import TRAINING_IMAGES
from reports.formatting import MISSING, count, listing, plain, quantity
from reports.text.data_sets import OF_ONE_SEED
from reports.text.frontier import VERDICT, interval_of, verdict
from reports.text.smoke import marked
from reports.text.table import Cell, Table

if TYPE_CHECKING:
    from reports.analysis.frontier import AtBudget, Crossing
    from reports.analysis.train_sizes import Gain, OverTrainSizes

NOTES: list[tuple[str, str]] = [
    (
        "Training images",
        "The first ones of a fixed permutation of the training split, so that fewer images lie within more. They are "
        "drawn whatever their class. Validation and test images are the same for every number, and so are those that "
        "choose the best weights.",
    ),
    (
        "Budget",
        "By default a run may see as many training images at every number as it would with all of them. Of fewer "
        "images it makes more passes, and is evaluated once a pass (at least 10 and at most 400 times), so that the "
        "weights of its best evaluation on validation, which are kept, are not long overfitted ones. So the data are "
        "not all that differs: patience, by which the learning rate falls and training ends, counts evaluations, "
        "which lie closer together in a small set. There the rate may fall, and training end, after fewer images than "
        "with more data. The table of the studies says how often runs were evaluated, and how many images they really "
        "saw. --epochs counts passes over the images of each number instead, and then fewer images are also trained "
        "on for fewer steps.",
    ),
    (
        "Intervals",
        "Which arm is lower at a number of images is what the study of that number says alone, with its interval: over "
        "seeds and test images, paired image by image, where it has the likelihood of each image. What more images "
        "bring an arm is the same of two studies, whose test images are the same ones. Seeds choose no images: another "
        "draw of the training images is in no interval.",
    ),
    (
        "No ranks",
        "The sets of images share their images, and each study its test images, so that they are no independent data "
        "sets: there are no average ranks and no test over them.",
    ),
]
"""How the page is to be read."""


def headline(found: OverTrainSizes) -> str:
    """How the answer changes with the number of training images, in a sentence or two."""
    said = _headline(found)
    smoke = any(study.results.settings.get("smoke") is True for study in found.studies.values())
    return marked(said, {"smoke": smoke})


def _headline(found: OverTrainSizes) -> str:
    if not found.compared:
        return "No arm was measured at two numbers of training images."
    leads, name = found.leads, found.data_name
    if not leads:
        return " ".join(_fall(found, arm) for arm in found.arms if len(found.levels(arm)) > 1)
    lower = "lower" if max(len(order.levels) for order in found.orders) == 2 else "lowest"
    if len(leads) == 1:
        (orders, arm), *_ = leads
        where, everywhere = _span(found, orders), len(orders) == len(found.orders)
        alone = f"the {'only number' if len(orders) == 1 else 'numbers'} at which two arms have a value"
        if arm:
            at = f"at every number of training images, {where}" if everywhere else f"{where} training images, {alone}"
            return f"{found.title(arm)} has the {lower} test bits/dim on {name} {at}."
        if everywhere:
            return f"At no number of training images of {name}, {where}, do the data decide{_between(found, orders)}."
        return f"The data do not decide{_between(found, orders)} on {name} {where} training images, {alone}."
    parts = []
    for orders, arm in leads:
        said = f"{found.title(arm)} has the {lower} test bits/dim" if arm else "the data do not decide"
        parts.append(f"{_span(found, orders)} {said}{'' if arm else _between(found, orders)}")
    changes = len({arm for _, arm in leads if arm}) > 1
    head = f"Which arm is better on {name} changes" if changes else f"How clear the answer on {name} is depends"
    return f"{head} {'with' if changes else 'on'} the number of training images: {'; '.join(parts)}."


def _span(found: OverTrainSizes, orders: list[AtBudget]) -> str:
    """Numbers of training images: by the ends where none between them is left out."""
    numbers = [f"{order.cost:,.0f}" for order in orders]
    between = [order for order in found.orders if orders[0].cost <= order.cost <= orders[-1].cost]
    if 1 < len(orders) == len(between):
        return f"from {numbers[0]} to {numbers[-1]}"
    return f"at {listing(numbers)}"


def _between(found: OverTrainSizes, orders: list[AtBudget]) -> str:
    """Of each number the lowest arm, and the one that is not separated from it."""
    names = dict.fromkeys(arm for order in orders for arm in (order.lowest, order.second))
    return f" between {listing([found.title(arm) for arm in found.arms if arm in names])}"


def _fall(found: OverTrainSizes, arm: str) -> str:
    """How an arm's bits/dim change from the fewest to the most images."""
    levels = found.levels(arm)
    fewest, most = min(levels), max(levels)
    means = [quantity(float(levels[n].mean())) for n in (fewest, most)]
    word = "falls" if levels[most].mean() < levels[fewest].mean() else "rises"
    text = f"{found.title(arm)} {word} from {means[0]} bits/dim at {fewest:,} training images to {means[1]} at {most:,}"
    change = found.gain(arm, fewest, most).change
    if change is None:
        return f"{text}; no interval is known."
    value, low, high = formatting.difference(change.value, change.low, change.high)
    return f"{text}: a change of {value} (95% interval {low} to {high})."


def details(found: OverTrainSizes) -> list[str]:
    """What a reader must know to weigh the headline."""
    # The others are of arms of which neither becomes the lowest.
    lowest = {order.cost: order.lowest for order in found.orders}
    said = [*found.left_out, *(_crossing(found, each) for each in found.crossings if lowest[each.at] == each.after)]
    if found.leads:
        said += [_fall(found, arm) for arm in found.arms if len(found.levels(arm)) > 1]
    single = [
        row for row in found.orders if row.lowest and min(len(row.levels[a]) for a in (row.lowest, row.second)) < 2
    ]
    if single:
        said.append(
            "Where an arm has one seed, its interval is over test images alone: another seed may turn the order."
        )
    said += [*_budget(found), *_evaluations(found)]
    if unfinished := _improving(found):
        said.append(f"Still improving when training stopped, so that more epochs would lower them: {unfinished}.")
    for arm in found.arms:
        missing = [name for name, row in found.estimates.items() if row[arm] is None]
        if missing:
            said.append(f"{found.title(arm)} has no test bits/dim at {listing(missing)} training images.")
    said += [
        f"{found.title(arm)} is of different families at different numbers of training images: {listing(families)}."
        for arm, families in found.other_families.items()
    ]
    if found.differing:
        said.append(f"The studies differ in more than their training images: {listing(found.differing)}.")
    return said


def _crossing(found: OverTrainSizes, crossing: Crossing) -> str:
    before, after = found.title(crossing.before), found.title(crossing.after)
    both = found.levels(crossing.before).keys() & found.levels(crossing.after).keys()
    last = max(n for n in both if n < crossing.at)
    # Why there is none may be another bound or a value that is missing, and not the seeds alone.
    interval = interval_of(TRAINING_IMAGES, crossing) if crossing.has_interval else "no interval"
    return (
        f"The means of {before} and {after} cross between {last:,} and {TRAINING_IMAGES.amount(crossing.at)} "
        f"({interval}): {before} is lower before, {after} after."
    )


def _budget(found: OverTrainSizes) -> list[str]:
    """How many images runs saw at most: the same number everywhere, or what it was at the ends."""
    by_arm = {arm: seen for arm in found.arms if len(seen := found.seen(arm)) > 1}
    if not by_arm:
        return []
    same = all(max(seen.values()) <= (1 + SAME_BUDGET) * min(seen.values()) for seen in by_arm.values())
    texts = {}
    for arm, seen in by_arm.items():
        most = TRAINING_IMAGES.amount(max(seen.values()))
        fewest, largest = min(seen), max(seen)
        texts[arm] = most if same else f"{seen[fewest]:,} at {fewest:,} and {seen[largest]:,} at {largest:,}"
    listed = (
        next(iter(texts.values()))
        if len(set(texts.values())) == 1
        else listing([f"{text} by {found.title(arm)}" for arm, text in texts.items()])
    )
    if same:
        return [f"At every number of training images runs have about the same budget of images seen: at most {listed}."]
    return [
        f"Budgets differ with the number of training images: runs saw at most {listed}. What more images bring is then "
        "also what more training brings."
    ]


def _evaluations(found: OverTrainSizes) -> list[str]:
    """That patience means another number of images where runs are evaluated more often."""
    most: dict[int, int] = {}
    for arm in found.arms:
        for n, times in found.evaluations(arm).items():
            most[n] = max(times, most.get(n, 0))
    if len(set(most.values())) < 2:
        return []
    fewest, largest = min(most), max(most)
    return [
        f"Runs were evaluated up to {most[fewest]:,} times at {fewest:,} and {most[largest]:,} times at {largest:,}: "
        "patience, by which the learning rate falls and training ends, counts these."
    ]


def _improving(found: OverTrainSizes) -> str:
    """The arms of which half of the seeds or more were still improving, and at which numbers."""
    said = []
    for arm in found.arms:
        at = [
            name
            for name, study in found.studies.items()
            if arm in study.finals and 0 < len(study.finals[arm].runs) <= 2 * len(improving(study, arm))
        ]
        if at:
            everywhere = len(at) == len(found.levels(arm)) > 1
            said.append(f"{found.title(arm)} {'at every number' if everywhere else f'at {listing(at)}'}")
    return "; ".join(said)


def likelihoods(found: OverTrainSizes) -> Table:
    """Test bits/dim of each arm at each number of training images, the lowest, and the distance of another to it."""
    rows = []
    for name, order in zip(found.studies, found.orders, strict=True):
        cells = [_level(found, name, arm) for arm in found.arms]
        judged = verdict(found, order, order.above, []) if len(found.arms) > 1 else []
        rows.append([Cell(name, order=order.cost), *cells, *judged])
    judged_columns = VERDICT if len(found.arms) > 1 else ()
    one = any(each is not None and each.seeds == 1 for row in found.estimates.values() for each in row.values())
    caption = f"Test bits/dim, mean over seeds ± its error{OF_ONE_SEED if one else ''}; less is better"
    return Table(caption, ["Training images", *map(found.title, found.arms), *judged_columns], rows, sortable=True)


def _level(found: OverTrainSizes, name: str, arm: str) -> Cell:
    estimate = found.estimates[name][arm]
    if estimate is None:
        return Cell("no value" if arm in found.studies[name].families else "absent")
    return Cell(quantity(estimate.mean, estimate.error), [count(estimate.seeds, "seed")], order=estimate.mean)


def gains(found: OverTrainSizes) -> Table:
    """What each step to more training images brings each arm."""
    rows = [[Cell(found.title(each.arm)), Cell(f"{each.before:,}"), *_gain(each)] for each in found.gains]
    caption = "What more training images bring: the change of test bits/dim, less is better"
    return Table(caption, ["Arm", "From", "To", "Change", "95% interval", "Verdict"], rows)


def _gain(gain: Gain) -> list[Cell]:
    after, change = Cell(f"{gain.after:,}"), gain.change
    if change is None:
        return [after, Cell(MISSING), Cell(MISSING), Cell("not known")]
    value, low, high = formatting.difference(change.value, change.low, change.high)
    notes = [] if change.over_seeds else ["seeds not repeated"]
    judged = "within noise" if change.contains_zero else "lower" if change.value < 0 else "higher"
    return [after, Cell(value), Cell(f"{low} to {high}", notes), Cell(judged)]


def sources(found: OverTrainSizes) -> Table:
    """The study of each number of training images, and how long its runs were trained at most and really."""
    rows = []
    for n, (name, study) in zip(found.sizes, found.studies.items(), strict=True):
        known, settings = study.results.provenance, study.results.settings
        seen = {each for arm in found.arms if (each := found.seen(arm).get(n))}
        really = {run for arm in found.arms for run in found.really_seen(arm).get(n, [])}
        times = {found.evaluations(arm)[n] for arm in found.arms if n in found.evaluations(arm)}
        trained = [_ends(seen), _ends(really), _ends(times)]
        values = [settings.get("trials"), settings.get("seeds"), known.get("commit"), known.get("device")]
        cells = [*map(Cell, trained), *(Cell(plain(value)) for value in values)]
        rows.append([Cell(name), Cell(study.results.study_id), *cells])
    trained_columns = ["Images seen at most", "Images really seen", "Evaluations at most"]
    columns = ["Training images", "Study", *trained_columns, "Trials", "Seeds", "Commit", "Device"]
    return Table("The studies", columns, rows)


def _ends(values: set[int]) -> str:
    return " to ".join(f"{each:,}" for each in sorted({min(values), max(values)})) if values else MISSING
