"""Studies of several data sets, or of several numbers of training images: their options, runs and comparison."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from studies.cli.terminal import print_error, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from bench.study.definition import BoundStudy, StudySettings
    from bench.study.definition import Study as DeclaredStudy
    from reports.analysis.results import Study
    from reports.text.table import Table

TRAIN_SIZES = "--train-sizes"
OPTIONS = ("--dataset", TRAIN_SIZES)
ALL = "all"
"""The number of training images that is every one."""


class SeveralWords(TyperCommand):
    """A command whose :data:`OPTIONS` take all words up to the next option: ``--dataset a b c``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its words, but for one that is the command's own argument."""
        # A command line that is being completed may be wrong in any way.
        if not ctx.resilient_parsing:
            _, extra, _ = self.make_parser(ctx).parse_args(list(args))
            words = list(_further_words(args))
            own = len(words) - len(extra)
            if own == 1:
                words = _without_argument(args, words)
            if own in (0, 1):
                taken = dict(words)
                args = [each for i, word in enumerate(args) for each in ([taken[i], word] if i in taken else [word])]
        return super().parse_args(ctx, args)


def _without_argument(args: Sequence[str], words: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The words without what the command itself takes: ``study --dataset a b NAME``, ``study --train-sizes 5 6 NAME``.

    It is what cannot be a number of images, else the last data set; nothing where there are numbers alone.
    """
    names = [word for word in words if word[1] == TRAIN_SIZES and not _is_number(args[word[0]])]
    names = names or [word for word in words if word[1] != TRAIN_SIZES]
    return [word for word in words if word not in names[-1:]]


def _is_number(word: str) -> bool:
    return word == ALL or word.isdecimal()


def _further_words(args: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Places of the words that follow the value of one of the options up to the next option, and which one it is."""
    values, option = -1, ""
    for place, word in enumerate(args):
        if word == "--":
            return
        name, is_joined, _ = word.partition("=")
        if name in OPTIONS:
            values, option = (1 if is_joined else 0), name
        elif word.startswith("-") and values != 0:
            values = -1
        elif values >= 0:
            values += 1
            if values > 1:
                yield place, option


def varied(datasets: Sequence[str], train_sizes: Sequence[str]) -> list[dict[str, Any]]:
    """The settings in which the studies of one command differ: the data set, or the number of training images.

    Raises:
        SettingsError: several of both are given, one number twice, or what is none.
    """
    from bench.core.errors import SettingsError

    numbers: list[int | None] = []
    for word in train_sizes:
        if not _is_number(word) or (word != ALL and int(word) < 2):
            raise SettingsError(f"train_sizes={word!r}: a whole number from 2, or {ALL!r} for every image, is accepted")
        number = None if word == ALL else int(word)
        if number in numbers:
            raise SettingsError(f"train_sizes={word!r} is given twice: give it once")
        numbers.append(number)
    if len(datasets) > 1 and len(numbers) > 1:
        raise SettingsError(
            f"{len(datasets)} data sets and {len(numbers)} numbers of training images are given: several of one of the "
            "two are accepted"
        )
    return [{"dataset": name, "train_images": number} for name in datasets for number in numbers or [None]]


def check_each(study: DeclaredStudy, settings: Sequence[StudySettings]) -> list[BoundStudy]:
    """Check a study with each of several settings, before it begins with any.

    Raises:
        SettingsError: a setting does not fit the data, two are of the same images, or of different kinds of data.
        DataError: data is missing, not of an accepted form, or has too few training images.
    """
    from bench.checks.preflight import check_study, load_own_data
    from bench.core.errors import SettingsError

    planned = [check_study(study, each) for each in settings]
    _check_units([(bound.info.name, bound.info.kind, bound.info.encoding) for bound in planned])
    contents: dict[str, str] = {}
    known: dict[tuple[str, int], StudySettings] = {}
    for each, bound in zip(settings, planned, strict=True):
        if each.dataset not in contents:
            own = load_own_data(each)
            contents[each.dataset] = each.dataset if own is None else own.digest
        images = bound.info.sizes["train"]
        other = known.setdefault((contents[each.dataset], images), each)
        if other is each:
            continue
        if each.dataset == other.dataset and each.train_images != other.train_images:
            first, second = (number.train_images or ALL for number in (other, each))
            raise SettingsError(
                f"train_sizes={first} and {second} are the same {images} images of {each.dataset!r}: give one of them"
            )
        raise SettingsError(f"dataset={each.dataset!r} holds the same images as {other.dataset!r}: give one of them")
    return planned


def run_each(
    settings: Sequence[StudySettings], run: Callable[[StudySettings], tuple[str, str]]
) -> tuple[int, list[str]]:
    """Run a study with each of several settings in turn; what goes wrong with one is printed, and the next one begins.

    Args:
        settings: those of each.
        run: runs the study with one of them; its identifier, and why arms of it have no answer.

    Returns:
        The exit status of the worst, and the identifiers of the studies that have ended.

    Raises:
        RestartRequiredError: a fresh process must continue, which takes no study up that has ended.
    """
    from bench.core.environment import ENDED_STUDIES_VARIABLE
    from bench.core.errors import ReparamBenchError, RestartRequiredError, StudyStoppedError

    # The exit status of each, and the identifier of one that has ended.
    ended: list[tuple[int, str]] = json.loads(os.environ.pop(ENDED_STUDIES_VARIABLE, "[]"))
    for each in settings[len(ended) :]:
        try:
            study_id, unanswered = run(each)
            ended.append((print_error(StudyStoppedError(unanswered)) if unanswered else 0, study_id))
        except RestartRequiredError:
            os.environ[ENDED_STUDIES_VARIABLE] = json.dumps(ended)
            raise
        except ReparamBenchError as error:
            ended.append((print_error(error), ""))
    return max(status for status, _ in ended), [study_id for _, study_id in ended if study_id]


def compare_several(studies: Sequence[Study], output: Path, console: Console) -> tuple[str, Path]:
    """Compare studies of several data sets, or of several numbers of training images of one, and write the page.

    What they say together is printed. The same studies, in any order, have their page in the same folder.

    Returns:
        Why nothing can be compared, empty where something is; and the path of the page.

    Raises:
        SettingsError: two studies are of the same data, they differ in both, they are of different kinds of data, or
            the page's folder is a link.
    """
    from bench.execution.removal import REPORT_FOLDERS, check_folder
    from reports.analysis.data_sets import over_data_sets
    from reports.analysis.train_sizes import are_train_sizes, over_train_sizes
    from reports.pages.data_sets import write_data_sets
    from reports.pages.train_sizes import write_train_sizes
    from reports.text import data_sets, train_sizes
    from reports.units import in_unit_of

    data = [study.results.dataset for study in studies]
    _check_units(
        [(str(each.get("name")), str(each.get("kind", "image")), str(each.get("encoding", ""))) for each in data]
    )
    ids = sorted(study.results.study_id for study in studies)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:8]

    def folder_of(kind: str) -> Path:
        folder = output / "reports" / f"compare-{len(ids)}-{kind}-{digest}"
        check_folder(folder, *REPORT_FOLDERS)
        return folder

    if are_train_sizes(studies):
        sizes = over_train_sizes(studies)
        folder, headline = folder_of("train-sizes"), in_unit_of(data[0], train_sizes.headline(sizes))
        said = train_sizes.details(sizes), train_sizes.likelihoods(sizes)
        _print(headline, *in_unit_of(data[0], said), console)
        return "" if sizes.compared else headline, write_train_sizes(sizes, folder)
    found = over_data_sets(studies)
    folder, headline = folder_of("data-sets"), in_unit_of(data[0], data_sets.headline(found))
    _print(headline, *in_unit_of(data[0], (data_sets.details(found), data_sets.likelihoods(found))), console)
    return "" if found.ranked else headline, write_data_sets(found, folder)


def _check_units(known: Sequence[tuple[str, str, str]]) -> None:
    """Check that likelihoods of all data sets, of which names, kinds and encodings are given, are in one unit.

    Raises:
        SettingsError: they are not.
    """
    from bench.core.errors import SettingsError
    from bench.core.sequences import unit_of
    from bench.data.preparation import IN_WORDS

    first, *others = known
    if other := next((each for each in others if unit_of(each[2]) != unit_of(first[2])), None):
        one, two = (f"{name} is {IN_WORDS[kind]}, in {unit_of(encoding)}" for name, kind, encoding in (first, other))
        raise SettingsError(f"{one}, and {two}: no ranking holds both units; give data of one unit")


def _print(headline: str, details: list[str], table: Table, console: Console) -> None:
    from rich.text import Text

    console.print(Text(headline, style="bold"))
    for sentence in details:
        console.print(Text(sentence))
    console.print("")
    rows = [[", ".join([cell.text, *cell.notes[:1]]) for cell in row] for row in table.rows]
    print_table(console, [column.lower() if column == table.columns[0] else column for column in table.columns], rows)
