"""Studies as commands take them: by identifier or its beginning, one or several, and not of every kind."""

from __future__ import annotations

import sys

import pytest

from bench.core.errors import TrackingError
from bench.data.bundled import DIGITS
from bench.tracking.opening import open_study
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from bench.workflows.gradients.settings import NAME as GRADIENTS
from studies.cli.main import main
from studies.cli.stores import choose_studies

OLD, NEW, OTHER = "flow_depth-digits-11aa", "flow_depth-digits-11bb", "latent_size-digits-22"


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """An output folder with studies that have no run yet; the newest is one of gradient estimators."""
    folder = tmp_path_factory.mktemp("several")
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder / "outbox")
    for study_id in (OLD, OTHER, NEW, f"{GRADIENTS}-digits-33"):
        open_study(
            tracker,
            StudyDescription(
                study_id=study_id,
                name=study_id.partition("-")[0],
                question="Which?",
                arms={"vae": "vae"},
                swept={"vae": []},
                settings={},
                provenance={"commit": "0" * 40},
                dataset=DIGITS,
                digest="0" * 64,
            ),
        )
    return folder


@pytest.fixture
def uri(output):
    return f"sqlite:///{output / 'mlflow.db'}"


def test_studies_that_have_nothing_in_common_are_no_success(output, monkeypatch, capsys):
    arguments = ["compare", OLD, NEW, "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["reparam-bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert ended.value.code == 3
    assert captured.err.splitlines() == [
        "warning: nothing can be compared: VAE is not compared on test: it has no final run in one of the studies."
    ]
    assert captured.out.splitlines()[-1].endswith("compare.md")


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        ([OLD], [OLD]),
        (["latent"], [OTHER]),
        (["flow_depth-digits-11b", "l", OTHER], [NEW, OTHER]),
        ([], [NEW]),
    ],
    ids=str,
)
def test_names_and_their_beginnings_are_understood_and_none_is_the_newest(uri, names, meant):
    assert choose_studies(uri, names) == meant


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flow", rf"'flow' is a prefix of {NEW}, {OLD}: give more of it"),
        ("glow", rf"no study 'glow' in sqlite:.*: it holds {GRADIENTS}-digits-33, {NEW}, {OTHER}, {OLD}"),
        (GRADIENTS, rf"{GRADIENTS}-digits-33 is a study of gradient estimators: `reparam-bench gradients` writes"),
    ],
)
def test_a_name_that_means_several_or_none_or_has_a_report_of_its_own_is_refused(uri, name, message):
    with pytest.raises(TrackingError, match=message):
        choose_studies(uri, [OLD, name])


def test_several_reports_have_an_index(output, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reparam-bench", "report", "latent", OLD, "--output", str(output)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    pages = capsys.readouterr().out.split()
    reports = output / "reports"
    expected = [reports / OTHER / "report.html", reports / OLD / "report.html", reports / "index.html"]
    assert pages == list(map(str, expected))
    index = expected[-1].read_text(encoding="utf-8")
    assert f'href="{OTHER}/report.html"' in index
    assert f'href="{OLD}/report.html"' in index
    assert "No run has been logged yet" in index
