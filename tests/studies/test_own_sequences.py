"""A user's own text and recordings: what the dry run says of them, and how they reach every command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from bench.core.results import StudyResults
from bench.tracking.reading.reader import load_results
from tests.bench.data.sounds import save
from tests.studies.test_own_data import STUDY, said

PROSE = "".join(np.random.RandomState(0).choice([*"to be or not,\n"], 4000))


@pytest.fixture(autouse=True)
def own(tmp_path: Path) -> Path:
    """A text, and a folder of recordings of two words."""
    (tmp_path / "own_study.py").write_text(STUDY)
    (tmp_path / "play.txt").write_text(PROSE)
    noise = np.random.RandomState(0)
    for i in range(20):
        rate = 8000 if i % 3 else 16_000
        save(
            tmp_path / "words" / ("no", "yes")[i % 2] / f"{i}.wav", noise.uniform(-1, 1, 600 * rate // 8000), rate=rate
        )
    return tmp_path


def test_the_dry_run_says_what_it_found_in_a_text(cli):
    code, out, err = cli("study", "own_study.py", "--dataset", "play.txt", "--window", "16", "--dry-run")
    assert code == 0, err
    lines = said(out)
    assert lines["data"] == (
        "data      play: windows of 16 characters, an alphabet of 9; 175 train, 25 validation, 50 test"
    )
    assert lines["source"] == (
        "source    the user's own file play.txt, as UTF-8 of 9 symbols (those of the training part), in windows of 16 "
        "characters, split off by position."
    )
    assert lines["alphabet"] == r"alphabet  \n ,benort"
    assert "labels" not in lines
    assert lines["quality"].endswith("by their trigrams, and by their runs of 20 symbols that are copies")


def test_the_dry_run_says_what_it_found_in_recordings(cli):
    code, out, err = cli("study", "own_study.py", "--dataset", "words", "--window", "64", "--dry-run")
    assert code == 0, err
    lines = said(out)
    assert lines["data"] == (
        "data      words: windows of 64 samples (8 ms) at 8,000 Hz, mu-law to 256 levels; 126 train, 18 validation, 36 "
        "test"
    )
    assert lines["source"] == (
        "source    the user's own folder words; 20 recordings at 8,000, 16,000 Hz, resampled to 8,000 Hz, mu-law to "
        "256 levels, in windows of 64 samples, split off by file; what fills no window (480 samples in all) is left "
        "out."
    )
    assert lines["labels"] == "labels    2 classes: no, yes"
    assert lines["quality"] == "quality   of samples is not measured: it needs 50 training and test windows, not 36"
    code, out, err = cli("study", "own_study.py", "--dataset", "words/no", "--window", "16", "--dry-run")
    assert code == 0, err
    assert "recordings without classes have no network that could judge them" in said(out)["quality"]


def test_bytes_have_no_alphabet_of_their_own(cli):
    code, out, err = cli("study", "own_study.py", "--dataset", "play.txt", "--text-unit", "bytes", "--dry-run")
    assert code == 0, err
    assert said(out)["alphabet"] == "alphabet  the 256 values of a byte"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "digits", "--window", "16"), r"digits holds images, and --window is for text and sound"),
        (("--dataset", "play.txt", "--resize", "8"), r"play\.txt holds text, and --resize is for images"),
        (("--dataset", "play.txt", "--speakers"), r"play\.txt holds text, and --speakers is for sound"),
        (("--dataset", "words", "--text-unit", "bytes"), r"words holds sound, and --text-unit is for text"),
        (("--dataset", "words", "--window", "0"), r"window=0: .* greater than or equal to 1"),
        (("--dataset", "words", "--sample-rate", "10"), r"sample_rate=10: .* greater than or equal to 1000"),
        (("--dataset", "words", "--sound-encoding", "mp3"), r"sound_encoding='mp3': .* 'mu-law' or 'linear'"),
        (("--dataset", "play.txt", "--text-unit", "words"), r"text_unit='words': .* 'characters' or 'bytes'"),
        (
            ("--dataset", "play.txt", "--outside-dataset", "words"),
            r"'words' is sound, and play is text",
        ),
        (("--dataset", "play.txt", "--train-sizes", "9999"), r"play has 44 training windows; 2 to 44 are accepted"),
        (("--dataset", "text8"), r"text8 is not in the cache: put the file in http://mattmahoney\.net/dc/text8\.zip"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(refused, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    refused(message, "study", "own_study.py", *arguments)


def results_of(out: str, name: str) -> StudyResults:
    """What a study logged, from the line in which the command names it."""
    study_id = next(line for line in out.splitlines() if line.startswith(f"own-{name}-")).partition(":")[0]
    return load_results(f"sqlite:///{Path('runs/mlflow.db').resolve()}", study_id)


@pytest.mark.usefixtures("undrawn_here")
def test_a_text_is_studied_by_several_processes_and_repeated_and_its_alphabet_is_read_back(cli):
    options = ("--window", "16", "--smoke", "--no-reference-model", "--outside-dataset", "play.txt", "--workers", "2")
    code, out, err = cli("study", "own_study.py", "--dataset", "play.txt", *options)
    assert code == 0, err
    results = results_of(out, "play")
    assert (results.dataset["kind"], results.dataset["encoding"]) == ("text", "characters")
    assert "".join(results.dataset["symbols"]) == "\n ,benort"
    assert results.settings["window"] == 16
    final = results.runs[results.runs["role"] == "final"]["run_id"].iloc[0]
    client = MlflowClient(f"sqlite:///{Path('runs/mlflow.db').resolve()}")
    assert {each.path for each in client.list_artifacts(final, "sequences")} == {
        "sequences/held-out.txt",
        "sequences/sample.txt",
    }
    scores = results.measurements[results.measurements["run_id"] == final].query("split == 'quality'")
    assert set(scores["metric"]) | set(results.unavailable.get(final, {})) == {
        *("trigram_divergence", "trigram_divergence_floor", "copied_share", "copied_share_floor"),
        "non_finite_samples",
    }
    # How it was read is the study's: the same file elsewhere is enough.
    moved = Path("play.txt").rename("moved.txt")
    code, out, err = cli("repeat", results.runs["run_id"].iloc[0], "--dataset", str(moved))
    assert code == 0, err
    assert "the same, bit by bit" in out


@pytest.mark.slow
def test_recordings_are_studied(cli):
    options = ("--window", "64", "--smoke", "--no-reference-model", "--sound-encoding", "linear")
    code, out, err = cli("study", "own_study.py", "--dataset", "words", *options)
    assert code == 0, err
    results = results_of(out, "words")
    assert (results.dataset["kind"], results.dataset["encoding"]) == ("audio", "linear")
    assert results.dataset["sample_rate"] == 8000
    assert set(results.runs["state"]) == {"complete"}
    final = results.runs[results.runs["role"] == "final"]["run_id"].iloc[0]
    client = MlflowClient(f"sqlite:///{Path('runs/mlflow.db').resolve()}")
    assert "sequences/sample-1.wav" in {each.path for each in client.list_artifacts(final, "sequences")}
    assert {each.kind for each in results.images if each.run_id == final} == {"data", "samples"}
