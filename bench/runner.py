"""A study from its first trial to its last final run: search on validation, select, retrain, open test once."""

from __future__ import annotations

import logging
import math
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, TypeVar

from bench.config import RunConfig
from bench.data.dataset import Dataset, Images, TuningData
from bench.errors import OutOfMemoryError, PrunedError, ReparamBenchError, TrackingError, TrialError
from bench.evaluation import Yardstick, open_outside
from bench.progress import StudyProgress
from bench.provenance import provenance
from bench.quality import open_extractor
from bench.results import EpochRecord, RunState
from bench.search import FinishedTrial, Proposal, Search
from bench.seeds import derive_seed
from bench.study import BoundStudy, Family
from bench.tracking.contract import LOST, StudyDescription
from bench.tracking.store import DRAIN_SECONDS, LoggedRun, ModelRun, Tracker
from bench.trial import Outcome, run_final, run_trial, validation_bits_per_dim

Result = TypeVar("Result")

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 5
"""So many trials failing one after the other, neither pruned nor diverged, point at a fault that all share."""


class StudyStoppedError(ReparamBenchError):
    """The study cannot go on; what it finished is kept."""


@dataclass(frozen=True)
class Selected:
    """The trial of a family with the lowest validation bits/dim, and its configuration."""

    family: Family
    trial: FinishedTrial
    config: RunConfig


def limited(dataset: Dataset, evaluation_images: int | None) -> TuningData:
    """Training and validation images, validation cut to the first ``evaluation_images``."""
    tuning = dataset.tuning
    return TuningData(tuning.info, tuning.digest, tuning.train, tuning.validation.head(evaluation_images))


