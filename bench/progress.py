"""What a person sees while a study runs: bars with an ETA on a terminal, one line an event elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.results import EpochRecord


class StudyProgress:
    """Nested progress: runs of the study, epochs of the run.

    Args:
        console: where to write.
        runs: models to train in all.
    """

    def __init__(self, console: Console, runs: int) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._study = self._progress.add_task("study", total=runs, note="")
        self._run = self._progress.add_task("run", total=1, note="", visible=False)

    def __enter__(self) -> StudyProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Write a line above the bars."""
        self.console.print(line, highlight=False, markup=False)

    def done(self, runs: int = 1) -> None:
        """Count finished runs."""
        self._progress.advance(self._study, runs)

    def best(self, note: str) -> None:
        """Show the best so far beside the study's bar."""
        self._progress.update(self._study, note=note)

    def start_run(self, name: str, epochs: int) -> None:
        """Begin a run's bar."""
        self._progress.reset(self._run, total=epochs, description=name, note="compiling", visible=True)

    def epoch(self, record: EpochRecord) -> None:
        """Show a point of the learning curve."""
        value = record.values.get("validation/bits_per_dim", record.values.get("train/bits_per_dim", float("nan")))
        speed = record.images / record.seconds
        self._progress.update(self._run, completed=record.epoch, note=f"{value:.3f} bits/dim, {speed:,.0f} images/s")

    def evaluation(self, done: int, total: int) -> None:
        """Show how far the evaluation on test is."""
        self._progress.update(self._run, note=f"test likelihood {done / total:.0%}")
