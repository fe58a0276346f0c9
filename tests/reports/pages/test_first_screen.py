"""The page answers first, shows real images beside samples, and folds what few readers need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest

from bench.core.results import PICTURES, ImageGrid
from reports.figures import registry
from reports.figures.grammar import Axis, Figure, Panel, Points
from reports.pages.document import Beside, Comparison, Document, Figures, Findings, Fold, Grids, Headline, Section
from reports.pages.study import MOST_BESIDE, MOST_FIGURES, page
from reports.pages.templates import page_as_html, page_as_markdown
from reports.text.table import Table
from tests.reports.conftest import FOUR, FOUR_LEVELS, RANDOM, SEPARATED, png, whole

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def document() -> Document:
    """The page of two arms with all that is measured: it is computed once, as drawing takes seconds."""
    return page(whole(SEPARATED, measured=True).results(settings=RANDOM))


@pytest.fixture(scope="module")
def of_four() -> Document:
    """Likewise of two VAEs and two Glows."""
    return page(whole(FOUR_LEVELS, measured=True, families=FOUR).results())


def section(document, anchor) -> Section:
    return next(each for each in document.sections if each.anchor == anchor)


def outside(blocks) -> Iterator[object]:
    """The blocks that stand open, those side by side included."""
    for block in blocks:
        yield from outside(block.blocks) if isinstance(block, Beside) else [block]


def kinds(document, anchor):
    return [type(block).__name__ for block in outside(section(document, anchor).blocks)]


def test_the_answer_is_a_headline_then_figures_and_findings_then_pictures(document):
    assert kinds(document, "answer") == ["Headline", "Figures", "Findings", "Grids", "Findings", "Fold", "Fold"]
    html = page_as_html(document)
    places = [html.index(text) for text in ('class="headline"', 'class="plot"', 'class="findings"', 'class="grids"')]
    assert places == sorted(places)


def test_a_users_figure_of_the_answer_stands_there_without_a_heading(finished, monkeypatch):
    monkeypatch.setattr(registry, "_FIGURES", {})

    @registry.register_figure("mine", "Heading of mine", section="answer")
    def mine(study):
        return Figure("Mine", [Panel(Axis(), Axis(), [Points([1.0], [2.0])])])

    document = page(finished)
    (beside,) = [block for block in section(document, "answer").blocks if isinstance(block, Beside)]
    assert isinstance(beside.blocks[0], Figures)
    assert beside.blocks[0].figures[0].title == "Mine"
    assert "Heading of mine" not in page_as_html(document)


def test_alarms_come_before_other_findings_of_the_answer(document):
    found = [each for each in outside(section(document, "answer").blocks) if isinstance(each, Findings)]
    loud = [finding.alarm for block in found for finding in block.items]
    assert loud == sorted(loud, reverse=True)
    assert loud[0]
    assert not loud[-1]


def with_real_images(results):
    real = [
        ImageGrid(image.run_id, image.arm, "data", "64 validation images", png(seed=9))
        for image in results.images
        if image.kind == "samples"
    ]
    return [*(image for image in results.images if image.kind != "data"), *real]


@pytest.mark.usefixtures("no_figures")
def test_real_images_stand_once_before_the_samples(study):
    builder = study({"vae": [2.31, 2.33], "glow": [1.97, 1.99]})
    results = builder.results(images=with_real_images(builder.results()))
    (grids,) = [each for each in outside(section(page(results), "answer").blocks) if isinstance(each, Grids)]
    assert [grid.name for grid in grids.grids] == [
        PICTURES.get("data", "data"),
        "Samples of VAE",
        "Samples of Glow",
    ]
    assert all(grid.data_uri for grid in grids.grids)


@pytest.mark.usefixtures("no_figures")
def test_without_real_images_the_samples_stand_alone(finished):
    results_kinds = {image.kind for image in finished.images}
    assert "data" not in results_kinds
    (grids,) = [each for each in outside(section(page(finished), "answer").blocks) if isinstance(each, Grids)]
    assert [grid.name for grid in grids.grids] == ["Samples of VAE", "Samples of Glow"]


def test_every_other_kind_of_picture_is_folded_and_none_is_shown_twice(document):
    folds = section(document, "pictures").blocks
    assert [fold.summary for fold in folds] == [
        title for kind, title in PICTURES.items() if kind not in ("data", "samples")
    ]
    paths = [grid.path for grid in document.grids]
    assert len(paths) == len(set(paths))


def test_further_sentences_stand_below_the_pictures(of_four):
    blocks = section(of_four, "answer").blocks
    kinds = [type(block).__name__ for block in blocks]
    assert kinds == ["Headline", "Beside", "Grids", "Findings", "Fold", "Fold"]
    assert len(blocks[1].blocks[-1].items) == MOST_BESIDE
    assert blocks[3].items


def test_a_study_of_which_nothing_completed_says_why_in_the_open(empty):
    empty.run("vae", "search", "failed", number=0, reason="ValueError: latent_size must be positive")
    html = page_as_html(page(empty.results()))
    assert "ValueError: latent_size must be positive" in standing_open(html)
    assert "Selected configurations" not in html


def test_a_study_without_final_runs_says_that_there_are_no_pictures(study):
    document = page(study({"vae": [], "glow": []}).results())
    assert "The final runs have left no pictures yet." in page_as_html(document)
    assert "pictures" not in [each.anchor for each in document.sections]


def test_cells_of_the_comparison_are_short_and_the_rest_unfolds(document):
    html = page_as_html(document)
    table = html[html.index('<table class="comparison') :]
    table = table[: table.index("</table>")]
    short = standing_open(table)
    for cell in re.findall(r"<td[^>]*>(.*?)</td>", short, re.DOTALL):
        assert not re.search("interval|Monte Carlo|standard error|bound", cell), cell
        assert len(re.sub(r"<small.*?</small>|<[^>]*>", "", cell).strip()) < 30
    row = table[table.index("<summary>Bits/dim") :]
    folded = row[: row.index("</details>")]
    for words in ("VAE: seeds: 95% interval", "images: standard error", "bound: Monte Carlo error", "n = 360", "k=64"):
        assert words in folded
    assert "Mean over images of -log2 P(x) / D" in folded


@pytest.mark.usefixtures("no_figures")
def test_a_row_with_nothing_more_to_say_is_no_disclosure(study):
    builder = study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]})
    for run in [run for run in builder.runs if run["role"] == "final"]:
        builder.measure(run, "quality", "cell_count", 3.0)
        builder.measure(run, "quality", "fold_count", 3.0, n=20)
    html = page_as_html(page(builder.results()))
    assert '<span class="label">cell_count' in html
    assert "<summary>fold_count" in html
    assert not re.search(r"</summary><div class=\"more\">\s*</div>", html)


def test_rows_of_one_label_show_what_tells_them_apart(document):
    heads = re.findall(r"<summary>(Kernel distance.*?)</summary>", page_as_html(document), re.DOTALL)
    assert ["classifier features" in head for head in heads] == [True, False]
    assert ["random features" in head for head in heads] == [False, True]
    assert not any("n = 1,000" in head for head in heads)


@pytest.mark.usefixtures("no_figures")
def test_arms_of_equal_values_keep_their_names(study):
    html = page_as_html(page(study({"vae": [2.3, 2.31], "made": [2.3, 2.31]}, families={"made": "vae"}).results()))
    row = html[html.index("<summary>Bits/dim") :]
    assert row.index("VAE: seeds: 95% interval") < row.index("made: seeds: 95% interval") < row.index("<summary>NLL")


def test_definitions_stand_once_in_the_twin(document):
    markdown = page_as_markdown(document)
    assert markdown.count("- **Kernel distance (KID).**") == 1
    assert "seeds: 95% interval" in markdown


def standing_open(html):
    """The page with no more of what is folded than its summary."""
    innermost = re.compile(r"<details>(?:(?!<details>).)*?</details>", re.DOTALL)
    while innermost.search(html):
        html = innermost.sub(lambda fold: re.findall("<summary.*?</summary>", fold[0], re.DOTALL)[0], html)
    return html


@pytest.mark.parametrize("text", ["Hedges' g", "Holm's p", "Satterthwaite", "scikit-learn's copy", "6704154c0ffee"])
def test_effect_sizes_methods_and_settings_are_folded(document, text):
    html = unescape(page_as_html(document))
    assert text in html
    assert text not in standing_open(html)
    assert "--trials 24 --seed 0" in standing_open(html)


def test_no_more_than_a_few_figures_of_a_kind_stand_open(of_four):
    document = of_four
    for anchor in ("comparison", "trials", "learning"):
        blocks = list(outside(section(document, anchor).blocks))
        assert all(len(block.figures) <= MOST_FIGURES for block in blocks if isinstance(block, Figures))
    trials = section(document, "trials").blocks
    shown = next(block for block in trials if isinstance(block, Figures))
    assert [figure.title.rpartition(" ")[2] for figure in shown.figures] == [
        "latent_size",
        "latent_size",
        "flow_depth",
        "flow_depth",
    ]
    assert any(isinstance(block, Fold) and block.summary.endswith(": 4 more") for block in trials)


def test_all_figures_and_tables_of_folds_reach_the_files(document):
    inside = [block for block in document.all_blocks() if isinstance(block, Figures | Table | Comparison | Headline)]
    assert {type(block) for block in inside} == {Figures, Table, Comparison, Headline}
    assert len(document.figures) == 21


def test_for_how_much_stands_right_after_the_answer(document):
    assert [each.anchor for each in document.sections][:3] == ["answer", "budgets", "comparison"]
    found = kinds(document, "budgets")
    # Sentences, figures, and the values on test; those on validation, ranges and what tuning adds are folded.
    assert found[:6] == ["Items", "Heading", "Paragraph", "Figures", "Fold", "Table"]
    assert set(found[6:]) == {"Fold"}
    summaries = [block.summary for block in section(document, "budgets").blocks if isinstance(block, Fold)]
    assert "The same on validation" in summaries
    assert "Validation with tuning, and by operations and energy" in summaries
    assert "Which arm is the lowest, range by range" in summaries
    assert "Where two arms cross" not in summaries  # they do not


@pytest.mark.usefixtures("no_figures")
def test_without_values_on_test_those_on_validation_stand_open(finished):
    document = page(finished)
    tables = [block for block in section(document, "budgets").blocks if isinstance(block, Table)]
    assert [table.caption.split(":")[0] for table in tables] == ["Validation bits/dim at each budget"]


def test_a_users_figure_of_budgets_needs_no_learning_curve(empty, monkeypatch):
    assert "budgets" not in [each.anchor for each in page(empty.results()).sections]
    monkeypatch.setattr(registry, "_FIGURES", {})

    @registry.register_figure("mine", "Heading of mine", section="budgets")
    def mine(study):
        return Figure("Mine", [Panel(Axis(), Axis(), [Points([1.0], [2.0])])])

    assert kinds(page(empty.results()), "budgets") == ["Heading", "Figures"]


@pytest.mark.usefixtures("no_figures")
def test_repeated_attempts_are_named_below_the_counts(study):
    builder = study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]})
    whole = next(run for run in builder.runs if run["role"] == "search")
    builder.runs.append({**whole, "run_id": "stopped", "state": "interrupted"})
    whole["attempt"] = 2
    html = page_as_html(page(builder.results()))
    assert "Not counted: 1 interrupted attempt, repeated or continued by the runs counted here." in html
    assert "Not counted" not in page_as_html(page(study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]}).results()))
