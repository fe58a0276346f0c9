"""The page of a comparison over data sets, as HTML, Markdown and CSV."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pandas as pd
import pytest

from reports.analysis.data_sets import over_data_sets
from reports.analysis.results import Study
from reports.pages.data_sets import write_data_sets

HOSTILE = '<img src=x onerror=alert(1)>|`"\u202e](x) %{x}'


@pytest.fixture
def studies(study):
    """Studies of as many data sets as asked for, of arms with these names; the first is the best."""

    def make(count, arms=("vae", "glow"), names=None):
        found = []
        for i in range(count):
            levels = {arm: [1.0 + i + 0.1 * j + 0.001 * s for s in range(2)] for j, arm in enumerate(arms)}
            results = study(levels, families=dict.fromkeys(arms, "vae")).results(study_id=f"s-{i}")
            results.dataset.update(name=(names or {}).get(i, f"data{i}"), digest=f"sha256:{i}")
            found.append(Study(results))
        return over_data_sets(found)

    return make


def test_all_of_it_is_written_and_the_same_each_time(studies, tmp_path):
    page = write_data_sets(studies(6), tmp_path)
    assert page == tmp_path / "compare.html"
    written = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert set(written) == {
        *("compare.html", "compare.md", "references.bib", "results.csv", "pairs.csv", "files.json"),
        *(f"figures/ranks-1-ranks.{end}" for end in ("svg", "csv")),
        *(f"figures/profiles-1-likelihood.{end}" for end in ("svg", "csv")),
    }
    write_data_sets(studies(6), tmp_path)
    assert written == {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    cited = written["references.bib"].decode("ascii")
    for key in ("friedman1937use", "nemenyi1963distribution", "demsar2006statistical", "dolan2002benchmarking"):
        assert f"{{{key}," in cited
    results = pd.read_csv(tmp_path / "results.csv")
    assert results.groupby("arm")["rank"].mean().to_dict() == {"vae": 1.0, "glow": 2.0}
    (pair,) = pd.read_csv(tmp_path / "pairs.csv").to_dict("records")
    assert pair["p"] == pair["friedman_p"] == 2 / 2**6
    assert (pair["difference"], pair["critical"]) == (-1, 1)
    profile = pd.read_csv(tmp_path / "figures/profiles-1-likelihood.csv")
    assert profile[profile["label"] == "VAE"]["y"].eq(1).all()
    assert math.isclose(profile[profile["label"] == "glow"]["x"].max(), 10 * 1.04, rel_tol=0.01)


def test_two_data_sets_have_the_table_alone(studies, tmp_path):
    write_data_sets(studies(6), tmp_path)
    text = write_data_sets(studies(2), tmp_path).with_suffix(".md").read_text("utf-8")
    assert "No test over 2 data sets can say which arm is better in general" in text
    assert "Friedman" not in text
    assert "## Ranks" not in text
    assert "## Performance profiles" not in text
    assert "| data0 (8 × 8 × 1, 17 grey levels) |" in text
    # Nothing of an earlier comparison stays.
    assert not (tmp_path / "pairs.csv").exists()
    assert not list((tmp_path / "figures").glob("*"))


def test_no_arms_in_common_still_make_a_page(study, tmp_path):
    found = []
    for i, arm in enumerate(("vae", "glow", "jet")):
        results = study({arm: [2.0]}).results(swept={}, study_id=f"s-{i}")
        results.dataset.update(name=f"data{i}", digest=f"sha256:{i}")
        found.append(Study(results))
    text = write_data_sets(over_data_sets(found), tmp_path).with_suffix(".md").read_text("utf-8")
    assert "**No two arms were measured on all 3 data sets: none are ranked.**" in text
    assert "could not be drawn" not in text


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_names_of_arms_and_data_sets_show_as_text(studies, tmp_path):
    page = write_data_sets(studies(4, arms=(HOSTILE, "ink", "plain"), names={0: HOSTILE, 2: "](x)"}), tmp_path)
    html, text = page.read_text("utf-8"), page.with_suffix(".md").read_text("utf-8")
    assert "could not be drawn" not in html + text
    tags = Tags()
    tags.feed(html)
    assert not any(tag == "img" or "onerror" in attrs for tag, attrs in tags.found)
    assert "\u202e" not in html + text
    assert "<img" not in text
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    # The table of likelihoods: three arms beside the data set.
    assert {line.count("|") for line in rows[:7]} == {5}