class StudyRunner:
    """Runs a study, or continues it where it stopped.

    Args:
        bound: the study with its settings and data.
        progress: where progress is shown.

    Raises:
        TrackingError: the storage or the tracking store cannot be reached.
    """

    def __init__(self, bound: BoundStudy, progress: StudyProgress) -> None:
        self.bound = bound
        self.progress = progress
        self._stop = _StopRequest()
        settings = bound.settings
        settings.output.mkdir(parents=True, exist_ok=True)
        self.searches = {
            family.name: Search(
                name=f"{bound.study_id}/{family.name}",
                storage=settings.storage_url,
                space=family.sweep,
                first=bound.first_values(family),
                sampler=bound.sampler,
                pruning=settings.pruning,
                reports=bound.base(family).training.reports,
                seed=settings.seed,
            )
            for family in bound.study.families
        }
        self.tracker = Tracker(settings.tracking, settings.output / "artifacts", settings.output / "spool")
        self.tracker.deliver_orphans()
        self.parent = self.tracker.open_study(self._description())

    def _description(self) -> StudyDescription:
        bound, settings = self.bound, self.bound.settings
        training = {family.name: bound.base(family).training for family in bound.study.families}
        return StudyDescription(
            study_id=bound.study_id,
            name=bound.study.name,
            question=bound.study.question,
            swept={family.name: list(family.sweep) for family in bound.study.families},
            settings={
                **settings.model_dump(mode="json", exclude={"storage", "tracking_uri", "output", "epochs", "images"}),
                "sampler": bound.sampler,
                "training_images": {name: config.steps * config.batch_size for name, config in training.items()},
            },
            provenance=provenance(settings.backend),
            dataset=bound.info,
            digest=bound.digest,
        )

    def run(self, dataset: Dataset) -> None:
        """Search, select, retrain and evaluate; what an earlier process finished is not done again.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once the interrupted run is marked as such.
            StudyStoppedError: several trials in a row failed for a reason that all may share, or no trial of a
                family completed.
        """
        try:
            with self._stop:
                self._stop.honoured(lambda: self._run(dataset))
        except KeyboardInterrupt:
            self._end(RunState.INTERRUPTED)
            raise
        except BaseException:
            self._end(RunState.FAILED)
            raise
        self._end(RunState.COMPLETE)

    def _end(self, state: RunState) -> None:
        """Deliver what is logged, as far as that is possible, and end the study's own run."""
        if left := self.tracker.drain(DRAIN_SECONDS):
            self.progress.say(f"{left} entries wait in {self.tracker.spool}: `reparam-bench deliver` delivers them")
        self.tracker.close()
        self.parent.finish_if_reachable(state)

    def _run(self, dataset: Dataset) -> None:
        yardstick = self._yardstick(dataset.tuning)
        self._reconcile()
        data = limited(dataset, self.bound.settings.evaluation_images)
        deadline = time.monotonic() + (self.bound.settings.timeout or float("inf"))
        families = self.bound.study.families
        selected = [
            self._search(family, data, _share(deadline, len(families) - done)) for done, family in enumerate(families)
        ]
        self.parent.select({s.family.name: {"number": s.trial.number, "config_hash": s.config.hash} for s in selected})
        self._finals(selected, data, dataset, yardstick)
        self._register(selected)

    def _yardstick(self, data: TuningData) -> Yardstick:
        """With what the final runs are measured; opened first, so that what it lacks is told before any work."""
        settings = self.bound.settings
        outside = settings.outside_dataset
        return Yardstick(
            settings.importance_samples,
            open_extractor(settings.extractor, data, settings.output / "extractors"),
            None if outside is None else open_outside(outside, data.info),
        )

    def _reconcile(self) -> None:
        """Bring what a vanished process left half-done to an end, in the search's storage and in the tracking store.

        The search's storage decides: a trial that it holds as ended has ended, even if its run was not closed.
        """
        for family, search in self.searches.items():
            for number in search.reclaim():
                self.progress.say(f"{family} trial {number} was interrupted; its values are queued again")
        ended: dict[tuple[str, int | None], RunState] = {
            (family, trial.number): trial.state for family, search in self.searches.items() for trial in search.trials()
        }
        for run in self.parent.children():
            if run.role == "final" and run.status == "RUNNING":
                self.parent.end_run(run.run_id, RunState.INTERRUPTED, LOST)
            elif run.role == "search" and (run.family, run.number) in ended:
                state = ended[run.family, run.number]
                # One that was delivered without its end is interrupted, though its trial may have ended in time.
                if run.status == "RUNNING" or (run.state == RunState.INTERRUPTED and state != RunState.INTERRUPTED):
                    self.parent.end_run(run.run_id, state, LOST if state == RunState.INTERRUPTED else "")

    def _search(self, family: Family, data: TuningData, deadline: float) -> Selected:
        """Run the family's trials up to their total, and select the best on validation."""
        search = self.searches[family.name]
        failures = 0
        trials = self.bound.settings.trials
        self.progress.done(min(search.done(), trials), f"{family.name} search")
        self._show_best(family, search.best())
        while search.done() < trials and time.monotonic() < deadline:
            self._stop.check()
            proposal = search.ask()
            state = self._trial(family, proposal, data)
            failures = failures + 1 if state == RunState.FAILED else 0
            if failures == FAILURES_IN_A_ROW:
                raise StudyStoppedError(
                    f"{failures} {family.name} trials in a row failed; the last one's reason is above, and its "
                    "traceback is the artifact traceback.txt of its MLflow run"
                )
            self._show_best(family, search.best())
            self.progress.done()
        best = search.best()
        if best is None and not search.done():
            raise StudyStoppedError(
                f"timeout={self.bound.settings.timeout} was over before any {family.name} trial was: allow more time"
            )
        if best is None:
            raise StudyStoppedError(
                f"none of the {search.done()} {family.name} trials completed: see their reasons above, and try other "
                "ranges, more epochs or --no-pruning"
            )
        return Selected(family, best, self.bound.configure(family, best.values))

    def _show_best(self, family: Family, best: FinishedTrial | None) -> None:
        if best is not None and best.objective is not None:
            self.progress.best(family.name, best.objective, best.number)

    def _trial(self, family: Family, proposal: Proposal, data: TuningData) -> RunState:
        config = self.bound.configure(family, proposal.values)
        seed = derive_seed(self.bound.settings.seed, family.name, proposal.number)
        values = " ".join(f"{name}={_short(value)}" for name, value in proposal.values.items())
        name = f"{family.name} #{proposal.number} {values}"
        done, trials = self.searches[family.name].done(), self.bound.settings.trials
        self.progress.start_run(name, config.training.reports, f"{family.name} search", done, trials)
        # Last, for a stop between here and the work would leave the run open until the study is continued.
        run = self.parent.start_run(name, "search", family.name, seed, config, proposal.number)

        def on_epoch(record: EpochRecord) -> None:
            self._stop.check()
            run.log_epoch(record)
            self.progress.epoch(record)
            # The last look cannot save anything: a trial that reaches it is complete.
            if (
                proposal.report(record.values["validation/bits_per_dim"], record.epoch)
                and record.epoch < config.training.reports
            ):
                raise PrunedError(f"validation lags behind the median of earlier trials at epoch {record.epoch}")

        def end(state: RunState, outcome: Outcome | None) -> str:
            proposal.end(state, None if outcome is None else validation_bits_per_dim(outcome))
            return "" if outcome is None else _standing(self.searches[family.name], proposal.number)

        samples = self.bound.settings.selection_samples
        return self._supervised(run, name, lambda: run_trial(config, data, seed, samples, on_epoch), end)

    def _finals(self, selected: list[Selected], data: TuningData, dataset: Dataset, yardstick: Yardstick) -> None:
        """Retrain each selected configuration from several seeds, and measure each once on test."""
        settings = self.bound.settings
        finished = {
            (run.config_hash, run.seed)
            for run in self.parent.children()
            if run.role == "final" and run.state != RunState.INTERRUPTED
        }
        test = dataset.open_test().head(settings.evaluation_images)

        def on_progress(done: int, total: int) -> None:
            self._stop.check()
            self.progress.evaluation(done, total)

        for chosen in selected:
            for number in range(settings.seeds):
                seed = derive_seed(settings.seed, "final", number)
                kind = f"{chosen.family.name} final"
                if (chosen.config.hash, seed) in finished:
                    self.progress.done(1, kind)
                    continue
                name = f"{chosen.family.name} final, seed {number + 1} of {settings.seeds}"
                self.progress.start_run(name, chosen.config.training.reports, kind, number, settings.seeds)
                run = self.parent.start_run(
                    name,
                    "final",
                    chosen.family.name,
                    seed,
                    chosen.config,
                    importance_samples=settings.importance_samples,
                )

                def on_epoch(record: EpochRecord, run: ModelRun = run) -> None:
                    self._stop.check()
                    run.log_epoch(record)
                    self.progress.epoch(record)

                def work(chosen: Selected = chosen, seed: int = seed, on_epoch: Any = on_epoch) -> Outcome:
                    return run_final(
                        chosen.config,
                        data,
                        test,
                        seed,
                        yardstick,
                        on_epoch,
                        on_progress,
                    )

                def end(state: RunState, outcome: Outcome | None, chosen: Selected = chosen) -> str:
                    return f"Retrains {chosen.family.name} trial {chosen.trial.number}, selected on validation"

                self._supervised(run, name, work, end, example=data.validation.images[:1])
                self.progress.done()

    def _register(self, selected: list[Selected]) -> None:
        """Register the final run of each family that validation, not test, finds best."""
        self.tracker.drain(DRAIN_SECONDS)
        runs = [run for run in self.parent.children() if run.role == "final" and run.state == RunState.COMPLETE]
        champions = {}
        for chosen in selected:
            own = [run for run in runs if (run.family, run.config_hash) == (chosen.family.name, chosen.config.hash)]
            if own:
                champions[chosen.family.name] = min(own, key=_by_validation)
        try:
            self.parent.register(champions)
        except TrackingError as error:
            # The models are kept with their runs all the same.
            self.progress.say(f"not registered: {error}")

    def _supervised(
        self,
        run: ModelRun,
        name: str,
        work: Callable[[], Outcome],
        end: Callable[[RunState, Outcome | None], str],
        example: Images | None = None,
    ) -> RunState:
        """Do the work of a run; whatever becomes of it, log it, end it in a typed state, and say so.

        ``end`` is called between logging and closing the run: it is the moment from which the run counts, and it says
        where the run then stands. With an ``example`` image the model is kept.
        """
        try:
            outcome = self._stop.honoured(work)
        except KeyboardInterrupt:
            end(RunState.INTERRUPTED, None)
            run.finish(RunState.INTERRUPTED, "stopped by the user or the scheduler")
            raise
        except Exception as error:
            failure = _typed(error)
            state = RunState(failure.state)
            if state == RunState.FAILED:
                log.exception("%s: failed", name)
                run.log_file(traceback.format_exc(), "traceback.txt")
            end(state, None)
            run.finish(state, str(failure))
            self.progress.say(f"{name}: {state}, {failure}")
            return state
        if example is not None:
            run.log_model(outcome.model, example)
        run.log_measurements(outcome.measurements)
        run.log_pictures([(picture.kind, picture.caption, picture.png) for picture in outcome.pictures])
        run.log_tables(outcome.tables)
        run.log_refused(outcome.refused)
        run.finish(RunState.COMPLETE, "", end(RunState.COMPLETE, outcome))
        self.progress.say(f"{name}: {_headline(outcome)} in {outcome.log.seconds:.1f} s")
        return RunState.COMPLETE


