"""The report of a real study with failures in it, as a browser shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.browser.conftest import watching

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright: pip install -e '.[dev]'")

ROOT = Path(__file__).parents[2]
OPTIONS = "--trials 5 --seeds 2 --images 256 --batch-size 32 --evaluation-images 32 --importance-samples 4"


@pytest.fixture(scope="session")
def report(browser, tmp_path_factory, keep_classifier) -> Path:
    """The HTML page of the study."""
    from bench.data.bundled import load_digits

    output = tmp_path_factory.mktemp("study")
    keep_classifier(load_digits().tuning, output)
    script = str(Path(__file__).with_name("study_with_failures.py"))
    command = [sys.executable, script, *OPTIONS.split(), "--pruner", "none"]
    command += ["--selection-samples", "2", "--no-reference-model"]
    command += ["--backend", os.environ["KERAS_BACKEND"], "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (page,) = (output / "reports").glob("*/report.html")
    return page


@pytest.fixture
def opened(watch, report):
    """Open the report with options of playwright's ``new_context``."""

    def open_it(**options):
        watched = watch(**options)
        watched.page.goto(report.as_uri())
        return watched

    return open_it


def seen(more):
    """Whether what a row unfolds is to be seen: what a closed disclosure holds has a place and is not painted."""
    return more.evaluate(
        "each => each.checkVisibility({contentVisibilityAuto: true}) && each.getBoundingClientRect().height > 0"
    )


def below(row, what):
    """How far below the upper end of a row its elements begin and end, at one moment of a page that scrolls."""
    return row.evaluate(
        """(row, what) => [...row.querySelectorAll(what)].map(each => {
          const box = each.getBoundingClientRect(), start = box.top - row.getBoundingClientRect().top;
          return [start, start + box.height];
        })""",
        what,
    )


def open_details(summary):
    """Unfold by the keyboard: a figure that is drawn between a mouse's press and its release moves the page."""
    summary.press("Enter")
    sync_api.expect(summary.locator("..")).to_have_attribute("open", "")


def unfold(page):
    """Open all that is folded, the outer before the inner, as a reader without scripts would."""
    for summary in page.locator("details > summary").all():
        open_details(summary)


def all_trials(page):
    """The folded table of the first arm's trials."""
    return page.locator("#trials details", has_text="All trials of").first


def scroll_through(page):
    """Unfold all and bring each figure into view, as it is then that it is drawn, and wait until it is."""
    unfold(page)
    for figure in page.locator("figure.plot:has(> script)").all():
        figure.scroll_into_view_if_needed()
        sync_api.expect(figure).to_contain_class("drawn", timeout=30_000)


@pytest.fixture(scope="module")
def whole(browser, report):
    """The report with all unfolded and every figure drawn, in light colours."""
    with watching(browser) as watch:
        watched = watch(viewport={"width": 1280, "height": 900}, color_scheme="light")
        watched.page.goto(report.as_uri())
        scroll_through(watched.page)
        yield watched


def test_every_figure_is_drawn_without_an_error(whole):
    page = whole.page
    closer = page.locator("figure.plot:has(> script)")
    assert closer.count() == page.locator("figure.plot").count() >= 9
    for figure in closer.all():
        assert figure.locator(".main-svg").first.bounding_box()["width"] > 200
        assert figure.locator(".scatterlayer path, .barlayer path").count() > 0
        assert not figure.locator(".still").is_visible()
    assert whole.problems == []


@pytest.fixture(scope="module")
def untouched(browser, report):
    """The report as it opens: nobody scrolls or unfolds, and each test sets the size of its window."""
    with watching(browser) as watch:
        page = watch().page
        page.goto(report.as_uri())
        yield page


def test_failures_are_shown(untouched):
    text = untouched.locator("#trials").inner_text()
    assert "diverged" in text
    assert "× " in text


def test_a_table_sorts_by_its_head(opened):
    watched = opened()
    page = watched.page
    open_details(all_trials(page).locator("summary"))
    table = all_trials(page).locator("table.sortable")
    head = table.get_by_role("columnheader", name="Trial")

    def numbers():
        return [int(text) for text in table.locator("tbody th button").all_inner_texts()]

    head.get_by_role("button").click()
    assert numbers() == sorted(numbers()) == [0, 1, 2, 3, 4]
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert numbers() == [4, 3, 2, 1, 0]
    assert head.get_attribute("aria-sort") == "descending"
    assert watched.problems == []


