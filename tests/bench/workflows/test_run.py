"""A study as Python and notebooks run it: arrays in, an answer out, and what is wrong in one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from mlflow.tracking import MlflowClient

import bench.execution.worker
import bench.workflows.run
from bench import RECIPE, Arm, Integers, Reals, Study, TrainingConfig, run_study
from bench.core import extensions
from bench.core.environment import RESTARTED_VARIABLE, RUNNING_STUDY_VARIABLE
from bench.core.errors import DataError, RestartRequiredError, SettingsError, StudyStoppedError, TrackingError
from bench.core.extensions import load_extension
from bench.core.metrics import CODES, METRICS
from bench.core.results import REFERENCE_CODES, REFERENCE_MODEL, ReferenceCodes
from bench.core.signals import StopRequest
from bench.data.bundled import DIGITS
from bench.data.registry import load
from bench.evaluation import reference_codes
from bench.evaluation.quality import classifier
from bench.evaluation.reference_codes import measure_reference_codes
from bench.execution import reference_model
from bench.search.sampler import SearchObjects
from bench.study.definition import BoundStudy, StudySettings
from bench.tracking.parent_run import ParentRun
from bench.tracking.reading.reader import load_results
from bench.workflows.run import StudyOutcome
from models import VAEConfig

ROOT = Path(__file__).resolve().parents[3]
EXTENSIONS = ROOT / "tests" / "extensions"
SMALL = Arm(VAEConfig(hidden_sizes=(8,), latent_size=2), {"latent_size": Integers(1, 4)}, name="small")
IMAGES = np.random.default_rng(0).integers(0, 4, (300, 4, 4), dtype=np.uint8)
BROKEN = """
from bench import register_metric

@register_metric("broken_metric", label="Broken", definition="Always fails.")
def broken_metric(context):
    raise ValueError("out of luck")
"""


class _Strict2(optuna.pruners.NopPruner):
    """Named as one likes."""


class HighestSampler(optuna.samplers.RandomSampler):
    """Proposes the highest value."""

    def sample_independent(self, study, trial, name, distribution):
        return distribution.high


@pytest.fixture(scope="module")
def ran(own_registries_of_module, undrawn, tmp_path_factory, keep_classifier):
    """A study of arrays with a metric of the user's own, one that fails, and a sampler and a pruner as objects."""
    folder = tmp_path_factory.mktemp("run")
    broken = folder / "broken_metric.py"
    broken.write_text(BROKEN)
    arrays = {"x_train": IMAGES[:160], "x_validation": IMAGES[160:220], "x_test": IMAGES[220:]}
    np.savez(folder / "same.npz", **arrays)
    keep_classifier(load(str(folder / "same.npz")).tuning, folder / "runs")
    # Of the shape that the search selects: compiling takes most of the time.
    slower = RECIPE.model_copy(update={"learning_rate": RECIPE.learning_rate / 2})
    arms = [SMALL, Arm(SMALL.model, training=slower, name="fixed")]

    small = {
        "output": folder / "runs",
        "trials": 2,
        "seeds": 1,
        "images": 256,
        "batch_size": 64,
        "importance_samples": 4,
    }

    def run(**changes):
        return run_study(
            arms,
            arrays,
            name="mine",
            question="Is <b>small</b> enough?",
            sampler=HighestSampler(),
            pruner=optuna.pruners.MedianPruner(),
            extensions=[EXTENSIONS / "my_metric.py", broken],
            quiet=True,
            backend=os.environ["KERAS_BACKEND"],
            **small | changes,
        )

    return SimpleNamespace(run=run, outcome=run(), folder=folder, arrays=arrays, small=small)


@pytest.mark.backend
def test_it_returns_the_runs_the_answer_and_the_report(ran):
    outcome = ran.outcome
    assert outcome.runs.groupby(["arm", "role"]).size().to_dict() == {
        ("fixed", "final"): 1,
        ("small", "final"): 1,
        ("small", "search"): 2,
    }
    assert set(outcome.runs["state"]) == {"complete"}
    assert outcome.runs.query("role == 'search'")["param.latent_size"].astype(int).tolist() == [2, 4]
    assert outcome.headline.rstrip(".")
    assert outcome.study_id.startswith(f"mine-{outcome.results.dataset['name']}-")
    assert outcome.page.is_file()
    assert outcome.log.is_file()
    assert outcome.results.question == "Is <b>small</b> enough?"
    assert outcome.results.dataset["sizes"] == {"train": 160, "validation": 60, "test": 80}
    assert outcome.report(ran.folder / "again").parent == ran.folder / "again"


