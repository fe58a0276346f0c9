"""What a person sees while a study runs: nested bars on a terminal, one line an event elsewhere; the log has it all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from bench.core.logs import one_line
from bench.core.results import EvaluationRecord
from bench.study.eta import Clock, Pace, StudyEta

log = logging.getLogger(__name__)

SILENCE_SECONDS = 60.0
"""Without a terminal, this long after the last line another one tells how far the work is."""


class StudyProgress:
    """Nested progress: runs of the study, runs of this kind, epochs of the run; and the best so far of each arm.

    Args:
        console: where to write; a quiet one shows nothing, and the log alone is written.
        runs: models to train in all.
        remaining: predicts how long the study still takes, where that can be told.
        clock: tells seconds.
    """

    def __init__(
        self, console: Console, runs: int, remaining: StudyEta | None = None, clock: Clock = time.monotonic
    ) -> None:
        self.console = console
        self.runs = runs
        self.finished = 0
        self._remaining = remaining
        self._clock = clock
        self._began = self._last_line = clock()
        self._bests: dict[str, str] = {}
        self._name = ""
        self._earlier: EvaluationRecord | None = None
        self._pace = Pace(1, clock)
        self._bars = _Bars(self._bests, console, live=console.is_terminal and not console.quiet)
        self._study = self._bars.add_task("study", total=runs, note="", remaining=self._study_remaining)
        self._kind = self._bars.add_task("trial", total=1, note="", remaining=lambda: "", visible=False)
        self._run = self._bars.add_task("epoch", total=1, note="", remaining=self._run_remaining, visible=False)

    def __enter__(self) -> StudyProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Write a line, above the bars where there are any, and into the log."""
        log.info("%s", line)
        self._print(line)

    def done(self, runs: int = 1, kind: str | None = None) -> None:
        """Count finished runs.

        Args:
            runs: how many.
            kind: their kind, where an earlier process finished them; without one it is the run that began last.
        """
        self.finished += runs
        self._bars.advance(self._study, runs)
        if self._remaining is not None and kind is None:
            self._remaining.end()
        elif self._remaining is not None and kind is not None:
            self._remaining.skip(kind, runs)
        if runs:
            log.info("%s", self._standing())
            self._break_silence(self._standing)

    def best(self, arm: str, bits_per_dim: float, number: int) -> None:
        """Show an arm's best trial so far: its bits/dim on validation, and its number."""
        self._bests[arm] = f"{arm} {bits_per_dim:.4f} bits/dim (trial {number})"

    def start_run(self, name: str, epochs: int, kind: str = "", done: int = 0, total: int = 1) -> None:
        """Begin a run's bar.

        Args:
            name: the run's name.
            epochs: how many records :meth:`epoch` will be given.
            kind: its kind, as the remaining time is told by.
            done: runs of this kind that are finished.
            total: runs of this kind in all.
        """
        log.info("%s: begins", name)
        self._name = name
        self._earlier = None
        self._pace = Pace(epochs, self._clock)
        if self._remaining is not None and kind:
            self._remaining.begin(kind)
        label = "final" if kind.endswith("final") else "trial"
        self._bars.restart(self._kind, label, total, one_line(name), completed=done)
        self._bars.restart(self._run, "epoch", epochs, "compiling")

    def evaluated(self, record: EvaluationRecord) -> None:
        """Show a point of the learning curve."""
        value = record.values.get("validation/bits_per_dim", record.values.get("train/bits_per_dim", float("nan")))
        note = f"{value:.3f} bits/dim, {_images_per_second(record, self._earlier):,.0f} images/s"
        self._earlier = record
        self._pace.at(record.evaluation)
        self._bars.update(self._run, completed=record.evaluation, note=note)
        event = f"{self._name}: evaluation {record.evaluation} of {self._pace.total}, {note}"
        log.info("%s", event)
        self._break_silence(lambda: f"{event}{_after(self._run_remaining())}")

    def measured(self, done: int, total: int) -> None:
        """Show how far the evaluation on test is, in log-weights."""
        if self._bars.tasks[self._run].description != "test":
            self._pace = Pace(total, self._clock)
            self._bars.restart(self._run, "test", 100, "likelihood")
        self._pace.at(done)
        self._bars.update(self._run, completed=int(100 * done / total))
        self._break_silence(lambda: f"{self._name}: test likelihood {done / total:.0%}{_after(self._run_remaining())}")

    def _print(self, line: str) -> None:
        self._last_line = self._clock()
        self.console.print(one_line(line), highlight=False, markup=False)

    def _break_silence(self, line: Callable[[], str]) -> None:
        """Where no bars show it, and nothing was said for a while, say how far the work is."""
        if not self.console.is_terminal and self._clock() - self._last_line >= SILENCE_SECONDS:
            self._print(line())

    def _standing(self) -> str:
        text = f"{self.finished} of {self.runs} runs in {_duration(self._clock() - self._began)}"
        best = f"; best: {', '.join(self._bests.values())}" if self._bests else ""
        return f"{text}{_after(self._study_remaining())}{best}"

    def _study_remaining(self) -> str:
        return _left(None if self._remaining is None else self._remaining.seconds())

    def _run_remaining(self) -> str:
        return _left(self._pace.remaining())


class _Bars(Progress):
    """The bars, and under them the best trials so far."""

    def __init__(self, bests: dict[str, str], console: Console, live: bool) -> None:
        self.bests = bests
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Remaining(Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            disable=not live,
        )

    def restart(self, bar: TaskID, description: str, total: int, note: str, completed: int = 0) -> None:
        """Begin a bar anew, for the next piece of work of its kind."""
        self.update(bar, note=note)
        self.reset(bar, total=total, completed=completed, description=description, visible=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for best in self.bests.values():
            yield Text(f"best  {best}", overflow="ellipsis", no_wrap=True)


class _Remaining(ProgressColumn):
    """What a bar's own prediction says, counting down between two signs of progress."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text("" if task.finished else task.fields["remaining"](), style="progress.remaining")


def _images_per_second(record: EvaluationRecord, earlier: EvaluationRecord | None) -> float:
    """Images in a second of the last epoch, its look at validation included; of the first, compilation too."""
    if earlier is None:
        return record.images / record.seconds
    return (record.images - earlier.images) / (record.seconds - earlier.seconds)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"about {_duration(seconds)} left"


def _after(told: str) -> str:
    return f", {told}" if told else ""
