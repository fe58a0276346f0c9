"""Options, names of studies and names of runs that make no sense."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies.faults import ANY, database

ROOT = Path(__file__).resolve().parents[2]
STUDY = ("study", "vae_vs_glow")

NUMBERS = {
    "--trials": (("0", "-1", "1000001", "9" * 40), ("1.5", "many", "nan", "inf", "1e3", "", "9" * 5000)),
    "--grey-levels": (("1", "-2", "65537"), ("x",)),
    "--epochs": (("0", "1000001"), ("one",)),
    "--images": (("0", "1000000000001"), ("0x10",)),
    "--timeout": (("0", "-1", "nan", "inf", "-inf", "1e400"), ("soon",)),
    "--equivalence": (("0", "-0.01", "nan", "inf", "1.5", "1e400"), ("small", "0,01")),
    "--seed": (("-1", "9223372036854775808"), ("1.5",)),
    "--seeds": (("0", "1001"), ("∞",)),
    "--batch-size": (("0", "-64", "1000001"), ("64 images",)),
    "--selection-samples": (("0", "1000001"), ("k",)),
    "--importance-samples": (("0", "1000001"), ("k",)),
    "--evaluation-images": (("1", "0", "1000000001"), ("all",)),
}
OUT_OF_RANGE = [(option, value) for option, values in NUMBERS.items() for value in values[0]]
NO_NUMBERS = [(option, value) for option, values in NUMBERS.items() for value in values[1]]


def setting(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


@pytest.mark.parametrize(("option", "value"), OUT_OF_RANGE)
def test_a_number_out_of_range_is_refused_with_what_is_accepted(refused, option, value):
    accepted = "Input should be (greater|less|a finite)"
    refused(rf"^error: {setting(option)}=\S{{1,101}}: {accepted}", *STUDY, f"{option}={value}")


@pytest.mark.parametrize(("option", "value"), NO_NUMBERS, ids=lambda text: text[:20])
def test_what_is_no_number_is_refused_as_the_usage_of_the_option(refused, option, value):
    message = f"{setting(option)}='{value[:99]}.*: .*: `reparam-bench study --help` shows what is accepted"
    refused(rf"^error: {message}", *STUDY, f"{option}={value}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stud"], r"No such command 'stud'"),
        (["study"], r"Missing argument 'name': `reparam-bench study --help` shows"),
        ([*STUDY, "digits"], r"unexpected extra argument\(s\) \(digits\)"),
        ([*STUDY, "--epoch", "2"], r"No such option: --epoch .*--epochs"),
        ([*STUDY, "--trials"], r"Option '--trials' requires an argument"),
        ([*STUDY, "--smoke=yes"], r"Option '--smoke' does not take a value"),
        ([*STUDY, "\x1b[31m"], r"unexpected extra argument"),
        ([*STUDY, "--extractor", "vgg"], r"extractor='vgg': .*'classifier' or 'inception_v3'"),
        ([*STUDY, "--extractor", "inception_v3"], r"inception_v3' takes colour images of 3 channels, and digits has 1"),
        ([*STUDY, "--outside-dataset", "nowhere"], r"no data set 'nowhere'"),
        ([*STUDY, "--outside-dataset", "mnist"], r"outside_dataset='mnist' has images 28x28x1 .* digits are 8x8x1"),
        ([*STUDY, "--sampler", "grid"], r"sampler='grid': one of tpe, qmc, random"),
        ([*STUDY, "--backend", "torch"], r"backend='torch' is unknown: one of tensorflow, jax"),
        ([*STUDY, "--grey-levels", "16"], r"digits has 17 grey levels, not 16"),
        ([*STUDY, "--resize", "8x"], r"resize='8x': a size is HEIGHTxWIDTH, such as 32x48, or one number for both"),
        ([*STUDY, "--resize", "7"], r"glow cannot be trained on digits-7x7: .*7x7"),
        (["gradients", "--resize", "-1"], r"resize='-1': a size is"),
        ([*STUDY, "--epochs", "1", "--images", "9"], r"epochs=1 or images=9, not both"),
        ([*STUDY, "--seed", "-1", "--trials", "0"], r"trials=0: .*; seed=-1: "),
        (["gradients", "--draws", "127"], r"draws=127: .*greater than or equal to 128"),
        (["gradients", "--draws", "100000001"], r"draws=100000001: .*less than or equal to 100000000"),
        (["gradients", "--gradient-draws", "31"], r"gradient_draws=31: "),
        (["gradients", "--images", "0"], r"images=0: "),
        (["gradients", "--seed", "-1"], r"seed=-1: "),
        (["gradients", "--backend", "torch"], r"'torch' is unknown"),
        (["gradients", "--dataset", "digit"], r"no data set 'digit'"),
        (["gradients", "--grey-levels", "2"], r"digits has 17 grey levels, not 2"),
        (["gradients", "--tracking-uri", "ftp://host/x"], r"tracking store ftp://host/x cannot be reached"),
        (["reproduce", "vea"], r"no published result is called 'vea': one of vae, "),
        (["reproduce", "vae", "--images", "0"], r"images='0': Input should be greater than or equal to 1"),
        (["reproduce", "vae", "--images", "1000000000001"], r"images=1000000000001: "),
        (["reproduce", "vae", "--seeds", "1001"], r"seeds=1001: "),
        (["reproduce", "vae", "--importance-samples", "1000001"], r"importance_samples=1000001: "),
        (["reproduce", "vae", "--evaluation-images", "1"], r"evaluation_images='1': .*greater than or equal to 2"),
        (["reproduce", "vae", "--dataset", "gone.npz"], r"no data set 'gone.npz'"),
        (["reproduce", "glow-mnist", "--dataset", "odd.npz"], r"glow-mnist cannot be trained on odd: .*7x7"),
        (["reproduce", "vae", "--backend", "x"], r"backend='x' is unknown"),
        (["reproduce", "vae", "--tracking-uri", "ftp://host/x"], r"tracking store ftp://host/x cannot be reached"),
        (["doctor", "--tracking-uri", ""], r"tracking_uri='' is empty"),
        (["doctor", "--storage", " "], r"storage=' ' is empty"),
        (["ui", "--port", "0"], r"port='0': Input should be greater than or equal to 1"),
        (["ui", "--dashboard-port", "65536"], r"dashboard_port='65536': .*less than or equal to 65535"),
        (["ui", "--storage", ""], r"storage='' is empty"),
        (["ui"], r"mlflow\.db does not exist: run a study first"),
        (["report"], r"mlflow\.db does not exist"),
        (["report", "--equivalence", "0"], r"equivalence=0.0: Input should be greater than 0"),
        (["report", "--equivalence=-1"], r"equivalence=-1.0: Input should be greater than 0"),
        (["report", "--equivalence", "nan"], r"equivalence=nan: Input should be a finite number"),
        (["report", "--equivalence", "9"], r"equivalence=9.0: Input should be less than or equal to 1"),
        (["compare", "a", "b", "--equivalence", "2"], r"equivalence=2.0: Input should be less than or equal to 1"),
        (["compare", "a", "b", "--equivalence", "x"], r"equivalence='x': .*Input should be a valid number"),
        (["compare", "a", "b"], r"mlflow\.db does not exist"),
        (["compare", "a"], r"Missing argument 'after'"),
        (["evaluate", "0123"], r"mlflow\.db does not exist"),
        (["evaluate", "0123", "--extractor", "vgg"], r"extractor='vgg'"),
        (["evaluate", "0123", "--importance-samples", "1000001"], r"importance_samples=1000001"),
        (["evaluate", "0123", "--annealing", "-1"], r"annealing='-1': .*greater than or equal to 0"),
        (["list", "--output", "a" * 300], r"output='a+' cannot be opened"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_command_line_that_makes_no_sense_is_refused(refused, tmp_path, arguments, message):
    import numpy as np

    np.savez(tmp_path / "odd.npz", x_train=np.zeros((60, 7, 7), np.uint8))
    refused(message, *arguments)


@ANY
@given(
    option=st.sampled_from(list(NUMBERS)),
    # What no argument can hold is left out.
    value=st.integers().map(str)
    | st.floats().map(str)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_any_value_of_any_option_is_taken_or_refused(refused, tmp_path, monkeypatch, option, value):
    monkeypatch.setattr("studies.cli.plan.print_plan", lambda bound, console: None)
    outcome = refused.cli(*STUDY, "--dry-run", f"{option}={value}")
    if outcome[0]:
        refused.check(outcome, "shows what is accepted|: Input should be|digits has 17 grey levels")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "other"], r"no study 'other' in .*: it holds partial-digits-00000000"),
        (["report", ""], r"no study '' in .*: it holds partial-digits-00000000"),
        (["report", "' OR 1=1 --"], r"no study \"' OR 1=1 --\" in"),
        (["report", "../../etc/passwd"], r"no study '\.\./\.\./etc/passwd'"),
        (["report", "%"], r"no study '%'"),
        (["report", "a\nb\x1b[31m"], r"no study 'a\\nb\\x1b\[31m'"),
        (["report", "x" * 5000], r"no study 'x+"),
        (["report", "--output", "file"], r"file/mlflow\.db (does not exist|cannot)"),
        (["compare", "partial", "partial"], r"'partial' and 'partial' are the same study, partial-digits-00000000"),
        (["compare", "partial", "other"], r"no study 'other'"),
        (["compare", "partial", "other", "third"], r"no study 'other'"),
        (["compare", "a", "b", "c", "--output-after", "."], r"second of two studies is, and 3 are given: give two"),
        (["compare", "partial", "partial", "--tracking-uri-after", ""], r"tracking_uri_after='' is empty"),
        (["compare", "partial", "partial", "--output-after", "gone"], r"gone/mlflow\.db does not exist"),
        (["compare", "partial", "partial", "--tracking-uri-after", "ftp://x"], r"ftp://x cannot be reached"),
        (["evaluate", ""], r"no run '' in .*: give a run's identifier, 32 hexadecimal digits"),
        (["evaluate", "%"], r"no run '%'"),
        (["evaluate", "0' OR '1'='1"], r"no run \"0' OR '1'='1\""),
        (["evaluate", "../mlflow.db"], r"no run '\.\./mlflow\.db'"),
        (["evaluate", "f" * 32], r"no run 'f+'"),
        (["evaluate", "0123456789abcdef" * 100], r"no run '"),
        (["evaluate", "🏃"], r"no run '🏃'"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_study_or_a_run_that_is_not_there_is_refused(refused, tmp_path, partial_store, arguments, message):
    (tmp_path / "file").write_text("")
    own = [] if "--output" in arguments else ["--tracking-uri", f"sqlite:///{partial_store}/mlflow.db"]
    refused(message, *arguments, *own)


def test_a_study_that_is_not_as_it_was_logged_is_refused(refused, tmp_path, partial_store):
    copy = tmp_path / "mlflow.db"
    copy.write_bytes((partial_store / "mlflow.db").read_bytes())
    for spoil in (
        "UPDATE tags SET value = '{' WHERE key = 'reparam.settings'",
        "UPDATE tags SET value = '[1]' WHERE key = 'reparam.settings'",
        "DELETE FROM tags WHERE key = 'reparam.dataset'",
        "UPDATE tags SET value = '{\"name\": 5}' WHERE key = 'reparam.study'",
    ):
        database(spoil)(copy)
        message = r"partial-digits-00000000 in \S+ is not as a study logs it \("
        refused(message, "report", "--tracking-uri", f"sqlite:///{copy}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "vae_vs_glow", "--trials", "0"], r"trials=0: "),
        (["study", "vae_vs_glow", "--dataset", "/dev/stdin"], r"'/dev/stdin' is a pipe or a device"),
        (["study", "vae_vs_glow", "--storage", "postgresql://me:secret@127.0.0.1:1/x"], r"//\*\*\*@127"),
    ],
    ids=["option", "data", "store"],
)
def test_a_process_ends_as_the_command_does(refused, tmp_path, arguments, message):
    done = subprocess.run(
        [sys.executable, "-c", "from studies.cli.main import main; main()", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    refused.check((done.returncode, done.stdout, done.stderr), message)
    assert list(tmp_path.iterdir()) == []