def _typed(error: Exception) -> TrialError:
    """The error as a reason that reports count."""
    if isinstance(error, TrialError):
        return error
    text = str(error)
    # TensorFlow says ResourceExhaustedError, XLA RESOURCE_EXHAUSTED, the host MemoryError.
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "ResourceExhausted" in type(error).__name__:
        return OutOfMemoryError(text.splitlines()[0] if text else "the host ran out of memory")
    return TrialError(f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}")


def _headline(outcome: Outcome) -> str:
    row = next(m for m in outcome.measurements if m.metric == "bits_per_dim")
    error = "" if row.standard_error is None else f" ± {row.standard_error:.4f}"
    return f"{row.value:.4f}{error} bits/dim on {row.split}"


def _by_validation(run: LoggedRun) -> tuple[float, int]:
    """Orders final runs, the best first: by validation at the end of training, never by test."""
    return (math.inf if run.validation is None else run.validation, run.seed)


def _standing(search: Search, number: int) -> str:
    """Where a complete trial stands among those before it."""
    complete = [trial for trial in search.trials() if trial.state == RunState.COMPLETE]
    order = sorted(complete, key=lambda trial: math.inf if trial.objective is None else trial.objective)
    rank = 1 + next(i for i, trial in enumerate(order) if trial.number == number)
    return f"At its end number {rank} of {len(order)} complete trials of its family, by bits/dim on validation"


