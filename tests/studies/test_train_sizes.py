"""``reparam-bench study NAME --train-sizes 20 all``: a study for each number of training images, and a comparison."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import typer

from bench.core.errors import SettingsError
from bench.core.results import Bound, BoundKind, Measurement, RunState
from bench.data.bundled import DIGITS
from bench.data.registry import load
from bench.study.config import RunConfig, TrainingConfig
from bench.study.definition import BoundStudy, StudySettings
from bench.tracking.opening import open_study
from bench.tracking.reading.model_runs import load_run
from bench.tracking.reading.reader import load_results
from bench.tracking.reading.studies import list_studies
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
from studies.cli.data_sets import varied
from studies.cli.loading import load_study
from studies.cli.main import app

SCRIPT = """
from bench.study.definition import Arm, Study
from models.vae.config import VAEConfig

STUDY = Study(name="tiny", question="How low?", arms=(Arm(VAEConfig(hidden_sizes=(4,), latent_size=2)),))
"""
COMMAND = (
    *("--seeds", "1", "--images", "640", "--batch-size", "10", "--no-reference-model"),
    *("--selection-samples", "2", "--importance-samples", "4"),
)
STUDY = ("study", "tiny.py", "--dataset", "bright.npz", "--train-sizes", "20", "all", *COMMAND)


def write_data(folder):
    """Two small data sets of 56 training images, and the study's script."""
    (folder / "tiny.py").write_text(SCRIPT)
    for number, name in enumerate(("bright", "dark")):
        images = np.random.default_rng(number).integers(0, 4 + number, (80, 4, 4), np.uint8)
        np.savez(folder / f"{name}.npz", images=images, grey_levels=8)


def parsed(line):
    """The study, the data sets and the numbers of training images that a command line names."""
    context = typer.main.get_command(app).commands["study"].make_context("study", line.split())
    return context.params["name"], list(context.params["dataset"]), list(context.params["train_sizes"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x", ("x", [], [])),
        ("x --train-sizes 500", ("x", [], ["500"])),
        ("x --train-sizes 500 1000 all", ("x", [], ["500", "1000", "all"])),
        ("--train-sizes 500 1000 x", ("x", [], ["500", "1000"])),
        ("--train-sizes 500 x", ("x", [], ["500"])),
        ("x --train-sizes=500 all --dataset a", ("x", ["a"], ["500", "all"])),
        ("x --dataset a b --train-sizes 5 6 --smoke", ("x", ["a", "b"], ["5", "6"])),
        ("--dataset a b --train-sizes 5 6 x", ("x", ["a", "b"], ["5", "6"])),
        ("--train-sizes 5 6 --dataset a b --smoke x", ("x", ["a", "b"], ["5", "6"])),
        # The name between the two options.
        ("--dataset a x --train-sizes 500 all", ("x", ["a"], ["500", "all"])),
        ("--dataset a b x --train-sizes 500 all", ("x", ["a", "b"], ["500", "all"])),
        ("--dataset a x --train-sizes 500", ("x", ["a"], ["500"])),
        ("--train-sizes 500 x --dataset a b", ("x", ["a", "b"], ["500"])),
        ("--train-sizes 500 all x --dataset a", ("x", ["a"], ["500", "all"])),
        # What is neither a name nor a number is refused as a number.
        ("--train-sizes 20 many x", ("x", [], ["20", "many"])),
    ],
)
def test_the_option_takes_every_word_that_follows_it(line, expected):
    assert parsed(line) == expected


@pytest.mark.parametrize("line", ["--train-sizes 500 1000", "--train-sizes 500 all 1000"])
def test_a_number_of_images_is_no_name_of_a_study(cli, line):
    code, out, err = cli("study", *line.split())
    assert (code, out) == (2, "")
    assert "Missing argument 'name'" in err


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (["20", "many"], r"train_sizes='many': a whole number from 2, or 'all' for every image, is accepted"),
        (["1", "20"], r"train_sizes='1': a whole number from 2"),
        (["20", "2e1"], r"train_sizes='2e1': a whole number from 2"),
        (["20", "30", "20"], r"train_sizes='20' is given twice: give it once"),
        (["all", "20", "all"], r"train_sizes='all' is given twice"),
    ],
)
def test_what_is_no_number_of_images_is_refused(sizes, message):
    with pytest.raises(SettingsError, match=message):
        varied(["digits"], sizes)


