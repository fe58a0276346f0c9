"""A tracking store that a person has edited by hand, or that is damaged, in every command that reads it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest
from mlflow.tracking import MlflowClient

from tests.studies.faults import database

STUDY = "partial-digits-00000000"


@pytest.fixture
def store(tmp_path, partial_store):
    """A copy of the store of a study with two trials, and who is who there."""
    output = tmp_path / "runs"
    shutil.copytree(partial_store, output, ignore=shutil.ignore_patterns("outbox", "logs"))
    with closing(sqlite3.connect(output / "mlflow.db")) as connection:
        tagged = connection.execute("SELECT run_uuid, key, value FROM tags").fetchall()
    parent = next(run for run, key, value in tagged if (key, value) == ("reparam.role", "study"))
    trials = [next(run for run, key, value in tagged if (key, value) == ("reparam.number", n)) for n in "01"]
    return SimpleNamespace(output=output, parent=parent, trials=trials, file=output / "mlflow.db")


def test_what_a_person_adds_or_wipes_is_ignored_by_every_command(cli, store):
    client = MlflowClient(tracking_uri=f"sqlite:///{store.file}")
    experiment = client.get_run(store.parent).info.experiment_id
    for name in [name for name in client.get_run(store.trials[1]).data.tags if name.startswith("reparam.")]:
        client.delete_tag(store.trials[1], name)
    below = {"mlflow.parentRunId": store.parent}
    child = client.create_run(experiment, tags=below).info.run_id
    client.create_run(client.create_experiment("mine"), tags=below)
    client.create_run(experiment, tags={"reparam.role": "study"})
    client.log_metric(store.trials[0], "mine/loss", float("inf"))
    client.log_param(store.trials[0], "mine", "x")
    client.set_tag(store.trials[0], "mine", "x")
    code, out, err = cli("list")
    assert (code, out.split()[0], len(out.splitlines()), err) == (0, STUDY, 1, "")
    code, out, err = cli("report")
    assert (code, err) == (0, "")
    page = (store.output / "reports" / STUDY / "report.md").read_text(encoding="utf-8")
    assert "2 runs below this study's in MLflow are not its own" in page
    assert cli("compare", STUDY, STUDY, "--output-after", str(store.output))[0] in (2, 3)
    for command in ("evaluate", "repeat"):
        code, out, err = cli(command, child)
        assert (code, out) == (2, "")
        assert f"run '{child}' is not the run of a model: give that of a trial or of a final run" in err
    assert cli("upload")[0] == 0
    code, out, err = cli("delete", STUDY, "--yes")
    assert (code, err) == (0, "")
    assert "MLflow    2 runs, which MLflow hides" in out
    assert client.get_run(child).info.lifecycle_stage == "active"


def tag(run, name, value):
    """Give a run another tag, or none."""
    where = f"run_uuid = '{run}' AND key = '{name}'"
    if value is None:
        return database(f"DELETE FROM tags WHERE {where}")  # noqa: S608
    return database(
        f"DELETE FROM tags WHERE {where}",  # noqa: S608
        f"INSERT INTO tags (run_uuid, key, value) VALUES ('{run}', '{name}', '{value}')",  # noqa: S608
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dataset", "[]", "a tag=.*: Input should be an object"),
        ("dataset", '{"name": "x"}', "image_shape=.*: Field required"),
        ("provenance", "3", "a tag=.*: Input should be an object"),
        ("selected", "[]", "a tag=.*: Input should be an object"),
        ("selected", '{"vae": 3}', "vae=3: Input should be"),
        ("settings", "{", "Invalid JSON"),
        ("settings", '{"equivalence": -1}', "a tag=-1: Input should be greater than 0"),
        ("settings", '{"equivalence": "x"}', "a tag=.x.: Input should be a valid number"),
        ("won_images", "{}", "a tag=.*: Input should be a valid array"),
        ("won_images", '[{"winner": "a", "loser": "b", "images": [-1], "picture": "x"}]', "images.0=-1: Input should"),
        ("won_images", '[{"winner": "a", "loser": "b", "images": [], "picture": "../x"}]', "picture=.*: String should"),
        ("study", None, "'reparam.study' is missing"),
    ],
)
def test_tags_of_a_study_that_it_did_not_log_are_named(refused, store, name, value, message):
    tag(store.parent, f"reparam.{name}", value)(store.file)
    refused(
        rf"{STUDY} in \S+ is not as a study logs it \(.*{message}.*\): the command that began it writes the tags of "
        f"its run {store.parent} again",
        "report",
    )


SETTINGS = '{"dataset": "digits"}'


@pytest.mark.parametrize("command", ["evaluate", "repeat"])
@pytest.mark.parametrize(
    ("settings", "name", "value", "message"),
    [
        ("[]", "mine", "x", r"run {parent} is not as it was logged: .*reparam\.settings is \[\]"),
        ('{"dataset": 3}', "mine", "x", r"run {parent} is not as it was logged: .*3 is no text"),
        (
            '{"dataset": "digits", "resize": "x"}',
            "mine",
            "x",
            r"run {parent} is not as it was logged: .*a size is HEIGHTxWIDTH",
        ),
        (SETTINGS, "reparam.config", "[]", r"run {run} is not as it was logged: .*TypeError"),
        (SETTINGS, "reparam.config", "{", r"run {run} is not as it was logged: .*JSONDecodeError"),
        (SETTINGS, "reparam.config", '{"dataset_digest": 3}', r"run {run} is not as it was logged: .*3 is no text"),
        (SETTINGS, "reparam.config", None, r"is not the run of a model"),
        (SETTINGS, "reparam.seed", None, r"run {run} is not as it was logged: its tag reparam\.seed is missing"),
        (SETTINGS, "reparam.role", "x", r"run {run} is not as it was logged: its tag reparam\.role is 'x'"),
        (SETTINGS, "mlflow.parentRunId", None, r"run {run} is not as it was logged: .*mlflow\.parentRunId"),
        (SETTINGS, "mlflow.parentRunId", "gone", r"mlflow\.db cannot be read to the end: .*'?gone'? not found"),
    ],
)
def test_tags_of_a_run_that_it_did_not_log_are_named_before_it_is_measured(
    refused, store, command, settings, name, value, message
):
    run = store.trials[0]
    tag(store.parent, "reparam.settings", settings)(store.file)
    tag(run, name, value)(store.file)
    refused(message.format(run=run, parent=store.parent), command, run)


@pytest.mark.parametrize("command", ["report", "evaluate", "repeat", "delete"])
def test_a_database_that_lacks_a_table_is_named(cli, store, command):
    database("DROP TABLE latest_metrics")(store.file)
    arguments = {"report": (), "delete": (STUDY, "--yes")}.get(command, (store.trials[0],))
    code, out, err = cli(command, *arguments)
    assert (code, out) == (2, ""), err
    assert err.count("error: tracking store sqlite:///") == 1
    assert "mlflow.db cannot be read to the end: (sqlite3.OperationalError) no such table: latest_metrics" in err


def test_a_time_that_no_clock_shows_is_named(refused, store):
    database(f"UPDATE runs SET start_time = {2**63 - 1} WHERE run_uuid = '{store.trials[0]}'")(store.file)  # noqa: S608
    refused(rf"run {store.trials[0]} is not as it was logged: when it began cannot be read, .*{2**63 - 1}", "report")


@pytest.mark.parametrize(
    ("output", "message"),
    [("loop", "cannot be opened"), (os.fsdecode(b"\xff"), "holds"), ("x" * 300, "cannot be opened"), ("f", "folder")],
    ids=ascii,
)
@pytest.mark.parametrize("command", ["upload", "storage"])
def test_an_output_folder_that_cannot_be_used_is_refused_there_too(refused, tmp_path, command, output, message):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "f").write_text("")
    refused(f"output='.*{message}", command, "--output", output)


@pytest.mark.parametrize(
    "content", [b"", b'\xff\xfe\0a,b\n"1', b"a,b\n1,2,3\n1,2,3,4,5\n"], ids=["empty", "odd", "ragged"]
)
def test_a_table_that_cannot_be_read_is_named(refused, store, content):
    tag(store.trials[0], "reparam.role", "final")(store.file)
    tag(store.trials[0], "reparam.tables", '["latents"]')(store.file)
    with closing(sqlite3.connect(store.file)) as connection:
        query = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        (address,) = connection.execute(query, (store.trials[0],)).fetchone()
    folder = store.output / "artifacts" / "partial" / address.rpartition("/partial/")[2] / "tables"
    folder.mkdir(parents=True)
    (folder / "latents.csv").write_bytes(content)
    refused(
        rf"run {store.trials[0]} is not as it was logged: its artifact tables/latents\.csv cannot be read, ", "report"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("tables", '["../../mine"]'), ("tables", '["/mine"]'), ("tables", "[3]"), ("captions", '{"../../mine": "x"}')],
)
def test_a_tag_names_no_file_outside_its_runs_artifacts(refused, store, name, value):
    tag(store.trials[0], "reparam.role", "final")(store.file)
    tag(store.trials[0], f"reparam.{name}", value)(store.file)
    refused(f"run {store.trials[0]} is not as it was logged: the name of an artifact cannot be read", "report")


@pytest.mark.parametrize("place", [f"reports/{STUDY}", "reports", f"reports/{STUDY}/report.html/x"])
def test_what_lies_in_the_way_of_a_report_is_named(cli, store, place):
    (store.output / place).parent.mkdir(parents=True, exist_ok=True)
    (store.output / place).write_text("mine")
    code, out, err = cli("report")
    assert (code, out) == (2, ""), err
    assert err.startswith("error: 'runs/reports")
    assert re.search(r": move what lies there or above it away; the traceback is in runs/logs/.*\.log\n$", err)