@pytest.mark.backend
def test_an_arm_whose_trials_all_diverge_leaves_the_other_its_answer(ran):
    """Adam takes steps as long as its learning rate."""
    rates, training = Reals(1e8, 1e9), TrainingConfig(learning_rate=1e9)
    hopeless = Arm(VAEConfig(hidden_sizes=(8,), latent_size=2), {"learning_rate": rates}, training, name="hopeless")

    def run():
        with pytest.raises(StudyStoppedError) as raised:
            run_study(
                [hopeless, SMALL],
                ran.arrays,
                name="half",
                quiet=True,
                backend=os.environ["KERAS_BACKEND"],
                reference_model=False,
                **ran.small,
            )
        return str(raised.value)

    said = run()
    match = re.fullmatch(r"none of the 2 hopeless trials completed \(2 diverged; .*; the other .* in (\S+)", said)
    assert "sweep lower learning rates" in said
    page = Path(match[1])
    client = MlflowClient(f"sqlite:///{ran.folder}/runs/mlflow.db")
    (parent,) = client.search_runs(
        [client.get_experiment_by_name("reparam-bench/half").experiment_id], "tags.`reparam.role` = 'study'"
    )
    assert [each.path for each in client.list_artifacts(parent.info.run_id, "report")]
    text = page.read_text()
    assert "Only small (VAE) has been measured on test" in text
    assert "no trial of hopeless completed (2 diverged)" in text
    assert "No answer: none of the 2 hopeless trials completed" in text
    assert run() == said


@pytest.mark.backend
@pytest.mark.slow
def test_the_network_that_scores_samples_is_trained_after_the_search_and_a_damaged_one_is_said_before(
    tmp_path, monkeypatch
):
    events = []

    def recorded(module, name):
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **named: events.append(name) or call(*given, **named))

    for name in ("run_trial", "run_final"):
        recorded(bench.execution.worker, name)
    recorded(classifier, "_train")
    # A quarter of a second instead of seconds.
    monkeypatch.setattr(classifier, "EPOCHS", 1)

    def run(output):
        run_study(
            SMALL,
            IMAGES,
            quiet=True,
            backend=os.environ["KERAS_BACKEND"],
            reference_model=False,
            output=output,
            trials=2,
            seeds=1,
            images=256,
            batch_size=64,
            importance_samples=4,
            pruner="none",
        )

    run(tmp_path / "runs")
    assert events == ["run_trial", "run_trial", "_train", "run_final"]
    (tmp_path / "other" / "extractors").mkdir(parents=True)
    for file in (tmp_path / "runs" / "extractors").iterdir():
        (tmp_path / "other" / "extractors" / file.name).write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"the cached classifier .* cannot be used"):
        run(tmp_path / "other")
    assert len(events) == 4


def test_a_metric_of_the_user_s_own_reaches_a_reader_that_has_never_seen_its_file(ran, monkeypatch):
    monkeypatch.setattr(extensions, "_loaded", {})
    monkeypatch.setattr(extensions, "_code", {})
    for name in ("grey_gap", "broken_metric"):
        monkeypatch.delitem(METRICS, name)
    rows = load_results(f"sqlite:///{ran.folder}/runs/mlflow.db", ran.outcome.study_id).measurements
    assert METRICS["grey_gap"].definition.startswith("Distance between the mean grey level")
    own = rows[rows["metric"] == "grey_gap"]
    assert own["split"].tolist() == ["custom"] * 2
    assert sorted(own["arm"]) == ["fixed", "small"]
    assert own["unit"].tolist() == ["grey levels"] * 2
    assert own["higher_is_better"].tolist() == [False] * 2
    assert own["n"].tolist() == [80] * 2


def test_a_metric_that_fails_costs_no_run_and_its_reason_is_kept(ran):
    client = MlflowClient(f"sqlite:///{ran.folder}/runs/mlflow.db")
    for run_id in ran.outcome.runs.query("role == 'final'")["run_id"]:
        tags = client.get_run(run_id).data.tags
        assert json.loads(tags["reparam.unavailable"])["broken_metric"] == "ValueError: out of luck"