@pytest.mark.parametrize(
    ("sizes", "message", "dry"),
    [
        (
            ["20", "57"],
            r"train_images=57: bright has 56 training images; 2 to 56 are accepted, or train_images=None "
            r"\(--train-sizes all\) for every one",
            (),
        ),
        (
            ["20", "56", "all"],
            r"train_sizes=56 and all are the same 56 images of 'bright\.npz': give one of them",
            ("--dry-run",),
        ),
    ],
    ids=["more than there are", "all, and their number"],
)
def test_what_cannot_be_compared_is_refused_before_any_work(refused, tmp_path, sizes, message, dry):
    write_data(tmp_path)
    refused(message, "study", "tiny.py", "--dataset", "bright.npz", "--train-sizes", *sizes, *COMMAND, *dry)


def test_several_data_sets_and_several_numbers_are_refused():
    message = "2 data sets and 3 numbers of training images are given: several of one of the two are accepted"
    with pytest.raises(SettingsError, match=message):
        varied(["bright.npz", "dark.npz"], ["20", "30", "all"])


def test_several_data_sets_may_be_cut_to_one_number(cli, tmp_path):
    write_data(tmp_path)
    line = ("study", "tiny.py", "--dataset", "bright.npz", "dark.npz", "--train-sizes", "20", *COMMAND, "--dry-run")
    code, out, err = cli(*line)
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("data ")] == ["bright-20:", "dark-20:"]
    assert out.splitlines()[-1].startswith("in all    2 data sets, one after the other")


def test_the_dry_run_shows_each_plan_and_their_sum(cli, tmp_path):
    write_data(tmp_path)
    code, out, err = cli(*STUDY, "--dry-run")
    assert (code, err) == (0, "")
    found = [re.sub(r"\s+", " ", line) for line in out.splitlines() if line.startswith("data ")]
    splits = "8 validation, 16 test, split off by a fixed permutation"
    assert found == [
        f"data bright-20: 4x4x1, 8 grey levels, grey; 20 train, {splits}",
        f"data bright: 4x4x1, 8 grey levels, grey; 56 train, {splits}",
    ]
    assert "; here 20 of its 56 training images, always the same." in " ".join(out.split())
    assert out.splitlines()[-1].startswith(
        "in all    2 numbers of training images, one after the other, and a comparison over them: 2 runs, "
    )
    assert not (tmp_path / "runs").exists()


