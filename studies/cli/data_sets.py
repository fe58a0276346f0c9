"""Studies of several data sets: the option that names them, one after the other, and their comparison."""

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
    from reports.analysis.data_sets import OverDataSets
    from reports.analysis.results import Study

OPTION = "--dataset"


class SeveralDataSets(TyperCommand):
    """A command whose ``--dataset`` takes all words up to the next option: ``--dataset a b c``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its words but a last one that is the command's own argument."""
        # A command line that is being completed may be wrong in any way.
        if not ctx.resilient_parsing:
            _, extra, _ = self.make_parser(ctx).parse_args(list(args))
            words = list(_further_words(args))
            # Without another word, the last one is what the command itself takes: `study --dataset a b NAME`.
            if extra and len(extra) <= len(words) <= len(extra) + 1:
                taken = set(words[: len(extra)])
                args = [each for i, word in enumerate(args) for each in ([OPTION, word] if i in taken else [word])]
        return super().parse_args(ctx, args)


def _further_words(args: Sequence[str]) -> Iterator[int]:
    """Places of the words that follow the value of ``--dataset`` up to the next option."""
    values = -1
    for place, word in enumerate(args):
        if word == "--":
            return
        if word == OPTION or word.startswith(f"{OPTION}="):
            values = 0 if word == OPTION else 1
        elif word.startswith("-") and values != 0:
            values = -1
        elif values >= 0:
            values += 1
            if values > 1:
                yield place


def check_each(study: DeclaredStudy, settings: Sequence[StudySettings]) -> list[BoundStudy]:
    """Check a study on each of several data sets, before it begins on any.

    Raises:
        SettingsError: a setting does not fit one of them, or two hold the same images.
        DataError: one is missing or not of an accepted form.
    """
    from bench.checks.preflight import check_study, load_own_data
    from bench.core.errors import SettingsError

    planned = [check_study(study, each) for each in settings]
    known: dict[str, str] = {}
    for each in settings:
        own = load_own_data(each)
        content = each.dataset if own is None else own.digest
        if content in known:
            raise SettingsError(
                f"dataset={each.dataset!r} holds the same images as {known[content]!r}: give one of them"
            )
        known[content] = each.dataset
    return planned


def run_each(
    settings: Sequence[StudySettings], run: Callable[[StudySettings], tuple[str, str]]
) -> tuple[int, list[str]]:
    """Run a study on each of several data sets in turn; what goes wrong on one is printed, and the next one begins.

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


def compare_over_data_sets(studies: Sequence[Study], output: Path, console: Console) -> tuple[OverDataSets, Path]:
    """Compare studies of different data sets, print what they say together, and write the page.

    The same studies, in any order, have their page in the same folder.

    Returns:
        The comparison, and the path of its page.

    Raises:
        SettingsError: two studies are of the same data, or the page's folder is a link.
    """
    from bench.execution.removal import REPORT_FOLDERS, check_folder
    from reports.analysis.data_sets import over_data_sets
    from reports.pages.data_sets import write_data_sets

    found = over_data_sets(studies)
    ids = sorted(study.results.study_id for study in studies)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:8]
    folder = output / "reports" / f"compare-{len(ids)}-data-sets-{digest}"
    check_folder(folder, *REPORT_FOLDERS)
    _print(found, console)
    return found, write_data_sets(found, folder)


def _print(found: OverDataSets, console: Console) -> None:
    from rich.text import Text

    from reports.text.data_sets import details, headline, likelihoods

    console.print(Text(headline(found), style="bold"))
    for sentence in details(found):
        console.print(Text(sentence))
    console.print("")
    table = likelihoods(found)
    rows = [[", ".join([cell.text, *cell.notes[:1]]) for cell in row] for row in table.rows]
    print_table(console, [column.lower() if column == table.columns[0] else column for column in table.columns], rows)