def test_the_same_call_again_trains_nothing_and_more_trials_only_what_is_missing(ran, monkeypatch):
    done = []
    for name in ("run_trial", "run_final"):
        real = getattr(bench.execution.worker, name)
        monkeypatch.setattr(bench.execution.worker, name, lambda *a, r=real, n=name: (done.append(n), r(*a))[1])
    again = ran.run()
    assert done == []
    assert again.runs.equals(ran.outcome.runs)
    assert again.headline == ran.outcome.headline
    assert len(ran.run(trials=3).runs.query("role == 'search'")) == 3
    assert done[0] == "run_trial"
    assert set(done[1:]) <= {"run_final"}


@pytest.mark.backend
@pytest.mark.slow
def test_images_that_separate_the_arms_are_pictured_once_and_what_matters_is_the_reader_s(ran, monkeypatch):
    outcome = ran.outcome
    uri = f"sqlite:///{ran.folder}/runs/mlflow.db"
    won = outcome.results.won_images
    assert {(each.winner, each.loser) for each in won} <= {("small", "fixed"), ("fixed", "small")}
    assert won
    assert max(image for each in won for image in each.images) < 80
    assert load_results(uri, outcome.study_id).won_images == won
    assert len(list((outcome.page.parent / "images").glob("won-*.png"))) == len(won)
    logged = []
    monkeypatch.setattr(ParentRun, "log_won_images", lambda self, won: logged.append(won))
    again = ran.run(equivalence=0.5)
    assert (again.study_id, again.results.equivalence, again.results.won_images) == (outcome.study_id, 0.5, won)
    assert logged == []
    assert load_results(uri, outcome.study_id).equivalence == 0.5
    page = again.report(ran.folder / "wide", equivalence=0.25)
    assert "more than 0.25 bits/dim" in page.read_text("utf-8")
    for refused in (0, -1, float("nan"), 2, "many"):
        with pytest.raises(SettingsError, match=r"^equivalence="):
            again.report(ran.folder / "refused", equivalence=refused)
    assert not (ran.folder / "refused").exists()


def test_reference_codes_are_measured_on_the_test_images_once(ran, monkeypatch):
    found = ran.outcome.results.reference_codes
    known = {each.metric: each for each in found.measured if each.metric in CODES}
    assert set(known) | set(found.unavailable) == set(CODES) - {"code_bzip2", "code_ngram", "code_flac"}
    assert {each.n for each in known.values()} == {80}
    assert known["code_uniform"].value == 8.0
    # The images are noise of four values.
    assert 2.0 < known["code_pixel_histogram"].value < 8.0
    calls = []
    monkeypatch.setattr(reference_codes, "measure_reference_codes", lambda *a: calls.append(a) or ReferenceCodes())
    assert ran.run().results.reference_codes == found
    assert calls == []


def test_reference_codes_are_those_of_the_images_that_final_runs_are_measured_on(monkeypatch):
    dataset, logged, said = load("digits"), [], []
    session = SimpleNamespace(
        bound=SimpleNamespace(settings=SimpleNamespace(evaluation_images=20)),
        parent=SimpleNamespace(has_reference_codes=lambda group: False, log_reference_codes=logged.append),
    )
    with StopRequest() as stop:
        bench.workflows.run._measure_reference_codes(session, dataset, SimpleNamespace(say=said.append), stop)
    (codes,) = logged
    own = measure_reference_codes(dataset.open_test().some(20).images, dataset.tuning.train.images, 17)
    assert (codes, said) == (own, [])


def test_without_the_tracking_server_reference_codes_are_left_for_the_next_time():
    def unreachable(group):
        raise TrackingError("it is away")

    session, said = SimpleNamespace(parent=SimpleNamespace(has_reference_codes=unreachable)), []
    bench.workflows.run._measure_reference_codes(session, None, SimpleNamespace(say=said.append), None)
    bench.workflows.run._measure_reference_model(session, object(), None, SimpleNamespace(say=said.append), None, None)
    assert said == [
        "the reference codes are not logged, the same command does it: it is away",
        "the reference model is left to the same command run again: it is away",
    ]


