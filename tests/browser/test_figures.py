"""Interactive figures in a browser: their ticks on a phone and in a zoom."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.reports.conftest import FOUR, FOUR_LEVELS, whole

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright: pip install -e '.[dev]'")

# What matplotlib drew gives way to the interactive figure.
pytestmark = pytest.mark.usefixtures("undrawn")

MNIST = {"name": "mnist", "grey_levels": 256, "image_shape": [28, 28, 1]}
BOXES = """figure => [...figure.querySelectorAll(".xtick text, .x2tick text, .x3tick text")].map(text => {
  const box = text.getBoundingClientRect();
  return {text: text.textContent, left: box.left, right: box.right, top: box.top, bottom: box.bottom};
})"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a synthetic study of four arms, with published results."""
    from reports import write_report

    results = whole(FOUR_LEVELS, measured=True, families=FOUR).results(dataset=MNIST)
    return write_report(results, tmp_path_factory.mktemp("report"), pdf=False).html


@pytest.fixture(scope="module")
def of_two_arms(tmp_path_factory):
    """Likewise of two arms."""
    from reports import write_report

    results = whole({"vae": [2.31, 2.33], "glow": [1.97, 1.99]}, measured=True).results()
    return write_report(results, tmp_path_factory.mktemp("report"), pdf=False).html


@pytest.mark.parametrize("arms", [pytest.param("of_two_arms", marks=pytest.mark.slow), "report"])
def test_on_a_phone_no_value_of_the_comparison_is_cut_off(watch, request, arms):
    page = opened(watch, request.getfixturevalue(arms), 390).page
    assert page.locator(".scroll:has(.comparison)").evaluate("each => each.scrollWidth - each.clientWidth") <= 0
    cut = page.locator(".comparison :is(th, td, .more)").evaluate_all(
        """all => all.filter(each => each.getBoundingClientRect().right > innerWidth
                            || each.scrollWidth > each.clientWidth + 1).map(each => each.textContent)"""
    )
    assert cut == []
    # Values break between number, error and unit: nowhere within.
    broken = page.locator(".comparison td").evaluate_all(
        """all => all.flatMap(cell => {
          const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
          for (let node = walker.nextNode(); node; node = walker.nextNode()) {
            for (const word of node.textContent.matchAll(/\\S+/g)) {
              const range = document.createRange();
              range.setStart(node, word.index);
              range.setEnd(node, word.index + word[0].length);
              if (new Set([...range.getClientRects()].map(box => box.top)).size > 1) found.push(word[0]);
            }
          }
          return found;
        })"""
    )
    assert broken == []


def opened(watch, report, width):
    """The page in a window of that width, with all that is folded shown."""
    watched = watch(viewport={"width": width, "height": 844})
    watched.page.goto(report.as_uri())
    watched.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    return watched


def drawn(page):
    """Each interactive figure, once it is drawn."""
    for figure in page.locator("figure.plot:has(> script)").all():
        figure.scroll_into_view_if_needed()
        sync_api.expect(figure).to_contain_class("drawn", timeout=30_000)
        yield figure


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_no_tick_labels_touch(watch, report, width):
    page = opened(watch, report, width).page
    found = 0
    for figure in drawn(page):
        for title in figure.locator("[class^=x][class$=title]").all():
            box, around = title.bounding_box(), figure.bounding_box()
            assert around["x"] <= box["x"]
            assert box["x"] + box["width"] <= around["x"] + around["width"] + 1, title.text_content()
        boxes = figure.evaluate(BOXES)
        found += len(boxes)
        for i, one in enumerate(boxes):
            for other in boxes[:i]:
                apart = one["left"] >= other["right"] or other["left"] >= one["right"]
                below = one["top"] >= other["bottom"] or other["top"] >= one["bottom"]
                assert apart or below, (figure.inner_text()[:80], one["text"], other["text"])
    assert found > 50


def test_a_zoom_has_ticks_of_its_own_and_its_end_those_of_the_figure(watch, report):
    watched = opened(watch, report, 1280)
    page = watched.page
    figure = page.get_by_role("figure", name="dense: validation bits/dim against learning_rate").first
    figure.scroll_into_view_if_needed()
    ticks = figure.locator(".xtick text, .x2tick text")
    ticks.first.wait_for(state="attached", timeout=30_000)
    before = ticks.all_text_contents()
    assert len(before) >= 2
    area = figure.locator(".nsewdrag").last.bounding_box()

    def at(share):
        return area["x"] + share * area["width"], area["y"] + 0.5 * area["height"]

    page.mouse.move(*at(0.3))
    page.mouse.down()
    page.mouse.move(*at(0.5), steps=5)
    page.mouse.up()
    sync_api.expect(ticks.first).not_to_have_text(before[0])
    page.wait_for_function(
        "figure => figure.querySelector('.closer').layout.xaxis2.tickmode === 'auto'", arg=figure.element_handle()
    )
    zoomed = [float(text.replace(",", "")) for text in ticks.all_text_contents()]
    assert len(zoomed) >= 2
    low, high = figure.evaluate("figure => figure.querySelector('.closer').layout.xaxis2.range")
    assert all(10**low * 0.999 <= value <= 10**high * 1.001 for value in zoomed)
    is_back = "figure => figure.querySelector('.closer').layout.xaxis2.tickmode === 'array'"
    for _ in range(10):
        # On a busy machine the second click may come too late for a double one.
        page.mouse.dblclick(*at(0.5))
        with suppress(sync_api.TimeoutError):
            page.wait_for_function(is_back, arg=figure.element_handle(), timeout=3000)
            break
    sync_api.expect(ticks).to_have_text(before)
    assert watched.problems == []