def test_a_trial_is_selected_by_its_mark_or_by_the_keyboard(opened):
    watched = opened(viewport={"width": 1280, "height": 900})
    page = watched.page
    figure = page.locator("#trials figure.plot:has(> script)").first
    figure.scroll_into_view_if_needed()
    figure.locator(".scatterlayer .point").first.wait_for()
    chosen = page.locator("#chosen")
    assert not chosen.is_visible()
    figure.locator(".scatterlayer .point").first.click(force=True)
    assert chosen.is_visible()
    assert "learning_rate" in chosen.inner_text()
    assert chosen.get_by_role("link").count() == 1
    chosen.get_by_role("button", name="Close").click()
    assert not chosen.is_visible()
    open_details(all_trials(page).locator("summary"))
    all_trials(page).locator("tbody button").first.focus()
    page.keyboard.press("Enter")
    assert chosen.is_visible()
    assert chosen.locator("img").evaluate("image => image.naturalWidth") > 0
    assert watched.problems == []


@pytest.mark.parametrize("width", [390, *(pytest.param(width, marks=pytest.mark.slow) for width in (768, 1600))])
def test_no_width_scrolls_sideways(opened, width):
    page = opened(viewport={"width": width, "height": 844}).page
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def violations(axe, page):
    """What axe finds in the page with a trial selected."""
    all_trials(page).locator("tbody button").first.click()
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in axe(page)]


def test_axe_finds_no_violation(whole, axe):
    assert violations(axe, whole.page) == []


@pytest.mark.slow
def test_axe_finds_no_violation_in_dark_colours(opened, axe):
    page = opened(color_scheme="dark").page
    scroll_through(page)
    assert violations(axe, page) == []


def test_the_page_is_whole_without_scripts(opened):
    page = opened(java_script_enabled=False).page
    unfold(page)
    for figure in page.locator("figure.plot .still svg").all():
        assert figure.is_visible()
    assert page.locator("#answer .headline").inner_text()
    assert "Monte Carlo error" in page.locator(".comparison").inner_text()
    assert not page.locator("#chosen").is_visible()


@pytest.mark.parametrize(("width", "most"), [(1280, 11_200), (390, 15_600)])
def test_a_page_is_short_and_answers_first(untouched, width, most):
    """Measured at 7,700 and 11,000 pixels; with all unfolded it is more than twice as tall."""
    page = untouched
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollHeight") < most
    assert page.locator("#answer .headline").bounding_box()["y"] < 300
    assert page.locator("#answer figure.plot").first.bounding_box()["y"] < 600
    pictures = page.locator("#answer .grids img")
    assert pictures.first.bounding_box()["width"] >= 300
    assert pictures.count() >= 2


def test_a_row_of_the_comparison_unfolds_by_keyboard_over_its_full_width(opened):
    page = opened(viewport={"width": 390, "height": 844}).page
    row = page.locator(".comparison tr:has(summary)", has_text="Bits/dim").first
    more = row.locator("details > .more")
    assert not seen(more)
    width, values = row.bounding_box()["width"], below(row, "td")
    row.locator("summary").focus()
    page.keyboard.press("Enter")
    assert seen(more)
    assert "Monte Carlo error" in more.inner_text()
    assert more.bounding_box()["width"] == row.bounding_box()["width"] == width
    assert np.array(below(row, "td")) == pytest.approx(np.array(values))
    ((start, _),) = below(row, ".more")
    assert start >= max(end for _, end in values)
    page.keyboard.press("Enter")
    assert not seen(more)


def test_what_a_row_unfolds_is_part_of_its_disclosure(opened):
    """A screen reader reads it there, and finding a text in the page opens it."""
    page = opened().page
    rows = page.locator(".comparison").get_by_role("row")
    assert rows.count() == page.locator(".comparison tr").count() > 10
    row = page.locator(".comparison tr:has(summary)", has_text="NLL").first
    assert "Mean over images of -ln P(x)" not in row.aria_snapshot()
    page.goto(f"{page.url}#:~:text=Mean%20over%20images%20of%20%2Dln%20P(x)")
    page.wait_for_function("row => row.querySelector('details').open", arg=row.element_handle())
    assert "Mean over images of -ln P(x)" in row.aria_snapshot()
    assert row.get_by_role("rowheader").count() == 1
    assert row.get_by_role("cell").count() == 2


@pytest.mark.slow
def test_the_print_has_the_still_figures(opened):
    page = opened().page
    scroll_through(page)
    page.emulate_media(media="print")
    page.locator(".comparison details").evaluate_all("all => all.forEach(each => { each.open = false; })")
    assert all(seen(more) for more in page.locator(".comparison .more").all())
    for figure in page.locator("figure.plot").all():
        assert figure.locator(".still svg").is_visible()
        assert not figure.locator(".closer").is_visible()