def _share(deadline: float, families: int) -> float:
    """Until when the next of ``families`` may begin trials: each has an equal share of the time that is left."""
    now = time.monotonic()
    return now + (deadline - now) / families


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class _StopRequest:
    """Ctrl-C and SIGTERM, a scheduler's way to stop a job: both raise KeyboardInterrupt, and are remembered.

    Python raises in whatever it is doing. If that is a callback of the backend's, from its garbage collector or its
    data pipeline, the exception is ignored or comes out as another one: then it is the memory that counts.
    """

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> None:
        self.made = False
        self._earlier = {each: signal.signal(each, self._interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
        self._earlier_hook, sys.unraisablehook = sys.unraisablehook, self._ignored

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each, handler in self._earlier.items():
            signal.signal(each, handler)
        sys.unraisablehook = self._earlier_hook

    def _ignored(self, event: Any) -> None:
        # What Python ignored is honoured at the next check: a traceback would alarm for nothing.
        if not isinstance(event.exc_value, KeyboardInterrupt):
            self._earlier_hook(event)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was requested."""
        if self.made:
            raise KeyboardInterrupt

    def honoured(self, work: Callable[[], Result]) -> Result:
        """The result of ``work``; an error that a request to stop came out as is that request."""
        try:
            return work()
        except Exception:
            self.check()
            raise
