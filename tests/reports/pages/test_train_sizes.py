"""The page of a comparison over numbers of training images, as HTML, Markdown, figures and CSV."""

from __future__ import annotations

import pandas as pd
import pytest

from reports.analysis.results import Study
from reports.analysis.train_sizes import over_train_sizes
from reports.pages.train_sizes import write_train_sizes


@pytest.fixture
def sizes(study):
    """Studies at these numbers of training images, by the mean test bits/dim of their arms."""

    def make(means, seeds=3):
        found = []
        for n, levels in means.items():
            values = {arm: [mean + 0.01 * seed for seed in range(seeds)] for arm, mean in levels.items()}
            results = study(values, measured=True).results(
                study_id=f"s-{n}", swept={arm: [] for arm in levels}, arms={arm: arm for arm in levels}
            )
            results.dataset.update(name="<digits>", digest=str(n), held_out="h", sizes={"train": n})
            found.append(Study(results))
        return over_train_sizes(found)

    return make


CROSSING = {300: {"vae": 2.0, "glow": 2.3}, 1000: {"vae": 1.9, "glow": 1.95}, 2500: {"vae": 1.85, "glow": 1.7}}


def test_all_of_it_is_written_and_the_same_each_time(sizes, tmp_path):
    page = write_train_sizes(sizes(CROSSING), tmp_path)
    assert page == tmp_path / "compare.html"
    written = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert set(written) == {
        *("compare.html", "compare.md", "references.bib", "results.csv", "gains.csv"),
        *(f"figures/train-sizes-1-likelihood.{end}" for end in ("svg", "pdf", "csv")),
    }
    assert written["figures/train-sizes-1-likelihood.pdf"].startswith(b"%PDF")
    write_train_sizes(sizes(CROSSING), tmp_path)
    assert written == {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    results = pd.read_csv(tmp_path / "results.csv")
    assert results[results["is_lowest"]]["arm"].tolist() == ["vae", "vae", "glow"]
    second = results.dropna(subset=["above_lowest"])
    assert second["arm"].tolist() == ["glow", "glow", "vae"]
    assert second["above_lowest"].tolist() == pytest.approx([0.3, 0.05, 0.15])
    gains = pd.read_csv(tmp_path / "gains.csv")
    assert gains["change"].tolist() == pytest.approx([-0.1, -0.05, -0.35, -0.25])
    assert gains["paired"].all()
    text = written["compare.md"].decode("utf-8")
    assert "could not be drawn" not in text
    assert "no independent data sets" in text
    for word in ("Friedman", "verage rank of", "Nemenyi"):
        assert word not in text
    assert "<digits>" not in written["compare.html"].decode("utf-8")


def test_the_figure_has_the_arms_with_their_bands_and_the_distances_of_the_studies(sizes, tmp_path):
    found = sizes(CROSSING)
    write_train_sizes(found, tmp_path)
    numbers = pd.read_csv(tmp_path / "figures" / "train-sizes-1-likelihood.csv")
    above, below = (numbers[numbers["panel"] == panel] for panel in (1, 2))
    means = above[(above["layer"] == "line") & (above["colour"] == "glow")]
    assert means["x"].tolist() == [300, 1000, 2500]
    assert means["y"].tolist() == pytest.approx([2.31, 1.96, 1.71])
    bands = above[above["layer"] == "band"]
    assert set(bands["colour"]) == {"vae", "glow"}
    assert (bands["low"] < bands["high"]).all()
    line, band = (below[below["layer"] == layer] for layer in ("line", "band"))
    assert line["y"].tolist() == pytest.approx([-0.3, -0.05, 0.15])
    assert band["low"].tolist() == pytest.approx(found.difference("glow", "vae")["low"].tolist())


def test_wide_bands_do_not_flatten_the_arms(sizes, tmp_path):
    found = sizes(CROSSING, seeds=2)
    text = write_train_sizes(found, tmp_path).with_suffix(".md").read_text("utf-8")
    assert "end at the edge" not in text
    close = {n: {"vae": 2.0 - i * 1e-4, "glow": 2.0 - i * 2e-4} for i, n in enumerate((300, 1000))}
    text = write_train_sizes(sizes(close, seeds=2), tmp_path).with_suffix(".md").read_text("utf-8")
    assert "Bands that are far wider than the arms lie apart end at the edge." in text


@pytest.mark.parametrize("means", [{300: {"vae": 2.0}, 2500: {"glow": 1.9}}, {300: {"vae": 2.0}}])
def test_nothing_in_common_still_makes_a_page(sizes, tmp_path, means):
    text = write_train_sizes(sizes(means), tmp_path).with_suffix(".md").read_text("utf-8")
    assert "**No arm was measured at two numbers of training images.**" in text
    assert "could not be drawn" not in text


def test_one_arm_has_a_page_of_its_own(sizes, tmp_path):
    one = {n: {"vae": each["vae"]} for n, each in CROSSING.items()}
    text = write_train_sizes(sizes(one), tmp_path).with_suffix(".md").read_text("utf-8")
    assert "**VAE falls from 2.01 bits/dim at 300 training images to 1.86 at 2,500: a change of" in text
    assert "could not be drawn" not in text
    assert "The next one above it" not in text