def test_each_number_is_a_study_of_its_own_and_all_is_the_study_without_the_option(cli, tmp_path, keep_classifier):
    write_data(tmp_path)
    where, runs = str(tmp_path / "bright.npz"), tmp_path / "runs"
    settings = [
        StudySettings.from_options(
            {"dataset": where, "seeds": 1, "images": 640, "batch_size": 10, "selection_samples": 2}
            | {"importance_samples": 4, "reference_model": False, "train_images": number}
        )
        for number in (20, None)
    ]
    data = [load(where, each.preparation) for each in settings]
    for each in data:
        keep_classifier(each.tuning, runs)
    code, output, _ = cli(*STUDY)
    assert code == 0, output
    uri = f"sqlite:///{runs / 'mlflow.db'}"
    results = {study_id: load_results(uri, study_id) for study_id in list_studies(uri)}
    declared = load_study(str(tmp_path / "tiny.py"))
    assert set(results) == {
        BoundStudy(declared, each, of.info, of.digest, of.labels_digest).study_id
        for each, of in zip(settings, data, strict=True)
    }
    assert sorted(study_id.rpartition("-")[0] for study_id in results) == ["tiny-bright", "tiny-bright-20"]
    logged = {study.dataset["sizes"]["train"]: study.dataset for study in results.values()}
    assert {n: (each["chosen_from"], each["digest"]) for n, each in logged.items()} == {
        20: (56, data[0].digest),
        56: (None, data[1].digest),
    }
    assert {each["held_out"] for each in logged.values()} == {data[0].held_out_digest}
    # The comparison is written at the end.
    page = output.splitlines()[-1]
    assert page.startswith("runs/reports/compare-2-train-sizes-")
    assert page.endswith("/compare.html")
    text = (tmp_path / page).with_suffix(".md").read_text("utf-8")
    assert "training images runs have about the same budget of images seen: at most 660 images." in text
    assert "Runs were evaluated up to 32 times at 20 and 11 times at 56: patience" in text
    assert "could not be drawn" not in text
    assert {each.suffix for each in ((tmp_path / page).parent / "figures").iterdir()} == {".svg", ".pdf", ".csv"}
    # A run's images are found again.
    small = next(study for study in results.values() if study.dataset["sizes"]["train"] == 20)
    run = load_run(uri, small.runs["run_id"].iloc[0])
    assert run.preparation.train_images == 20
    run.check_data(data[0].info.name, data[0].digest)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An output folder with a study of the digits at three numbers of training images, and one that logs no digest."""
    folder = tmp_path_factory.mktemp("train_sizes") / "runs"
    folder.mkdir()
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder / "outbox")
    whole = (1259, 2.0, 2.2)
    levels = {"s-300": (300, 2.5, 2.6), "s-600": (600, 2.2, 2.4), "s-all": whole, "old-all": whole}
    for study_id, (n, *values) in levels.items():
        chosen = n < DIGITS.sizes["train"]
        info = replace(DIGITS, sizes={**DIGITS.sizes, "train": n})
        info = replace(info, name=f"digits-{n}", chosen_from=1259) if chosen else info
        arms = dict(zip(("vae", "glow"), values, strict=True))
        parent = open_study(
            tracker,
            StudyDescription(
                study_id=study_id,
                name="s",
                question="Which?",
                arms={arm: arm for arm in arms},
                swept={arm: [] for arm in arms},
                settings={"training_images": dict.fromkeys(arms, 75_000)},
                provenance={"commit": "0" * 40},
                dataset=info,
                digest=f"{n}" * 8,
                held_out="" if study_id == "old-all" else "h" * 8,
            ),
        )
        for arm, value in arms.items():
            model = VAEConfig() if arm == "vae" else GlowConfig()
            config = RunConfig(model=model, training=TrainingConfig(), dataset_digest=str(n), backend="jax")
            run = parent.start_run(f"{arm} final", "final", arm, 0, config)
            bound = Bound(BoundKind.IMPORTANCE_WEIGHTED, 16)
            run.log_measurements([Measurement("test", "bits_per_dim", value, 0.001, 360, bound)])
            run.finish(RunState.COMPLETE)
    assert tracker.drain() == 0
    return folder


@pytest.mark.usefixtures("undrawn_here")
def test_compare_makes_the_same_page_in_any_order(cli, store):
    pages = []
    for names in (["s-300", "s-600", "s-all"], ["s-all", "s-300", "s-600"]):
        code, out, err = cli("compare", *names, "--output", str(store))
        assert (code, err) == (0, "")
        assert "VAE has the lower test bits/dim on digits at every number of training images, from 300 to 1,259." in out
        pages.append(out.splitlines()[-1])
    assert pages[0] == pages[1]
    assert "compare-3-train-sizes-" in pages[0]
    text = (store / "reports" / pages[0].split("/reports/")[1]).with_suffix(".md").read_text("utf-8")
    assert "differ in more than" not in text


def test_a_study_that_does_not_say_what_it_holds_out_is_not_compared_as_another_data_set(cli, store):
    code, out, err = cli("compare", "old-all", "s-300", "s-600", "--output", str(store))
    assert (code, out) == (2, "")
    assert err == (
        "error: old-all does not say which images it holds out, and s-600 may be of a part of its data: run its "
        "command again, which logs that\n"
    )
