"""``reparam-bench study NAME --train-sizes 20 all``: a study for each number of training images, and a comparison."""

from __future__ import annotations

import re

import numpy as np
import pytest
import typer

from bench.data.registry import load
from bench.tracking.reading.reader import list_studies, load_results, load_run
from studies.cli.main import app
from tests.studies.small_study import DEADLINE, start_command

SCRIPT = """
from bench.study.definition import Arm, Study
from models.vae.config import VAEConfig

STUDY = Study(
    name="tiny",
    question="Is a wide one better?",
    arms=tuple(Arm(VAEConfig(hidden_sizes=(n,), latent_size=2), name=f"width-{n}") for n in (4, 16)),
)
"""
COMMAND = (
    *("--seeds", "2", "--images", "640", "--batch-size", "10", "--no-reference-model"),
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
        ("x --train-sizes=500 all --dataset a", ("x", ["a"], ["500", "all"])),
        ("x --dataset a b --train-sizes 5 6 --smoke", ("x", ["a", "b"], ["5", "6"])),
        ("--dataset a b --train-sizes 5 6 x", ("x", ["a", "b"], ["5", "6"])),
        ("--train-sizes 5 6 --dataset a b --smoke x", ("x", ["a", "b"], ["5", "6"])),
    ],
)
def test_the_option_takes_every_word_that_follows_it(line, expected):
    assert parsed(line) == expected


BAD = {
    "no number": (["20", "many"], r"train_sizes='many': a whole number from 2, or 'all' for every image, is accepted"),
    "one": (["1", "20"], r"train_sizes='1': a whole number from 2"),
    "a negative one": (["20", "2e1"], r"train_sizes='2e1': a whole number from 2"),
    "twice": (["20", "30", "20"], r"train_sizes='20' is given twice: give it once"),
    "twice all": (["all", "20", "all"], r"train_sizes='all' is given twice"),
    "more than there are": (
        ["20", "57"],
        r"train_images=57: bright has 56 training images; 2 to 56 are accepted, and without a number, or with "
        r"--train-sizes all, every one is used",
    ),
    "all, and their number": (
        ["20", "56", "all"],
        r"train_sizes=56 and all are the same 56 images of 'bright\.npz': give one of them",
    ),
}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_compared_is_refused_before_any_work(refused, tmp_path, name, dry):
    sizes, message = BAD[name]
    write_data(tmp_path)
    refused(message, "study", "tiny.py", "--dataset", "bright.npz", "--train-sizes", *sizes, *COMMAND, *dry)


def test_several_data_sets_and_several_numbers_are_refused(refused, tmp_path):
    write_data(tmp_path)
    refused(
        "2 data sets and 3 numbers of training images are given: several of one of the two are accepted",
        *("study", "tiny.py", "--dataset", "bright.npz", "dark.npz", "--train-sizes", "20", "30", "all", *COMMAND),
    )


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
        "in all    2 numbers of training images, one after the other, and a comparison over them: 8 runs, "
    )
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """The command, and the same again; the study of all images without the option, in another folder."""
    folder = tmp_path_factory.mktemp("train_sizes")
    write_data(folder)
    ended, results = [], []
    alone = ("study", "tiny.py", "--dataset", "bright.npz", *COMMAND, "--output", "alone")
    for command, output in ((STUDY, "runs"), (STUDY, "runs"), (alone, "alone")):
        process = start_command(folder, command)
        ended.append((process.communicate(timeout=2 * DEADLINE)[0], process.returncode))
        uri = f"sqlite:///{folder / output / 'mlflow.db'}"
        results.append({study_id: load_results(uri, study_id) for study_id in list_studies(uri)})
    return {"folder": folder, "ended": ended, "results": results}


def test_each_number_is_a_study_of_its_own_and_all_is_the_study_without_the_option(history):
    (output, code), _, (_, alone_code) = history["ended"]
    assert (code, alone_code) == (0, 0), output
    first, _, alone = history["results"]
    assert sorted(study_id.rpartition("-")[0] for study_id in first) == ["tiny-bright", "tiny-bright-20"]
    assert set(alone) <= set(first)
    datasets = [study.dataset for study in first.values()]
    assert sorted(dataset["sizes"]["train"] for dataset in datasets) == [20, 56]
    assert len({dataset["held_out"] for dataset in datasets}) == 1
    assert len({dataset["digest"] for dataset in datasets}) == 2


def test_the_same_command_again_does_nothing_more(history):
    (_, _), (output, code), _ = history["ended"]
    assert code == 0, output
    first, again, _ = history["results"]
    runs = [{study_id: study.runs["run_id"].tolist() for study_id, study in each.items()} for each in (first, again)]
    assert runs[0] == runs[1]


def test_the_comparison_is_written_at_the_end(history):
    output, _ = history["ended"][0]
    page = output.splitlines()[-1]
    assert page.startswith("runs/reports/compare-2-train-sizes-")
    assert page.endswith("/compare.html")
    path = history["folder"] / page
    text = path.with_suffix(".md").read_text("utf-8")
    assert (
        "At every number of training images runs have about the same budget of images seen: at most 660 images." in text
    )
    assert "could not be drawn" not in text
    assert {each.suffix for each in (path.parent / "figures").iterdir()} == {".svg", ".pdf", ".csv"}
    assert "training images" in path.read_text("utf-8")
    # The same command, and the same page.
    assert history["ended"][1][0].splitlines()[-1] == page


def test_a_run_s_images_are_found_again(history):
    folder, (first, *_) = history["folder"], history["results"]
    uri = f"sqlite:///{folder / 'runs' / 'mlflow.db'}"
    small = next(study for study in first.values() if study.dataset["sizes"]["train"] == 20)
    logged = load_run(uri, small.runs["run_id"].iloc[0])
    assert logged.preparation.train_images == 20
    data = load(str(folder / "bright.npz"), logged.preparation)
    logged.check_data(data.info.name, data.digest)


def test_compare_makes_the_same_page(history, cli, monkeypatch):
    monkeypatch.chdir(history["folder"])
    ids = list(history["results"][0])
    code, out, err = cli("compare", *reversed(ids))
    assert (code, err) == (0, "")
    assert history["ended"][0][0].splitlines()[-1] in out.splitlines()[-1]