@pytest.mark.backend
@pytest.mark.slow
def test_the_reference_model_is_trained_once_and_is_no_run_and_no_arm(ran, monkeypatch):
    results = ran.outcome.results
    model = {each.metric: each for each in results.reference_codes.measured if each.split == REFERENCE_MODEL}
    assert set(model) == {"code_pixelcnn", "parameters", "training_seconds", "training_images"}
    assert 1.9 < model["code_pixelcnn"].value < 9.0
    assert model["training_images"].value == 256
    assert set(results.arms) == set(results.runs["arm"]) == {"small", "fixed"}
    assert not results.measurements["metric"].isin(model.keys() - {"parameters", "training_seconds"}).any()
    assert "PixelCNN" in " ".join(ran.outcome.details)
    assert "PixelCNN" not in ran.outcome.headline
    calls = []
    monkeypatch.setattr(reference_model, "measure_reference_model", lambda *a: calls.append(a))
    assert ran.run().results.reference_codes == results.reference_codes
    assert ran.run(reference_model=False).study_id == ran.outcome.study_id
    assert calls == []


@pytest.mark.parametrize(("logged", "trained"), [({REFERENCE_CODES}, 1), ({REFERENCE_CODES, REFERENCE_MODEL}, 0)])
def test_a_study_that_has_not_the_reference_model_yet_is_given_it(monkeypatch, logged, trained):
    calls = []
    monkeypatch.setattr(reference_model, "measure_reference_model", lambda *a: calls.append(a))
    removed = []
    session = SimpleNamespace(
        parent=SimpleNamespace(has_reference_codes=logged.__contains__),
        remove_checkpoint=lambda *task: removed.append(task),
    )
    progress = SimpleNamespace(finish_run=lambda *a, **o: None)
    bench.workflows.run._measure_reference_model(session, object(), None, progress, None, None)
    assert (len(calls), len(removed)) == (trained, 1 - trained)


@pytest.mark.parametrize(("side", "logged"), [(8, 0), (1024, 1)])
def test_where_there_is_no_reference_model_an_earlier_checkpoint_goes_and_a_reason_stays(side, logged):
    info = replace(DIGITS, image_shape=(side, side, 1))
    settings = StudySettings(reference_model=side > 8)
    reasons, removed = [], []
    session = SimpleNamespace(
        bound=BoundStudy(Study("one", "Which?", (SMALL,)), settings, info, "d"),
        parent=SimpleNamespace(log_reference_codes=reasons.append),
        remove_checkpoint=lambda *task: removed.append(task),
    )
    bench.workflows.run._measure_reference_model(session, None, None, None, None, None)
    assert removed == [("reference model", 0)]
    assert len(reasons) == logged
    for codes in reasons:
        assert codes.unavailable["code_pixelcnn"].startswith("not trained: on images of 1024x1024x1")


