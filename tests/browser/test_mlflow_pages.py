"""MLflow's own pages on a study of ours: what users wrote, or what failed, shows as text and runs nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from bench.core.results import Bound, BoundKind, EvaluationRecord, Measurement, RunState
from bench.data.bundled import DIGITS
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.opening import open_study
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from models.vae.config import VAEConfig
from tests.browser.chromium import mlflow_server, unfold_study

ATTACK = "<script>window.attacked = 1; alert(1)</script><img src=x onerror='window.attacked = 2'>"
WORDS = "שלום مرحبا 🎲"
HOSTILE = f"{ATTACK} \"quoted\" 'single' {WORDS}"
PATIENCE = 60_000
"""Milliseconds within which a page must show its text."""
NOT_OURS = ("Failed to load resource", "ResizeObserver loop")
"""What MLflow's own pages say on the console whatever they show."""
ENDS = {
    RunState.COMPLETE: "",
    RunState.PRUNED: "validation lags behind",
    RunState.DIVERGED: f"loss became nan {HOSTILE}",
    RunState.FAILED: f"ValueError: {HOSTILE}",
    RunState.INTERRUPTED: "stopped by the user",
}


@dataclass(frozen=True)
class Served:
    """A study on a server: the addresses of its pages, and the names of its runs."""

    runs: str
    parent: str
    children: dict[RunState, str]
    names: list[str]


def picture() -> bytes:
    png = io.BytesIO()
    Image.new("L", (64, 64), 128).save(png, "PNG")
    return png.getvalue()


@pytest.fixture(scope="module")
def served(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A study with a run of every end, and hostile text wherever a user's words can get to."""
    folder: Path = tmp_path_factory.mktemp("pages")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    study = StudyDescription(
        study_id="hostile-digits-00000000",
        name="hostile",
        question=f"Is it shown as text? {HOSTILE}\nAnd the second line?",
        arms={"vae": "vae"},
        swept={"vae": ["latent_size"]},
        settings={"trials": 5, "dataset": HOSTILE, "lines": "one\ntwo"},
        provenance={"commit": "0" * 40, "dirty": False, "command": HOSTILE},
        dataset=DIGITS,
        digest="0" * 64,
    )
    tracker = Tracker(uri, folder / "artifacts", folder / "outbox")
    parent = open_study(tracker, study)
    config = RunConfig(model=VAEConfig(latent_size=4), training=TrainingConfig(), dataset_digest="0", backend="jax")
    names, children = [], {}
    for number, (state, reason) in enumerate(ENDS.items()):
        names.append(f"vae #{number} {HOSTILE}")
        run = parent.start_run(names[-1], "search", "vae", 0, config, number, note=HOSTILE)
        for evaluation in range(1, 4):
            values = {"train/bits_per_dim": 3.0 / evaluation, "validation/bits_per_dim": 3.1 / evaluation}
            run.log_evaluation(EvaluationRecord(evaluation, 128 * evaluation, 0.5 * evaluation, values))
        if state == RunState.COMPLETE:
            bound = Bound(BoundKind.IMPORTANCE_WEIGHTED, 16)
            run.log_measurements([Measurement("validation", "bits_per_dim", 2.5, 0.01, 179, bound)])
            run.log_pictures([("samples", HOSTILE, picture())])
        if state == RunState.FAILED:
            run.log_file(f"Traceback\n{HOSTILE}", "traceback.txt")
        run.finish(state, reason)
        assert tracker.drain() == 0
        children[state] = run.run_id
    parent.finish(RunState.FAILED)
    with mlflow_server(uri, folder / "artifacts") as address:
        experiment = f"{address}/#/experiments/{parent.experiment_id}/runs"
        yield Served(
            experiment,
            f"{experiment}/{parent.run_id}",
            {state: f"{experiment}/{run_id}" for state, run_id in children.items()},
            names,
        )


def open_page(watch, url, text):
    """Open a page and wait for a text on it; the watched page."""
    watched = watch()
    watched.page.goto(url)
    watched.page.get_by_text(text).first.wait_for(timeout=PATIENCE)
    return watched


def assert_harmless(watched) -> None:
    """Nothing of what users wrote has run, or become an element."""
    page = watched.page
    page.wait_for_timeout(300)
    assert page.evaluate("window.attacked") is None
    assert page.locator("img[src='x'], [onerror]").count() == 0
    assert page.locator("script", has_text="attacked").count() == 0
    assert [each for each in watched.problems if not any(known in each for known in NOT_OURS)] == []


def test_the_list_of_runs_shows_the_study_and_its_runs_by_name(watch, served):
    watched = open_page(watch, served.runs, "hostile digits")
    unfold_study(watched.page)
    watched.page.get_by_text("vae #0").first.wait_for(timeout=PATIENCE)
    shown = watched.page.inner_text("body")
    for number in range(len(served.names)):
        assert f"vae #{number} <script>" in shown
    assert_harmless(watched)


def test_the_study_s_page_shows_its_question_and_settings_as_text(watch, served):
    watched = open_page(watch, served.parent, "Is it shown as text?")
    shown = watched.page.inner_text("body")
    for text in ("hostile digits", WORDS, "<script>window.attacked", "And the second line?", "trials"):
        assert text in shown
    assert_harmless(watched)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(each, marks=[pytest.mark.slow] * (each not in (RunState.COMPLETE, RunState.FAILED)))
        for each in ENDS
    ],
    ids=str,
)
def test_a_run_s_page_shows_its_name_and_parameters_as_text(watch, served, state):
    watched = open_page(watch, served.children[state], "latent_size")
    shown = watched.page.inner_text("body")
    assert f"vae #{list(ENDS).index(state)} {ATTACK}" in shown
    assert WORDS in shown
    assert_harmless(watched)


def test_a_failed_run_s_traceback_and_a_complete_one_s_pictures_show_as_what_they_are(watch, served):
    watched = open_page(watch, f"{served.children[RunState.FAILED]}/artifacts/traceback.txt", "Traceback")
    watched.page.get_by_text("window.attacked").first.wait_for(timeout=PATIENCE)
    assert_harmless(watched)
    watched = open_page(watch, f"{served.children[RunState.COMPLETE]}/artifacts/pictures/samples.png", "samples.png")
    watched.page.locator("img, canvas").first.wait_for(timeout=PATIENCE)
    assert_harmless(watched)


def test_the_charts_of_a_run_begin_with_its_bits_per_dim(watch, served):
    watched = open_page(watch, f"{served.children[RunState.COMPLETE]}/model-metrics", "validation_by_evaluation")
    shown = " ".join(watched.page.inner_text("body").split())
    begin = shown.index("bits_per_dim (3)")
    for group in ("cost (", "train ("):
        assert begin < shown.index(group)
    assert watched.page.get_by_text("validation_by_evaluation").first.bounding_box()["y"] < 900
