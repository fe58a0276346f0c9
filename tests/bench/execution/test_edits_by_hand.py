"""A study whose storage and tracking store somebody edits: it ends with the result that it has without them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from bench.core.errors import DisagreementError, StudyStoppedError
from bench.core.results import RunState, Unbegun
from bench.search.storage import open_storage
from bench.tracking.reading.reader import load_results
from bench.workflows.run import report
from tests.bench.execution.conftest import stand_in_for_training

OTHERS_BEST = {"latent_size": 2, "learning_rate": 1e-3}
BEFORE, AFTER = {"trials": 2}, {"trials": 4, "seeds": 2}


class Edited:
    """A finished study, in the hands of somebody who edits it."""

    def __init__(self, finished, output, address):
        self.id = finished.id
        self.storage = open_storage(address)
        self.client = MlflowClient(tracking_uri=f"sqlite:///{output / 'mlflow.db'}")
        self.experiment, self.parent, self.runs = finished.experiment, finished.parent, finished.runs
        self.database = output / "mlflow.db"

    def search(self, kind="vae"):
        return optuna.load_study(study_name=f"{self.id}/{kind}", storage=self.storage)

    def add(self, kind="vae", value=-100.0):
        distributions = {
            "latent_size": optuna.distributions.IntDistribution(2, 16),
            "learning_rate": optuna.distributions.FloatDistribution(1e-3, 1e-2, log=True),
        }
        self.search(kind).add_trial(
            optuna.create_trial(params=OTHERS_BEST, distributions=distributions, value=value, user_attrs={"task": 0})
        )

    def child(self, **tags):
        run = self.client.create_run(self.experiment, tags={"mlflow.parentRunId": self.parent, **tags})
        self.client.log_metric(run.info.run_id, "validation/bits_per_dim", 0.01)

    def wipe(self, run_id):
        for name in self.client.get_run(run_id).data.tags:
            if name.startswith("reparam."):
                self.client.delete_tag(run_id, name)

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.database)) as database:
            database.execute(statement, values)
            database.commit()


def add_in_optuna(study):
    study.search().enqueue_trial(OTHERS_BEST)
    study.add()
    study.search("glow").ask()
    study.add("final")
    study.search("final/coordinator").ask()


def change_in_optuna(study):
    study.search().set_user_attr("open", [3])
    study.storage.set_study_system_attr(study.search()._study_id, "study:metric_names", ["mine"])
    for name in ("mine", "mine/final"):
        optuna.create_study(study_name=name, storage=study.storage)
    optuna.delete_study(study_name=f"{study.id}/final/coordinator", storage=study.storage)


def add_in_mlflow(study):
    study.child()
    study.child(mine="x")
    run = study.runs[0]
    study.client.log_metric(run, "mine/loss", float("nan"))
    study.client.log_metric(run, "test/bits_per_dim", 0.01)
    study.client.set_tag(run, "mine", "x")
    study.client.log_param(run, "mine", "x")
    study.client.create_model_version(f"reparam-bench.{study.id}.vae", "mine")


def remove_in_mlflow(study):
    study.wipe(study.runs[0])
    study.sql(
        "UPDATE runs SET experiment_id = ? WHERE run_uuid = ?", study.client.create_experiment("mine"), study.runs[1]
    )
    study.client.delete_registered_model_alias(f"reparam-bench.{study.id}.vae", "champion")
    study.client.delete_registered_model(f"reparam-bench.{study.id}.glow")


def remove_versions(study):
    for arm in ("vae", "glow"):
        study.client.delete_model_version(f"reparam-bench.{study.id}.{arm}", "1")


BELOW = "below the study's in MLflow"
IGNORED = {
    "nothing": (lambda study: None, (), 0),
    "additions in Optuna": (
        add_in_optuna,
        ("2 trials of {id}/vae in", "1 trial of {id}/glow in", "1 trial of {id}/final in"),
        0,
    ),
    "changes in Optuna": (change_in_optuna, (), 0),
    "additions in MLflow": (add_in_mlflow, (f"ignored: 2 runs {BELOW}",), 2),
    "removals in MLflow": (
        remove_in_mlflow,
        (f"ignored: 1 run {BELOW}", "not in MLflow: 2 runs of finished trials or final runs"),
        1,
    ),
    "removed versions": (remove_versions, (), 0),
}


def outcome(runner):
    """What a study found, by what its storage holds."""
    return {
        kind: sorted((each.number, each.state, str(each.values), each.objective or 0.0) for each in queue.attempts())
        for kind, queue in runner.shared.queues.items()
    }


def address_in(folder, storage):
    """A journal, or a database where its name says so."""
    return str(folder / "s.journal") if storage == "journal" else f"sqlite:///{folder / 's.db'}"


@pytest.fixture(scope="module")
def finished(start, tiny_study, digits, tmp_path_factory):
    """The study before somebody edits it, run once on each storage."""
    made = {}

    def finish(storage):
        if storage not in made:
            folder = tmp_path_factory.mktemp("finished")
            with pytest.MonkeyPatch.context() as patch:
                stand_in_for_training(patch)
                runner = start(tiny_study, digits, folder, **BEFORE, storage=address_in(folder, storage))
                runner.run(digits)
            made[storage] = SimpleNamespace(
                folder=folder,
                id=runner.bound.study_id,
                experiment=runner.parent.experiment_id,
                parent=runner.parent.run_id,
                runs=[run.run_id for run in runner.parent.children()],
            )
        return made[storage]

    return finish


@pytest.fixture(scope="module")
def undisturbed(start, tiny_study, digits, tmp_path_factory, finished):
    """What the study finds by itself."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(finished("journal").folder, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        stand_in_for_training(patch)
        runner = start(tiny_study, digits, folder, **AFTER, storage=address_in(folder, "journal"))
        runner.run(digits)
    return outcome(runner)