@pytest.mark.slow
def test_an_interruption_after_the_last_run_leaves_a_report_and_the_same_call_adds_what_is_missing(
    ran, monkeypatch, tmp_path, keep_classifier
):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    keep_classifier(load(str(ran.folder / "same.npz")).tuning, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(reference_model, "measure_reference_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ran.run(output=tmp_path)
    (page,) = tmp_path.glob("reports/*/report.html")
    assert "a small exact model obtains" not in page.read_text()
    assert ran.run(output=tmp_path).page == page
    assert "a small exact model obtains" in page.read_text()


def test_another_content_of_a_file_is_refused_for_a_study_that_has_begun(ran):
    file = ran.folder / "broken_metric.py"
    before = file.read_text()
    file.write_text(before + "\n# changed\n")
    try:
        with pytest.raises(SettingsError, match=r"begun by other code .*broken_metric\.py .* then, .* now") as raised:
            ran.run()
    finally:
        file.write_text(before)
    assert "\n" not in str(raised.value)


WHOLE = """
import sys
from bench import Arm, Integers, run_study
from models import GlowConfig, VAEConfig
arms = [
    Arm(VAEConfig(hidden_sizes=(8,), latent_size=2), {"latent_size": Integers(1, 4)}),
    Arm(GlowConfig(levels=1, flow_depth=1, hidden_channels=4)),
]
small = {"trials": 1, "seeds": 1, "images": 256, "importance_samples": 4, "reference_model": False}
run_study(arms, "digits", backend="jax", output=sys.argv[1], quiet=True, **small)
print(sorted({"tensorflow", "sklearn"} & {name for name, module in sys.modules.items() if module is not None}))
"""


@pytest.mark.slow
def test_a_whole_study_on_jax_imports_no_tensorflow_and_prints_none_of_its_lines(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "XLA_FLAGS")}
    command = [sys.executable, "-c", WHOLE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "[]", "")


@pytest.mark.slow
@pytest.mark.backend
def test_two_workers_train_a_model_of_the_user_s_own_beside_ours(own_registries, tmp_path):
    mine = EXTENSIONS / "my_model.py"
    made = load_extension(mine).module.MadeConfig(hidden_size=8)
    outcome = run_study(
        [Arm(made, {"hidden_size": Integers(4, 16)}), SMALL],
        IMAGES,
        extensions=[mine],
        quiet=True,
        workers=2,
        output=tmp_path / "runs",
        backend=os.environ["KERAS_BACKEND"],
        grey_levels=4,
        **{"trials": 2, "seeds": 1, "images": 256, "batch_size": 64, "importance_samples": 4, "pruner": "none"},
    )
    assert outcome.runs.groupby(["arm", "role", "state"]).size().to_dict() == {
        ("made", "final", "complete"): 1,
        ("made", "search", "complete"): 2,
        ("small", "final", "complete"): 1,
        ("small", "search", "complete"): 2,
    }
    likelihood = outcome.measurements.query("split == 'test' and metric == 'bits_per_dim'").set_index("arm")
    assert likelihood.loc["made", "bound"] == "exact"
    assert 1.9 < likelihood.loc["made", "value"] < 2.5
    assert "made" in outcome.headline.lower() + " ".join(outcome.details).lower()


def test_what_a_notebook_shows_is_text_and_not_markup():
    shown = StudyOutcome(None, Path("/a<b>/report.html"), "<script>1</script>", ["a & b"])._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<li>a &amp; b</li>" in shown
    assert "a<b>" not in shown


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What :func:`run_study` would run: study, settings and objects."""
    calls = []

    def run(study, settings, console, objects, log_file):
        calls.append(SimpleNamespace(study=study, settings=settings, objects=objects, quiet=console.quiet))
        return SimpleNamespace(unanswered="")

    monkeypatch.setattr(bench.workflows.run, "run", run)

    def ask(study=SMALL, *arguments, **changes):
        run_study(study, *arguments, **{"output": tmp_path / "runs", **changes})
        return calls[-1]

    return ask


def test_arrays_are_kept_as_a_file_of_the_output_folder_that_later_calls_find(asked, tmp_path):
    alone, mapped = asked(data=IMAGES), asked(data={"images": IMAGES})
    assert alone.settings.dataset == mapped.settings.dataset
    (file,) = (tmp_path / "runs" / "data").rglob("*.npz")
    assert file == Path(alone.settings.dataset)
    data = load(alone.settings.dataset)
    assert sum(data.info.sizes.values()) == 300
    path = tmp_path / "same.npz"
    np.savez(path, images=IMAGES)
    assert load(asked(data=path).settings.dataset).digest == data.digest
    assert asked(data=IMAGES[::-1]).settings.dataset != alone.settings.dataset
    # What else is in a file is no part of the data; its grey levels are.
    names = np.array(["a.png", None] * (len(IMAGES) // 2), dtype=object)
    more = {"images": IMAGES, "names": names, "grey_levels": np.array(99)}
    assert load(asked(data=more).settings.dataset).info.grey_levels == 99
    assert asked().settings.dataset == "digits"


@pytest.mark.parametrize("alter", ["altered", "as it was"])
def test_a_process_that_starts_again_continues_the_same_study_or_stops(tmp_path, monkeypatch, alter):
    """As one does that has grown too large: its data are read again."""
    path = tmp_path / "own.npz"
    np.savez(path, images=IMAGES, grey_levels=4)
    begun = []

    def grow(bound, *arguments):
        begun.append(bound.study_id)
        raise RestartRequiredError("too large")

    def run():
        run_study([SMALL], data=path, output=tmp_path / "runs", backend=os.environ["KERAS_BACKEND"], quiet=True)

    monkeypatch.setattr(bench.workflows.run, "_searched", grow)
    # Restored after the test, whatever the calls below leave.
    for variable in (RUNNING_STUDY_VARIABLE, RESTARTED_VARIABLE):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    with pytest.raises(RestartRequiredError):
        run()
    assert os.environ[RUNNING_STUDY_VARIABLE] == begun[0]
    assert 0 <= time.monotonic() - float(os.environ[RESTARTED_VARIABLE]) < 60
    if alter == "altered":
        np.savez(path, images=IMAGES[::-1], grey_levels=4)
    with pytest.raises(DataError if alter == "altered" else RestartRequiredError) as raised:
        run()
    if alter == "altered":
        assert re.search(rf"own\.npz'.* was altered while {begun[0]} ran: restore it", str(raised.value))
        assert len(begun) == 1
        # Asked for once more, it is what the user wants.
        with pytest.raises(RestartRequiredError):
            run()
    assert len(begun) == 2
    assert (begun[0] == begun[1]) == (alter != "altered")


@pytest.mark.parametrize("place", ["", "figures", "images", "tables"])
def test_a_study_whose_report_would_follow_a_link_is_refused_before_its_first_trial(tmp_path, monkeypatch, place):
    path, output = tmp_path / "own.npz", tmp_path / "runs"
    np.savez(path, images=IMAGES, grey_levels=4)
    begun = []

    def begin(bound, *arguments):
        begun.append(bound.study_id)
        raise StudyStoppedError("begun")

    def run():
        run_study([SMALL], data=path, output=output, backend=os.environ["KERAS_BACKEND"], quiet=True)

    monkeypatch.setattr(bench.workflows.run, "_searched", begin)
    with pytest.raises(StudyStoppedError):
        run()
    link = output / "reports" / begun[0] / place
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(SettingsError, match=f"^{link} is a link to {tmp_path}/elsewhere, .* remove the link"):
        run()
    assert len(begun) == 1


def test_a_report_written_again_follows_no_link_that_took_its_folder_s_place(tmp_path):
    page = tmp_path / "reports" / "mine" / "report.html"
    page.parents[1].mkdir()
    page.parent.symlink_to(tmp_path / "elsewhere")
    outcome = StudyOutcome(SimpleNamespace(study_id="mine"), page, "", [])
    with pytest.raises(SettingsError, match=f"^{page.parent} is a link to"):
        outcome.report()


@pytest.mark.parametrize("study_id", ["../elsewhere", "/elsewhere", "..", "a/b"])
def test_no_report_is_written_outside_the_output_folder(tmp_path, study_id):
    with pytest.raises(SettingsError, match="is no identifier of a study"):
        bench.workflows.run.report(f"sqlite:///{tmp_path / 'mlflow.db'}", study_id, tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES.astype(np.int8) - 5, r"the arrays: images holds the value -5; .*\+ 128\)"),
        (IMAGES[:5], r"too few images \(5 in all\)"),
        (IMAGES.reshape(300, 16), r"type x\.reshape\(-1, 4, 4\)"),
    ],
)
def test_arrays_that_are_refused_are_not_written(asked, tmp_path, images, message):
    with pytest.raises(DataError, match=message):
        asked(data=images)
    assert not (tmp_path / "runs" / "data").exists()


def test_images_are_brought_to_a_size_by_a_setting(asked):
    one = asked(data=IMAGES, resize=(2, 3), grey=True)
    assert load(one.settings.dataset, one.settings.preparation).info.image_shape == (2, 3, 1)


def test_fewer_images_are_trained_on_by_a_setting(asked, tmp_path):
    with pytest.raises(DataError, match=r"train_images=211: the-arrays has 210 training images; 2 to 210 are accepted"):
        asked(data=IMAGES, train_images=211)
    assert not (tmp_path / "runs" / "data").exists()
    one = asked(data=IMAGES, train_images=20)
    data = load(one.settings.dataset, one.settings.preparation)
    assert data.info.sizes == {"train": 20, "validation": 30, "test": 60}
    assert one.settings.dataset == asked(data=IMAGES).settings.dataset


def test_settings_and_arms_are_taken_as_they_are_given(asked):
    one = asked(SMALL, trials=5, quiet=True)
    assert (one.study.name, one.study.arms, one.settings.trials, one.quiet) == ("study", (SMALL,), 5, True)
    study = Study("mine", "What?", (SMALL, replace(SMALL, name="other")), sampler="qmc")
    assert asked(study).study is study
    assert [arm.name for arm in asked(list(study.arms), name="two").study.arms] == ["small", "other"]
    one = asked(sampler=HighestSampler(seed=0), pruner="HyperbandPruner", workers=1)
    assert isinstance(one.objects.sampler, HighestSampler)
    assert one.objects.pruner is None
    one = asked(pruner=_Strict2())
    assert (type(one.objects.pruner), one.settings.pruner) == (_Strict2, "_Strict2")
    assert asked(sampler="QMCSampler", workers=2).objects == SearchObjects()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trails": 5}, r"trails=5: Extra inputs are not permitted"),
        ({"trials": 0}, r"trials=0: .*greater than or equal to 1"),
        ({"study": []}, r"study has no arms"),
        ({"study": [SMALL, SMALL]}, r"two arms of study are called 'small'"),
        ({"study": ["vae"]}, r"arms\.0='vae': "),
        ({"study": SMALL, "name": "a/b"}, r"name='a/b': "),
        ({"study": SMALL, "data": "nowhere"}, r"there is no data set 'nowhere'"),
        ({"study": SMALL, "data": np.zeros((20, 4, 4))}, r"images has dtype float64; integer grey levels"),
        ({"study": SMALL, "data": {"x": IMAGES, "images": IMAGES}}, r"mean the same"),
        ({"sampler": "GuessingSampler"}, r"Optuna has no GuessingSampler: one of "),
        ({"pruner": "GuessingPruner"}, r"Optuna has no GuessingPruner: one of "),
        ({"sampler": "guess"}, r"sampler='guess': one of tpe, qmc, random"),
        ({"sampler": HighestSampler(), "workers": 2}, r"an object serves one process, and workers=2 starts others"),
        ({"pruner": optuna.pruners.NopPruner(), "engine": "ray"}, r"an object serves one process"),
        ({"sampler": optuna.samplers.TPESampler}, r"sampler=<class '.*TPESampler'>: the name of a sampler, or a "),
        ({"pruner": 3}, r"pruner=3: the name of a pruner, or a BasePruner of Optuna's"),
        ({"extensions": ["gone.py"]}, r"extension 'gone.py' does not exist"),
        ({"extensions": "gone.py"}, r"extension 'gone.py' does not exist"),
        ({"dataset": "mnist.npz"}, r"dataset='mnist.npz': give the data as data='mnist.npz'"),
        ({"study": [SMALL, replace(SMALL, name="SMALL")]}, r"two arms of study are called 'small' and 'SMALL'"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:40] if isinstance(value, str) else "",
)
def test_what_is_wrong_is_one_line_before_anything_is_trained(tmp_path, monkeypatch, given, message):
    def begin(*arguments):
        raise AssertionError("it was not refused")

    monkeypatch.setattr(bench.execution.worker.Worker, "work", begin)
    with pytest.raises(Exception, match=message) as raised:
        run_study(**{"study": SMALL, "output": tmp_path / "runs", "quiet": True, **given})
    assert type(raised.value).__name__ in ("SettingsError", "DataError")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((40, 8, 8)), "float64"),
        (np.array([[None]]), "object"),
        ({"y_train": np.zeros(3, np.uint8)}, "x_train"),
        ({"images": np.zeros((4,), np.uint8)}, "images"),
    ],
)
def test_arrays_that_are_no_images_are_refused_before_anything_is_written(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        run_study([Arm(VAEConfig())], data, output=tmp_path / "runs", quiet=True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_study_fits_into_its_time_and_a_longer_one_continues_it(tmp_path, monkeypatch):
    """In real seconds, of which few are left for start and report."""
    import bench.execution.speeds
    import bench.study.budget

    monkeypatch.setattr(bench.study.budget, "START_SECONDS", 4.0)
    monkeypatch.setattr(bench.study.budget, "END_SECONDS", 2.0)
    monkeypatch.setattr(bench.execution.speeds, "WARM_SECONDS", 0.2)
    settings = {"trials": 2, "seeds": 1, "reference_model": False, "importance_samples": 2, "quiet": True}
    settings |= {"output": tmp_path / "runs", "backend": os.environ["KERAS_BACKEND"]}
    arms = [replace(SMALL, training=RECIPE.model_copy(update={"warmup_steps": 2, "patience": 500}))]
    first = run_study(arms, data=IMAGES, time="40s", **settings)
    second = run_study(arms, data=IMAGES, time="80s", **settings)
    assert second.study_id == first.study_id
    finals = [each.runs[each.runs["role"] == "final"] for each in (first, second)]
    trained = [each["param.images"].astype(int).max() for each in finals]
    assert trained[1] > 1.2 * trained[0]
    # A final run of the longer time continues the same training: its run says from where.
    assert len(finals[1]) >= len(finals[0])
    again = run_study(arms, data=IMAGES, time="80s", **settings)
    assert len(again.runs) == len(second.runs)
