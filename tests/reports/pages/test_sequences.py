"""Reports of text and sound: their units, and samples to be read or listened to."""

from __future__ import annotations

import base64
import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from bench.core.metrics import METRICS
from bench.core.results import TABLES, StudyResults
from bench.core.sequences import to_wav
from reports import write_report
from reports.analysis.comparison import compare
from reports.analysis.results import Study
from reports.pages.comparison import write_comparison
from studies.cli.compare import _print as print_comparison
from tests.reports.conftest import SEPARATED, whole

HOSTILE = "</code><script>alert(1)</script>"
TEXT = {"kind": "text", "encoding": "characters", "symbols": sorted({*HOSTILE, "\n", "e", "x"}), "grey_levels": 20}
SOUND = {"kind": "audio", "encoding": "mu-law", "symbols": [], "sample_rate": 8000, "grey_levels": 256}


def with_sequences(results: StudyResults, about: dict[str, object], drawn: dict[str, list[list[int]]]) -> StudyResults:
    """The study of such data, in which the first final run of each arm has left these samples."""
    runs = results.runs[results.runs["role"] == "final"].drop_duplicates("arm").set_index("arm")["run_id"]
    rows = [
        (runs[arm], kind, number, position, value)
        for arm, sequences in drawn.items()
        for kind in (0, 1)
        for number, sequence in enumerate(sequences)
        for position, value in enumerate(sequence if kind else sequence[::-1])
    ]
    length = len(next(iter(drawn.values()))[0])
    frame = pd.DataFrame(rows, columns=["run_id", *TABLES["sequences"]])
    # As a store may give them back.
    frame = frame.sample(frac=1.0, random_state=0)
    dataset = {**results.dataset, "image_shape": [1, length, 1], **about}
    return dataclasses.replace(results, dataset=dataset, tables={**results.tables, "sequences": frame}, images=[])


def of_text(text: str) -> list[int]:
    return [TEXT["symbols"].index(each) for each in text]


@pytest.fixture(scope="module")
def text_report(tmp_path_factory):
    samples = {"vae": [of_text(HOSTILE), [-1] * len(HOSTILE)], "glow": [of_text(HOSTILE[::-1])]}
    results = with_sequences(whole(SEPARATED).results(), TEXT, samples)
    return write_report(results, tmp_path_factory.mktemp("report"), pdf=False)


def test_a_text_is_read_as_it_is_and_runs_nothing(text_report):
    page = text_report.html.read_text()
    shown = re.findall(r'<li><code dir="auto">(.*?)</code></li>', page)
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    assert escaped in shown
    assert "\ufffd" * len(HOSTILE) in shown
    assert HOSTILE not in page
    # Two held-out sequences of the first arm, two samples of it, one of the other.
    assert len(shown) == 5
    names = ("Held-out data", "Samples of VAE", "Samples of Glow")
    places = [page.index(f"{name}.</strong>") for name in names]
    assert places == sorted(places)


def test_every_number_of_a_text_is_in_bits_per_character(text_report):
    assert "bits/dim" not in text_report.html.read_text() + text_report.markdown.read_text()
    assert "bits/character" in text_report.markdown.read_text()
    assert "bits/character" in text_report.answer.read_text()
    svg = "".join(path.read_text() for path in text_report.figures)
    assert "bits/dim" not in svg


@pytest.mark.usefixtures("undrawn_here")
def test_sounds_are_players_of_what_was_drawn(finished, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (2, 64))
    report = write_report(with_sequences(finished, SOUND, {"vae": levels.tolist()}), tmp_path, pdf=False)
    page = report.html.read_text()
    found = [base64.b64decode(each) for each in re.findall(r'<audio [^>]*src="data:audio/wav;base64,([^"]+)"', page)]
    assert found == [
        *(to_wav(each[::-1], "mu-law", 8000) for each in levels),
        *(to_wav(each, "mu-law", 8000) for each in levels),
    ]
    assert "media-src data:" in page
    assert "bits/sample" in page
    assert "bits/dim" not in page


@pytest.mark.usefixtures("undrawn_here")
def test_images_are_in_bits_per_dim_and_have_no_sequences(finished, tmp_path):
    page = write_report(finished, tmp_path, pdf=False).html.read_text()
    assert "bits/dim" in page
    assert "<audio" not in page
    assert "passages" not in page.partition("</style>")[2]


def test_a_comparison_of_two_studies_of_a_text_is_in_its_unit(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = dataclasses.replace(finished, dataset={**finished.dataset, **TEXT})
    found = compare(Study(text), Study(text))
    page = write_comparison(found, tmp_path)
    print_comparison(found)
    said = page.read_text() + (tmp_path / "changes.csv").read_text() + capsys.readouterr().out
    assert "bits/dim" not in said
    assert said.count("bits/character") >= 3


def test_a_metric_knows_its_unit_on_any_data():
    assert METRICS["bits_per_dim"].unit_on("bits/character") == "bits/character"
    assert METRICS["code_xz"].unit_on("bits/sample") == "bits/sample"
    assert METRICS["nll_nats"].unit_on("bits/sample") == "nats"