@pytest.fixture
def edited(study_run, finished, tmp_path):
    """A copy of the study, as of a folder that was moved."""

    def begin(storage="journal"):
        address = address_in(tmp_path, storage)
        shutil.copytree(finished(storage).folder, tmp_path, dirs_exist_ok=True)
        begin.more = lambda: study_run(**AFTER, storage=address)
        return Edited(finished(storage), tmp_path, address)

    return begin


@pytest.mark.parametrize(
    ("edit", "storage"),
    [*((edit, "journal") for edit in IGNORED), ("additions in Optuna", "sqlite"), ("changes in Optuna", "sqlite")],
)
def test_what_somebody_adds_or_changes_is_said_and_changes_no_result(edited, undisturbed, edit, storage):
    change, lines, foreign = IGNORED[edit]
    study = edited(storage)
    change(study)
    runner = edited.more()
    said = runner.progress.console.file.getvalue()
    assert [line for line in lines if line.format(id=study.id) not in said] == [], said
    assert said.count("ignored: ") == sum("not in MLflow" not in line for line in lines)
    assert outcome(runner) == undisturbed
    own = {run.run_id for run in runner.parent.children()}
    for arm in ("vae", "glow"):
        champion = study.client.get_model_version_by_alias(f"reparam-bench.{study.id}.{arm}", "champion")
        assert champion.run_id in own
    results = load_results(runner.bound.settings.tracking, study.id)
    assert results.settings["foreign_runs"] == foreign
    assert set(results.runs["run_id"]) == own
    assert RunState.RUNNING not in set(results.runs["state"])


REFUSED = {
    "a removed search": (
        lambda study: optuna.delete_study(study_name=f"{study.id}/vae", storage=study.storage),
        "runs of .* that the storage does not",
    ),
    "removed final runs": (
        lambda study: optuna.delete_study(study_name=f"{study.id}/final", storage=study.storage),
        "runs of .* that the storage does not",
    ),
    "another likelihood": (
        lambda study: study.client.log_metric(study.runs[0], "validation/bits_per_dim", 0.01, step=99),
        r"validation/bits_per_dim=0\.01 in MLflow, and 2\.\d+ in the storage: log that value there again",
    ),
}


def test_what_would_change_the_result_is_named_with_the_way_out(edited):
    study = edited()
    for edit in ("another likelihood", "a removed search", "removed final runs"):
        change, message = REFUSED[edit]
        change(study)
        with pytest.raises(DisagreementError, match=message) as raised:
            edited.more()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["vae", "final", "final/coordinator"])
def test_a_search_that_is_removed_under_way_ends_the_study_with_a_line(edited, trainer, kind, caplog):
    study = edited()
    caplog.set_level("INFO")
    trainer.accidents[len(trainer.trials)] = lambda: optuna.delete_study(
        study_name=f"{study.id}/{kind}", storage=study.storage
    )
    if kind == "final/coordinator":
        edited.more()
        return
    with pytest.raises(StudyStoppedError, match=rf"{study.id}/{kind} is not in the storage any more"):
        edited.more()
    assert f"{study.id}/{kind} is not in the storage any more" in caplog.text
    assert "updated later" not in caplog.text


def test_tasks_that_somebody_changed_to_what_cannot_be_done_fail_with_their_reason(
    edited, trainer, caplog, short_patience, undrawn
):
    study = edited()

    def change(kind, number, set_attribute, name, value):
        (trial,) = [
            each
            for each in study.search(kind).get_trials(states=(TrialState.WAITING,))
            if each.user_attrs["task"] == number
        ]
        getattr(study.storage, set_attribute)(trial._trial_id, name, value)
        return trial.user_attrs

    def change_trial():
        change("vae", 3, "set_trial_system_attr", "fixed_params", {"latent_size": "x"})

    def change_final():
        del trainer.accidents[-1]
        note = study.search("final").trials[-1].user_attrs["note"]
        change("final", len(study.search("final").trials) - 1, "set_trial_user_attr", "note", {**note, "config": {}})

    trainer.accidents = {len(trainer.trials): change_trial, -1: change_final}
    runner = edited.more()
    said = runner.progress.console.file.getvalue()
    assert "vae 3: it could not begin: latent_size='x' is not in 2 … 16, whole\n" in said
    assert "final 4: it could not begin: " in said
    with_traceback = [record.message for record in caplog.records if record.exc_info]
    assert len([message for message in with_traceback if "it could not begin" in message]) == 2
    again = edited.more().progress.console.file.getvalue()
    assert (
        "not in MLflow: 2 trials or final runs that failed before they began, which the report counts, such as vae 3: "
        "it could not begin: latent_size='x' is not in 2 … 16, whole\n"
    ) in again
    assert again.count("not in MLflow: ") == 1
    tracking, output = runner.bound.settings.tracking, runner.bound.settings.output
    trial, final = sorted(load_results(tracking, study.id).unbegun, key=lambda each: each.role, reverse=True)
    assert trial == Unbegun("search", "vae", "it could not begin: latent_size='x' is not in 2 … 16, whole", 1)
    assert (final.role, final.arm, final.count) == ("final", "glow", 1)
    page = report(tracking, study.id, output).page.with_suffix(".md")
    assert "it could not begin: latent" in page.read_text(encoding="utf-8")
