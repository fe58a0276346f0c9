"""The page of a comparison over numbers of training images, as HTML, Markdown, figures and CSV."""

from __future__ import annotations

import pandas as pd
import pytest

from reports.analysis.results import Study
from reports.analysis.train_sizes import over_train_sizes
from reports.figures.grammar import Band, Line
from reports.figures.train_sizes import likelihoods
from reports.pages.document import Headline
from reports.pages.train_sizes import page, write_train_sizes
from reports.text import train_sizes as text

WHOLE = 2500


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
            chosen = {"name": f"<digits>-{n}", "chosen_from": WHOLE} if n < WHOLE else {"name": "<digits>"}
            results.dataset.update(digest=str(n), held_out="h", sizes={"train": n}, **chosen)
            found.append(Study(results))
        return over_train_sizes(found)

    return make


def test_the_pdf_of_a_text_is_in_its_unit(sizes, monkeypatch):
    import reports.pages.train_sizes as module

    drawn = []
    monkeypatch.setattr(module, "draw_each", lambda name, title, made, styles, pdf: drawn.extend(made()) or [])
    found = sizes(CROSSING)
    for study in found.studies.values():
        study.results.dataset["encoding"] = "characters"
    page(found)
    assert "bits/character" in str(drawn)
    assert "bits/dim" not in str(drawn)


CROSSING = {300: {"vae": 2.0, "glow": 2.3}, 1000: {"vae": 1.9, "glow": 1.95}, WHOLE: {"vae": 1.85, "glow": 1.7}}


def test_all_of_it_is_written_and_the_same_each_time(sizes, tmp_path):
    path = write_train_sizes(sizes(CROSSING), tmp_path)
    assert path == tmp_path / "compare.html"
    written = {each.relative_to(tmp_path).as_posix(): each.read_bytes() for each in tmp_path.rglob("*.*")}
    assert set(written) == {
        *("compare.html", "compare.md", "references.bib", "results.csv", "gains.csv", "files.json"),
        *(f"figures/train-sizes-1-likelihood.{end}" for end in ("svg", "pdf", "csv")),
    }
    assert written["figures/train-sizes-1-likelihood.pdf"].startswith(b"%PDF")
    write_train_sizes(sizes(CROSSING), tmp_path)
    assert written == {each.relative_to(tmp_path).as_posix(): each.read_bytes() for each in tmp_path.rglob("*.*")}
    results = pd.read_csv(tmp_path / "results.csv")
    assert results[results["is_lowest"]]["arm"].tolist() == ["vae", "vae", "glow"]
    second = results.dropna(subset=["above_lowest"])
    assert second["arm"].tolist() == ["glow", "glow", "vae"]
    assert second["above_lowest"].tolist() == pytest.approx([0.3, 0.05, 0.15])
    gains = pd.read_csv(tmp_path / "gains.csv")
    assert gains["change"].tolist() == pytest.approx([-0.1, -0.05, -0.35, -0.25])
    assert gains["paired"].all()
    markdown = written["compare.md"].decode("utf-8")
    assert "could not be drawn" not in markdown
    assert "no independent data sets" in markdown
    for word in ("Friedman", "verage rank of", "Nemenyi"):
        assert word not in markdown
    assert "of &lt;digits&gt;: 300, 1,000 and 2,500" in markdown
    html = written["compare.html"].decode("utf-8")
    assert "<digits>" not in html
    assert "&lt;digits&gt; by number of training images" in html
    assert "&lt;digits&gt;-300" not in html


def of_kind(panel, kind):
    return [layer for layer in panel.layers if isinstance(layer, kind)]


def test_the_figure_has_the_arms_with_their_bands_and_the_distances_of_the_studies(sizes):
    found = sizes(CROSSING)
    figure = likelihoods(found)
    above, below = figure.panels
    (means,) = [line for line in of_kind(above, Line) if line.colour == "glow"]
    assert list(means.x) == [300, 1000, WHOLE]
    assert list(means.y) == pytest.approx([2.31, 1.96, 1.71])
    bands = of_kind(above, Band)
    assert {band.colour for band in bands} == {"vae", "glow"}
    assert all((band.low < band.high).all() for band in bands)
    (line,), (band,) = of_kind(below, Line), of_kind(below, Band)
    assert list(line.y) == pytest.approx([-0.3, -0.05, 0.15])
    assert list(band.low) == pytest.approx(found.difference("glow", "vae")["low"].tolist())
    assert "how far the other one lies above Glow, the lowest at 2,500 images, with" in figure.caption


def test_the_figure_says_of_which_arms_it_shows_the_distances_and_where_they_are_measured(sizes):
    means = {n: {f"a{i}": 2.0 + i / 10 for i in range(5)} for n in (300, 1000)}
    few = {WHOLE: {"a0": 1.9}}
    caption = likelihoods(sizes(means | few)).caption
    assert "Below: how far the nearest 3 lie above a0, the lowest at 1,000 images, with" in caption
    three = {n: {arm: mean for arm, mean in levels.items() if arm in ("a0", "a1", "a2")} for n, levels in means.items()}
    caption = likelihoods(sizes(three)).caption
    assert "Below: how far the others lie above a0, the lowest at 1,000 images, with" in caption


def test_wide_bands_do_not_flatten_the_arms(sizes):
    assert "end at the edge" not in likelihoods(sizes(CROSSING, seeds=2)).caption
    close = {n: {"vae": 2.0 - i * 1e-4, "glow": 2.0 - i * 2e-4} for i, n in enumerate((300, 1000))}
    caption = likelihoods(sizes(close, seeds=2)).caption
    assert "Bands that are far wider than the arms lie apart end at the edge." in caption


@pytest.mark.parametrize("means", [{300: {"vae": 2.0}, WHOLE: {"glow": 1.9}}, {300: {"vae": 2.0}}])
def test_nothing_in_common_still_makes_a_page(sizes, means):
    found = sizes(means)
    assert likelihoods(found) is None
    headlines = [block.text for block in page(found).all_blocks() if isinstance(block, Headline)]
    assert headlines == ["No arm was measured at two numbers of training images."]


def test_one_arm_has_a_figure_and_words_of_its_own(sizes):
    found = sizes({n: {"vae": each["vae"]} for n, each in CROSSING.items()})
    said = text.headline(found).replace("\u00a0", " ")
    assert said.startswith("VAE falls from 2.01 bits/dim at 300 training images to 1.86 at 2,500: a change of")
    assert text.likelihoods(found).columns == ["Training images", "VAE"]
    assert len(likelihoods(found).panels) == 1
