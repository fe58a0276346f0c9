"""The test images that separate two arms, in a browser: each difference stands below its image, on a phone too."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.core.results import WonImages
from bench.evaluation.image_grid import image_grid
from reports import write_report
from reports.analysis.results import Study
from reports.analysis.won_images import wins
from reports.figures import registry
from tests.browser.test_figures import opened
from tests.reports.conftest import whole

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright: pip install -e '.[dev]'")

PLACES = """figure => {
  const picture = figure.querySelector("img"), all = picture.getBoundingClientRect();
  const labels = [...figure.querySelectorAll("li")].map(each => {
    const box = each.getBoundingClientRect();
    return {centre: (box.left + box.right) / 2, top: box.top, inside: each.scrollWidth <= each.clientWidth};
  });
  return {left: all.left, right: all.right, bottom: all.bottom, whole: picture.naturalWidth, labels};
}"""


@pytest.fixture(scope="module")
def page_with_pictures(tmp_path_factory):
    """Colour images of 32x32 that separate two arms, eight that favour the one and as many that favour the other."""
    levels = {"vae": [2.01, 2.03, 2.02], "glow": [1.99, 2.02, 2.00]}
    results = whole(levels, measured=True).results()
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3))
    won = [
        WonImages(win.winner, win.loser, win.images, image_grid(images[: len(win.images)], 256, len(win.images)))
        for win in wins(Study(results))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_FIGURES", {})
        return write_report(dataclasses.replace(results, won_images=won), tmp_path_factory.mktemp("report")).html


@pytest.mark.parametrize("width", [390, 1200])
def test_each_difference_stands_below_its_image(watch, page_with_pictures, width):
    page = opened(watch, page_with_pictures, width).page
    found = page.locator(".rows figure").evaluate_all(f"all => all.map({PLACES})")
    assert len(found) == 2
    for each in found:
        assert each["whole"] > 0
        assert each["right"] <= width
        n = len(each["labels"])
        assert n == 8
        tile = (each["right"] - each["left"]) / n
        for place, label in enumerate(each["labels"]):
            assert abs(label["centre"] - each["left"] - (place + 0.5) * tile) < tile / 5
            assert label["top"] >= each["bottom"]
            assert label["inside"]
