"""What a person does to a study in the tracking UI and in Optuna while it runs, and takes back."""

from __future__ import annotations

import random
from collections.abc import Callable

import optuna
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from bench.search.storage import open_storage
from bench.study.definition import BoundStudy
from bench.tracking.schema import KEY_TAG

BY_HAND = "by hand"
ATTEMPT = "reparam.attempt"
METRIC = "validation/bits_per_dim"

Undo = Callable[[], None]


class HandEdits:
    """Edits of a study by hand. Each function gives what takes the edit back; None where there is nothing to edit yet.

    Args:
        bound: the study.
        tracking_uri: of the tracking server.
        rng: draws what is edited.
    """

    def __init__(self, bound: BoundStudy, tracking_uri: str, rng: random.Random) -> None:
        self._client = MlflowClient(tracking_uri)
        self._bound = bound
        self._rng = rng
        self._step = 1000
        self._edited: set[str] = set()
        """Runs that are still to be set right, which MLflow refuses of a deleted one."""
        self.kinds: dict[str, Callable[[], Undo | None]] = {
            "run deleted": self._delete_run,
            "tag edited": self._edit_tag,
            "metric logged": self._log_metric,
            "note written": self._write_note,
            "run made by hand": self._make_run,
            "trial enqueued by hand": self._enqueue_trial,
            "trial added by hand": self._add_trial,
            "trial ended by hand": self._end_trial,
        }

    def _ended(self) -> list[Run]:
        experiment = self._client.get_experiment_by_name(f"reparam-bench/{self._bound.study.name}")
        if experiment is None:
            return []
        runs = self._client.search_runs([experiment.experiment_id], max_results=1000)
        return [run for run in runs if KEY_TAG in run.data.tags and run.info.status == "FINISHED"]

    def _delete_run(self) -> Undo | None:
        runs = [run for run in self._ended() if run.info.run_id not in self._edited]
        if not runs:
            return None
        run_id = self._rng.choice(runs).info.run_id
        self._client.delete_run(run_id)
        return lambda: self._client.restore_run(run_id)

    def _edit_tag(self) -> Undo | None:
        runs = self._ended()
        if not runs:
            return None
        run = self._rng.choice(runs)
        self._client.set_tag(run.info.run_id, ATTEMPT, "7")
        return self._undo(run, lambda: self._client.set_tag(run.info.run_id, ATTEMPT, run.data.tags[ATTEMPT]))

    def _log_metric(self) -> Undo | None:
        runs = [run for run in self._ended() if run.data.tags["reparam.role"] == "search"]
        if not runs:
            return None
        run_id, value = (run := self._rng.choice(runs)).info.run_id, run.data.metrics[METRIC]
        self._client.log_metric(run_id, METRIC, 0.0, step=self._next_step())
        return self._undo(run, lambda: self._client.log_metric(run_id, METRIC, value, step=self._next_step()))

    def _undo(self, run: Run, edit: Undo) -> Undo:
        self._edited.add(run.info.run_id)

        def undone() -> None:
            edit()
            self._edited.discard(run.info.run_id)

        return undone

    def _next_step(self) -> int:
        self._step += 1
        return self._step

    def _write_note(self) -> Undo | None:
        runs = self._ended()
        if not runs:
            return None
        self._client.set_tag(self._rng.choice(runs).info.run_id, "mlflow.note.content", BY_HAND)
        return _nothing

    def _make_run(self) -> Undo | None:
        runs = self._ended()
        if not runs:
            return None
        made = self._client.create_run(runs[0].info.experiment_id, run_name=BY_HAND)
        if self._rng.random() < 0.5:
            parent = runs[0].data.tags["mlflow.parentRunId"]
            self._client.set_tag(made.info.run_id, "mlflow.parentRunId", parent)
        self._client.log_metric(made.info.run_id, METRIC, 0.0)
        return _nothing

    def _search(self) -> optuna.Study | None:
        storage = open_storage(self._bound.settings.storage_url)
        name = f"{self._bound.study_id}/{self._rng.choice(self._bound.study.arms).name}"
        known = {each.study_name for each in storage.get_all_studies()}
        return optuna.load_study(study_name=name, storage=storage) if name in known else None

    def _enqueue_trial(self) -> Undo | None:
        search = self._search()
        if search is None:
            return None
        search.enqueue_trial({"learning_rate": 0.002}, user_attrs={"who": BY_HAND})
        return _nothing

    def _add_trial(self) -> Undo | None:
        search = self._search()
        if search is None:
            return None
        search.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                params={"learning_rate": 0.002},
                distributions={"learning_rate": FloatDistribution(1e-3, 1e-2, log=True)},
                value=0.0,  # better than any: it must not be selected
                user_attrs={"who": BY_HAND},
            )
        )
        return _nothing

    def _end_trial(self) -> Undo | None:
        search = self._search()
        running = [] if search is None else search.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if search is None or not running:
            return None
        search.tell(self._rng.choice(running).number, 0.0)  # better than any: it must not be selected
        return _nothing


def _nothing() -> None:
    return None
