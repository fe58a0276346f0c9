"""Reference codes in the report: beside the arms and never among them, in table, figures and answer alike."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bench.core.results import REFERENCE_CODES, REFERENCE_MODEL, Measurement, ReferenceCodes
from reports.analysis.comparison import compare
from reports.analysis.reference_codes import best_code, reference_codes, reference_model
from reports.analysis.results import Study
from reports.figures import matplotlib as static
from reports.figures import plotly as interactive
from reports.figures.answer import answer as answer_figure
from reports.figures.grammar import Axis, Figure, Panel, Points, Rule
from reports.figures.scales import rule_labels, scales
from reports.figures.styles import arm_styles
from reports.figures.trade_offs import trade_offs
from reports.pages.comparison import write_comparison
from reports.pages.study import page
from reports.pages.templates import page_as_html, page_as_markdown
from reports.pages.write import write_report
from reports.text import comparison_tables, state_tables
from reports.text.answer import answer


def code(name, value, error=0.01, n=360, conditions=""):
    return Measurement(REFERENCE_CODES, f"code_{name}", value, error, n, conditions=conditions)


CODES = ReferenceCodes(
    [
        code("uniform", 4.0875, 0.0),
        code("pixel_histogram", 2.4369),
        code("webp", 4.78, n=100, conditions="on 100 of the 360 test images"),
        code("png", math.nan),
        code("xz", 2.8388, None),
    ],
    {"code_jpeg_xl": "imagecodecs is not installed: pip install -e '.[codecs]'"},
)


def pixelcnn(value, error=0.01, seconds=130.0):
    """What the reference model logs."""
    cost = {"parameters": 47936, "training_seconds": seconds, "training_images": 76800}
    return [
        Measurement(REFERENCE_MODEL, "code_pixelcnn", value, error, 360),
        *(Measurement(REFERENCE_MODEL, name, each) for name, each in cost.items()),
    ]


LABEL = "PixelCNN, 47.9\u00a0k weights, 2.17\u00a0min"


TITLE = "Reference codes, bits/dim of the same test images: of no arm"


def codes(*measured):
    return ReferenceCodes([code(*each) for each in measured])


@pytest.fixture
def with_codes(study):
    """Glow at 1.97, the VAE at 2.31, and codes."""
    builder = study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}, measured=True)
    return builder.results(reference_codes=CODES)


def test_the_lowest_comes_first_and_what_is_not_finite_is_left_out(with_codes):
    known = reference_codes(Study(with_codes))
    assert [each.label for each in known] == ["Each pixel's own histogram", "xz", "Uniform", "WebP lossless"]
    best = best_code(Study(with_codes))
    assert (best.name, best.value, best.error, best.n) == ("code_pixel_histogram", 2.4369, 0.01, 360)


@pytest.mark.usefixtures("undrawn_here")
def test_a_study_without_codes_says_nothing_of_them(finished):
    known = Study(finished)
    assert reference_codes(known) == []
    assert best_code(known) is None
    shown = page(finished)
    text = page_as_html(shown) + page_as_markdown(shown) + answer(known).headline
    assert "eference code" not in text.replace("Reference codes</dt>", "").replace("**Reference codes.**", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            CODES,
            "Glow's 1.97 bits/dim are 19% less than the shortest of the reference codes takes: each pixel's own "
            "histogram, at 2.44.",
        ),
        (
            codes(("xz", 1.5, None, 100, "on 100 of the 360 test images")),
            "Glow's 1.97 bits/dim are 32% more than the shortest of the reference codes takes: xz, at 1.50 on 100 of "
            "the 360 test images.",
        ),
        (codes(("png", 1.98)), "Glow's 1.97 bits/dim are, within noise, what the shortest of the reference codes "
         "takes: PNG, at 1.98."),
        (codes(("xz", 1.9735, None)), "Glow's 1.97 bits/dim are, within noise, what the shortest of the reference "
         "codes takes: xz, at 1.97."),
        (codes(("xz", 2000.0)), "Glow's 1.97 bits/dim are 99.9% less than the shortest of the reference codes takes: "
         "xz, at 2.00\u00a0k."),
        (codes(), ""),
    ],
)  # fmt: skip
def test_the_answer_sets_the_best_arm_beside_the_best_code_where_that_is_true(study, given, said):
    builder = study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]})
    found = answer(Study(builder.results(reference_codes=given)))
    sentences = [each for each in found.details if "reference code" in each]
    assert sentences == ([said] if said else [])


def test_the_answer_of_one_arm_and_of_the_only_one_measured_have_it_too(study):
    swept = {"vae": ["latent_size", "learning_rate"]}
    alone = answer(Study(study({"vae": [2.31]}).results(swept=swept, reference_codes=CODES)))
    only = answer(Study(study({"vae": [2.31], "glow": []}).results(reference_codes=CODES)))
    for found in (alone, only):
        assert sum("VAE's 2.31 bits/dim are 5" in each for each in found.first) == 1


def test_arms_in_another_unit_are_not_set_beside_codes(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    for row in builder.measurements:
        if row["family"] == "vae" and row["metric"] == "bits_per_dim":
            row["unit"] = "nats/dim"
    found = answer(Study(builder.results(reference_codes=CODES)))
    assert not any("reference code" in each for each in found.details)


def test_the_table_has_their_rows_below_the_likelihood_across_all_arms(with_codes):
    groups = dict(comparison_tables.comparison(Study(with_codes)))
    names = list(groups)
    assert names.index(TITLE) == names.index("Likelihood") + 1
    rows = groups[TITLE]
    assert [(row.label, row.cells[0].text) for row in rows] == [
        ("Each pixel's own histogram", "2.437 ± 0.010".replace("± ", "±\u00a0")),
        ("xz", "2.84"),
        ("Uniform", "4.09"),
        ("WebP lossless", "4.780 ± 0.010".replace("± ", "±\u00a0")),
    ]
    assert all(row.across and len(row.cells) == 1 for row in rows)
    assert not any(row.across for title, rows in groups.items() if title != TITLE for row in rows)
    assert rows[-1].notes == ["on 100 of the 360 test images", "n = 100"]
    unavailable = [[cell.text for cell in row] for row in state_tables.unavailable(Study(with_codes)).rows]
    assert ["Reference code", "JPEG XL", CODES.unavailable["code_jpeg_xl"], "–"] in unavailable


@pytest.mark.usefixtures("no_figures")
def test_page_and_markdown_show_them_as_no_arms(with_codes):
    shown = page(with_codes)
    html, text = page_as_html(shown), page_as_markdown(shown)
    assert html.count('<td role="cell" class="across" colspan="2"') == 4
    assert f"**{TITLE}**" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| WebP lossless")]
    label, unit, better, *arms = [cell.strip() for cell in row.strip("|").split("|")]
    assert label.startswith("WebP lossless: 4.780 ± 0.010 (on 100 of the 360 test images; n = 100)")
    assert (unit, better, arms) == ("", "↓ lower is better", ["", ""])
    assert "- **WebP lossless.** Each image a lossless WebP file" in text


@pytest.mark.usefixtures("no_figures")
def test_their_numbers_lie_beside_the_page(with_codes, tmp_path):
    write_report(with_codes, tmp_path)
    lines = (tmp_path / "tables" / "reference_codes.csv").read_text().splitlines()
    assert lines[0] == "code,label,bits_per_dim,standard_error,images,conditions"
    assert lines[1] == "code_pixel_histogram,Each pixel's own histogram,2.4369,0.01,360,"
    assert len(lines) == 5
    assert "tables/reference\\_codes.csv" in (tmp_path / "report.md").read_text()


def rows(panel):
    """The names on the vertical axis, from the top, and by name the layers in that row."""
    layers = [layer for layer in panel.layers if not isinstance(layer, Rule)]
    return {name: [layer for layer in layers if place in list(layer.y)] for place, name in sorted(panel.y.ticks)[::-1]}


def test_the_answer_s_figure_has_them_in_rows_of_their_own_and_a_line_at_the_best(with_codes):
    figure = answer_figure(Study(with_codes))
    panel = figure.panels[0]
    assert list(rows(panel)) == ["Glow", "VAE", "code: histogram", "code: xz"]
    (line,) = [layer for layer in panel.layers if isinstance(layer, Rule)]
    assert (line.at, line.across, line.label) == (2.4369, "x", "Each pixel's own histogram")
    (marks,) = rows(panel)["code: xz"]
    assert (marks.label, marks.colour, list(marks.x)) == ("reference code", "ink", [2.4369, 2.8388])
    assert (
        "Strokes named “code”: reference codes, of no arm; dotted: the shortest code, each pixel's own"
        in figure.caption
    )
    # Drawn, they would leave the arms no room.
    assert "Reference codes beyond this scale: Uniform at 4.09 and WebP lossless at 4.78." in figure.caption


def test_codes_that_would_leave_the_arms_no_room_are_named_alone(study):
    builder = study({"vae": [2.31]})
    known = Study(builder.results(swept={"vae": ["latent_size"]}, reference_codes=codes(("uniform", 8.0))))
    figure = answer_figure(known)
    assert list(rows(figure.panels[0])) == ["VAE"]
    assert not [layer for layer in figure.panels[0].layers if isinstance(layer, Rule)]
    assert "Uniform at 8.00" in figure.caption


def test_the_shortest_code_is_shown_where_it_leaves_the_arms_some_room(study):
    builder = study({"vae": [2.31]})
    far = codes(("xz", 5.0), ("uniform", 5.1))
    panel = answer_figure(Study(builder.results(swept={"vae": ["latent_size"]}, reference_codes=far))).panels[0]
    assert list(rows(panel)) == ["VAE", "code: xz"]


def test_lines_with_labels_stand_where_the_scale_of_a_test_likelihood_reaches_them(study):
    builder = study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}, measured=True)
    near = codes(("png", 2.4), ("webp", 2.41), ("uniform", 8.0))
    for place, run in enumerate(
        [run for run in builder.runs if run["role"] == "search" and run["state"] == "complete"]
    ):
        builder.measure(run, "cost", "training_seconds", 5.0 + place)
    known = Study(builder.results(reference_codes=near))
    of_test = [each for each in trade_offs(known) if each.title.startswith("Test")]
    assert of_test
    for figure in of_test:
        (panel,) = figure.panels
        lines = {layer.label: layer for layer in panel.layers if isinstance(layer, Rule)}
        assert set(lines) == {"PNG", "WebP lossless"}
        assert all((each.across, each.written) == ("y", True) for each in lines.values())
        assert panel.y.limits[0] < 1.96 < 2.41 < panel.y.limits[1] < 4
        assert "Reference codes beyond this scale: Uniform at 8.00." in figure.caption
    of_validation = [each for each in trade_offs(known) if each.title.startswith("Validation")]
    assert of_validation
    assert not any(isinstance(layer, Rule) for each in of_validation for layer in each.panels[0].layers)


LINES = [
    Points([1.0, 2.0], [1.0, 3.0]),
    *(Rule(at, label=f"at {at:g}", across="y", written=True) for at in (2, 2.01, 3, 9)),
]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_both_renderers_write_the_same_labels_which_never_touch(scale):
    figure = Figure("f", [Panel(Axis("x"), Axis("y", limits=(0.5, 4.0), scale=scale), LINES)])
    ((_, y),) = scales(figure)
    found = rule_labels(figure.panels[0], y)
    assert found == [(2.01, "at 2, at 2.01"), (3.0, "at 3")]
    with static.mpl.rc_context(static.STYLE):
        (axes,) = static.canvas_of(figure, {}).axes
    texts = [(text.get_position()[1], text.get_text()) for text in axes.texts]
    assert texts == found
    notes = json.loads(interactive.draw(figure, {}))["layout"]["annotations"]
    places = [(10 ** each["y"] if scale == "log" else each["y"], each["text"]) for each in notes]
    assert [text for _, text in places] == [text for _, text in found]
    assert [place for place, _ in places] == pytest.approx([place for place, _ in found])
    assert {(each["xref"], each["yref"], each["xanchor"]) for each in notes} == {("x domain", "y", "right")}


def test_a_label_can_be_written_at_lines_across_the_vertical_axis_alone():
    with pytest.raises(ValueError, match="across='y'"):
        Rule(1.0, label="one", across="x", written=True)
    with pytest.raises(ValueError, match="label"):
        Rule(1.0, across="y", written=True)


def test_every_figure_with_codes_can_be_drawn(with_codes):
    styles = arm_styles(Study(with_codes).families)
    for figure in (answer_figure(Study(with_codes)), *trade_offs(Study(with_codes))):
        assert json.loads(interactive.draw(figure, styles))["data"]
        assert ("code: xz" in static.draw(figure, styles)) == (figure.title == "Test bits/dim of each arm")


def test_compare_shows_them_once(with_codes, finished, tmp_path):
    text = write_comparison(compare(Study(finished), Study(with_codes)), tmp_path).read_text()
    assert "### Reference codes: of no arm, on the same test images" in text
    assert "| WebP lossless | 4.780 ± 0.010 | on 100 of the 360 test images, n = 100 |" in text
    assert "Reference" not in write_comparison(compare(Study(finished), Study(finished)), tmp_path).read_text()


def test_names_of_codes_of_a_later_version_are_shown_as_they_are(study):
    later = ReferenceCodes([Measurement(REFERENCE_CODES, "code_of_2031", 1.0, np.nan, None)], {})
    (known,) = reference_codes(Study(study({"vae": [2.3]}).results(reference_codes=later)))
    assert (known.label, known.n, math.isnan(known.error)) == ("code_of_2031", None, True)


@pytest.fixture
def with_model(with_codes):
    """The same, and a PixelCNN at 1.80."""
    measured = [*with_codes.reference_codes.measured, *pixelcnn(1.8)]
    return replace(with_codes, reference_codes=replace(with_codes.reference_codes, measured=measured))


def test_the_reference_model_is_a_code_that_says_what_it_cost_and_never_the_shortest_that_needs_no_training(with_model):
    known = Study(with_model)
    assert [each.label for each in reference_codes(known)][:2] == [LABEL, "Each pixel's own histogram"]
    model = reference_model(known)
    assert (model.value, model.error, model.n, model.is_model) == (1.8, 0.01, 360, True)
    assert model.notes == ["after 76.8\u00a0k training images", "n = 360"]
    assert best_code(known).label == "Each pixel's own histogram"


def test_of_which_test_images_a_model_was_measured_on_its_row_says(study):
    bits, *cost = pixelcnn(1.8)
    some = replace(bits, conditions="on 360 of the 900 test images")
    model = reference_model(Study(study({"vae": [2.3]}).results(reference_codes=ReferenceCodes([some, *cost]))))
    assert model.conditions == "after 76.8\u00a0k training images, on 360 of the 900 test images"


def test_without_it_there_is_none(with_codes):
    assert reference_model(Study(with_codes)) is None


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (
            [code("xz", 2.4), *pixelcnn(1.8)],
            "Glow's 1.97 bits/dim are 18% less than the shortest of the reference codes takes: xz, at 2.40; and 10% "
            f"more than a small exact model obtains: {LABEL}, at 1.80 after 76.8\u00a0k training images.",
        ),
        (
            [code("xz", 2.4), *pixelcnn(1.975)],
            "Glow's 1.97 bits/dim are 18% less than the shortest of the reference codes takes: xz, at 2.40; and, "
            f"within noise, what a small exact model obtains: {LABEL}, at 1.98 after 76.8\u00a0k training images.",
        ),
        (
            pixelcnn(1.8, seconds=4.0),
            "Glow's 1.97 bits/dim are 10% more than a small exact model obtains: PixelCNN, 47.9\u00a0k weights, "
            "4.00\u00a0s, at 1.80 after 76.8\u00a0k training images.",
        ),
    ],
)
def test_the_answer_sets_the_best_arm_beside_the_reference_model_too(study, measured, said):
    builder = study({"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]})
    found = answer(Study(builder.results(reference_codes=ReferenceCodes(measured))))
    assert [each for each in found.details if "small exact model" in each] == [said]


def test_the_reference_model_changes_no_verdict_no_ranking_and_no_selection(with_codes, with_model):
    before, after = (answer(Study(each)) for each in (with_codes, with_model))
    assert after.headline == before.headline
    assert after.alarms == before.alarms
    assert after.outlook == before.outlook
    assert [each for each in after.details if "PixelCNN" not in each] == [
        each for each in before.details if "reference code" not in each
    ]
    titles = [[figure.title for figure in trade_offs(Study(each))] for each in (with_codes, with_model)]
    assert titles[0] == titles[1]


@pytest.mark.usefixtures("no_figures")
def test_the_reference_model_has_a_row_with_a_definition_and_lies_beside_the_page(with_model, tmp_path):
    row = dict(comparison_tables.comparison(Study(with_model)))[
        "Reference codes and reference model, bits/dim of the same test images: of no arm"
    ][0]
    assert (row.label, row.cells[0].text) == (LABEL, "1.800 ±\u00a00.010")
    assert "exact" in row.definition
    assert "It is no arm" in row.definition
    written = write_report(with_model, tmp_path)
    (line,) = [
        line
        for line in (tmp_path / "tables" / "reference_codes.csv").read_text().splitlines()
        if line.startswith("code_pixelcnn")
    ]
    assert "1.8,0.01,360,after 76.8" in line
    for text in (written.html.read_text("utf-8"), written.markdown.read_text("utf-8")):
        assert "a small exact model obtains" in text
        assert "47.9" in text


def test_a_reason_why_there_is_none_stands_among_what_could_not_be_measured(with_codes):
    reasons = replace(with_codes.reference_codes, unavailable={"code_pixelcnn": "training loss became nan at step 3"})
    found = state_tables.unavailable(Study(replace(with_codes, reference_codes=reasons))).rows
    assert ["Reference code", "PixelCNN", "training loss became nan at step 3", "–"] in [
        [cell.text for cell in row] for row in found
    ]


def test_the_answer_s_figure_has_lines_at_the_shortest_code_and_at_the_reference_model(with_model):
    figure = answer_figure(Study(with_model))
    panel = figure.panels[0]
    assert list(rows(panel)) == ["Glow", "VAE", "model: PixelCNN", "code: histogram", "code: xz"]
    lines = {layer.label: layer.at for layer in panel.layers if isinstance(layer, Rule)}
    assert lines == {"Each pixel's own histogram": 2.4369, LABEL: 1.8}
    said = f"dotted: the shortest code, each pixel's own histogram; dash-dotted: a small exact model, {LABEL}."
    dashes = {layer.label: layer.dash for layer in panel.layers if isinstance(layer, Rule)}
    assert dashes == {"Each pixel's own histogram": "dotted", LABEL: "dashdot"}
    assert f"Strokes named “code” and “model”: reference codes and reference model, of no arm; {said}" in figure.caption
    drawn = (static.draw(figure, arm_styles(Study(with_model).families)), interactive.draw(figure, {}))
    for text in drawn:
        assert "PixelCNN" in text


def test_a_reference_model_far_above_the_arms_is_drawn_while_it_leaves_them_room(study):
    swept = {"vae": ["latent_size"]}
    for value, rows_of in ((6.0, ["VAE", "model: PixelCNN"]), (9.0, ["VAE"])):
        known = Study(study({"vae": [2.31]}).results(swept=swept, reference_codes=ReferenceCodes(pixelcnn(value))))
        figure = answer_figure(known)
        assert list(rows(figure.panels[0])) == rows_of
        assert ("Reference model beyond this scale: PixelCNN" in figure.caption) == (value == 9.0)
        assert ("Strokes" in figure.caption) == (value == 6.0)


def test_the_reference_model_is_a_line_with_a_label_in_the_likelihood_figures(with_model):
    of_test = [each for each in trade_offs(Study(with_model)) if each.title.startswith("Test")]
    assert of_test
    for figure in of_test:
        lines = {layer.label: layer for layer in figure.panels[0].layers if isinstance(layer, Rule)}
        assert "Dotted: reference codes; dash-dotted: reference model, of no arm." in figure.caption
        assert {label: line.dash for label, line in lines.items()} == dict.fromkeys(lines, "dotted") | {
            LABEL: "dashdot"
        }
        assert lines[LABEL].written
        assert lines[LABEL].at == 1.8


def test_compare_shows_the_reference_model(with_model, finished, tmp_path):
    text = write_comparison(compare(Study(finished), Study(with_model)), tmp_path).read_text()
    assert "### Reference codes and reference model: of no arm, on the same test images" in text
    assert "| PixelCNN, 47.9 k weights, 2.17 min | 1.800 ± 0.010 | after 76.8 k training images, n = 360 |" in text


def test_a_model_whose_cost_somebody_removed_is_shown_without_it(study):
    kept = ReferenceCodes(pixelcnn(1.8)[:1])
    model = reference_model(Study(study({"vae": [2.3]}).results(reference_codes=kept)))
    assert model.label == "PixelCNN, – weights, –"
