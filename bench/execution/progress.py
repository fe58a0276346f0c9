"""Shows a study's progress: nested bars on a terminal, one line per event elsewhere; the log has every event."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import timedelta

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from bench.core.logs import one_line
from bench.core.results import EvaluationRecord
from bench.core.sequences import BITS_PER_DIM
from bench.study.eta import Clock, Eta, Expected

log = logging.getLogger(__name__)

SILENCE_SECONDS = 60.0
"""Without a terminal, a line shows the progress when nothing was printed for this long."""
_FIRST, _LATER = "first", "later"
"""Kinds of work in the ETA of a run: the first includes compilation."""


class StudyProgress(Progress):
    """Bars of the study's runs, of its runs of one kind and of the run's evaluations; and each arm's best trial.

    Args:
        console: where to print; a quiet one prints nothing, and only the log is written.
        runs: models to train in all.
        eta: predicts the study's remaining time.
        clock: returns seconds.
        unit: of the data's likelihoods per dimension.
    """

    def __init__(
        self,
        console: Console,
        runs: int,
        eta: Eta | None = None,
        clock: Clock = time.monotonic,
        unit: str = BITS_PER_DIM,
    ) -> None:
        self.unit = unit
        self._bests: dict[str, str] = {}
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _EtaColumn(Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            disable=console.quiet or not console.is_terminal,
        )
        self._eta = eta
        self._clock = clock
        self._began = self._last_line = clock()
        self._name = ""
        self._earlier: EvaluationRecord | None = None
        self._study = self.add_task("study", total=runs, note="", eta=eta)
        self._kind = self.add_task("trial", note="", eta=None, visible=False)
        self._run = self.add_task("evaluation", note="", eta=None, visible=False)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and under them the best trials."""
        yield self.make_tasks_table(self.tasks)
        for best in self._bests.values():
            yield Text(f"best  {best}", overflow="ellipsis", no_wrap=True)

    def say(self, line: str) -> None:
        """Print a line, above the bars if there are any, and log it."""
        log.info("%s", line)
        self._print(line)

    def expect_runs(self, more: int) -> None:
        """Count on more runs of the study than before, or on fewer."""
        self.update(self._study, total=(self.tasks[self._study].total or 0) + more)

    def start_run(self, name: str, evaluations: int, kind: str = "", done: int = 0, total: int = 1) -> None:
        """Start the bars of a run.

        Args:
            name: the run's name.
            evaluations: evaluations of the run.
            kind: its kind, such as ``vae search``.
            done: finished runs of this kind.
            total: runs of this kind in all.
        """
        log.info("%s: begins", name)
        self._name, self._earlier = name, None
        label = "final" if kind.endswith("final") else "trial"
        self.reset(
            self._kind, description=label, total=total, completed=done, note=one_line(name), eta=None, visible=True
        )
        self._start_bar("evaluation", evaluations, 1, "compiling")

    def show_evaluation(self, record: EvaluationRecord) -> None:
        """Show a point of the learning curve."""
        value = record.values.get("validation/bits_per_dim", record.values.get("train/bits_per_dim", float("nan")))
        note = f"{value:.3f} {self.unit}, {_images_per_second(record, self._earlier):,.0f} images/s"
        self._earlier = record
        event = f"{self._name}: evaluation {record.evaluation} of {self.tasks[self._run].total}, {note}"
        log.info("%s", event)
        self.update(self._run, note=note)
        self._advance_bar(record.evaluation, event)

    def show_test_progress(self, done: int, total: int) -> None:
        """Show the progress of the evaluation on test, in log-weights."""
        percent = 100 * done / total
        if self.tasks[self._run].description != "test":
            self._start_bar("test", 100, percent, "likelihood")
        self._advance_bar(percent, f"{self._name}: test likelihood {percent:.0f}%")

    def show_best(self, arm: str, bits_per_dim: float, number: int) -> None:
        """Show an arm's best trial so far: its bits/dim on validation, and its number."""
        self._bests[arm] = f"{arm} {bits_per_dim:.4f} {self.unit} (trial {number})"

    def finish_run(self, kind: str = "", timed: bool = True) -> None:
        """Count a finished run of a kind; ``timed`` if it ran during this session."""
        self.advance(self._study)
        if self._eta is not None and kind:
            self._eta.finish(kind, timed=timed)
        bar = self.tasks[self._study]
        text = f"{bar.completed} of {bar.total} runs in {_format_duration(self._clock() - self._began)}"
        best = f"; best: {', '.join(self._bests.values())}" if self._bests else ""
        summary = text + _format_eta(self._eta, ", ") + best
        log.info("%s", summary)
        self._print_after_silence(summary)

    def _start_bar(self, description: str, total: int, first: float, note: str) -> None:
        eta = Eta({_FIRST: Expected(first), _LATER: Expected(total - first)}, self._clock)
        self.reset(self._run, description=description, total=total, note=note, eta=eta, visible=True)

    def _advance_bar(self, completed: float, event: str) -> None:
        bar = self.tasks[self._run]
        bar.fields["eta"].finish(_LATER if bar.completed else _FIRST, completed - bar.completed)
        self.update(self._run, completed=completed)
        self._print_after_silence(event + _format_eta(bar.fields["eta"], ", "))

    def _print(self, line: str) -> None:
        self._last_line = self._clock()
        self.console.print(one_line(line), highlight=False, markup=False)

    def _print_after_silence(self, line: str) -> None:
        if not self.console.is_terminal and self._clock() - self._last_line >= SILENCE_SECONDS:
            self._print(line)


class _EtaColumn(ProgressColumn):
    """The bar's own ETA, which unlike rich's begins with the first unit of work, and counts down."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text("" if task.finished else _format_eta(task.fields["eta"]), style="progress.remaining")


def _images_per_second(record: EvaluationRecord, earlier: EvaluationRecord | None) -> float:
    """Training images per second since the previous evaluation, with the evaluation, and at first compilation."""
    images, seconds = (0, 0.0) if earlier is None else (earlier.images, earlier.seconds)
    return (record.images - images) / (record.seconds - seconds)


def _format_duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _format_eta(eta: Eta | None, before: str = "") -> str:
    seconds = None if eta is None else eta.seconds()
    return "" if seconds is None else f"{before}about {_format_duration(seconds)} left"
