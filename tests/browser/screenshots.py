"""Pictures of a study's report and of its MLflow pages, for the README.

    python -m tests.browser.screenshots [--output runs] [--study STUDY_ID] [--to reports/examples]

Without a study it is the newest one. Needs the dev extra and a Chromium.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import expect

from bench.core.errors import ReparamBenchError, TrackingError
from bench.tracking.reading.reader import load_results
from bench.tracking.reading.studies import list_studies
from bench.tracking.views import VIEWS, view_address
from tests.browser.chromium import NoBrowserError, chromium, mlflow_server, new_context

if TYPE_CHECKING:
    from playwright.sync_api import Page

MOST_BYTES = 300_000
REPORT_HEIGHT = 2400
"""Pixels of the report that are shown: its answer and its first figures."""
COLOURS = (256, 128, 64, 32)
PATIENCE = 60_000
"""Milliseconds within which a page must show its runs."""
EVERY = 2_000
"""Milliseconds in which a page that is at rest does not change: MLflow's pages never stop asking their server."""
MOST_PICTURES = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--study", help="identifier of the study [default: the newest]")
    parser.add_argument("--to", type=Path, default=Path("reports/examples"), help="folder of the pictures")
    options = parser.parse_args()
    try:
        for picture in take(options.output, options.study, options.to):
            print(f"{picture} ({picture.stat().st_size / 1000:.0f} kB)")
    except (ReparamBenchError, NoBrowserError) as error:
        sys.exit(f"error: {error}")


def take(output: Path, study_id: str | None, folder: Path) -> list[Path]:
    """Take the pictures; their paths."""
    database = output.resolve() / "mlflow.db"
    if not database.is_file():
        raise TrackingError(f"{database} does not exist: run a study first, or give --output")
    uri = f"sqlite:///{database}"
    study_id = study_id or next(iter(list_studies(uri)), None)
    if study_id is None:
        raise TrackingError(f"{uri} holds no study yet: run one first")
    report = output.resolve() / "reports" / study_id / "report.html"
    if not report.is_file():
        raise TrackingError(f"{report} does not exist: `reparam-bench report {study_id}` writes it")
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser, mlflow_server(uri, output / "artifacts") as address:
        page = new_context(browser).new_page()
        page.goto(report.as_uri())
        height = min(REPORT_HEIGHT, page.evaluate("document.documentElement.scrollHeight"))
        page.set_viewport_size({"width": 1280, "height": height})
        pictures = [save(page.screenshot(), folder / "report.png")]
        figures = page.locator("#trials .plots").first
        figures.scroll_into_view_if_needed()
        for figure in figures.locator("figure:has(> script)").all():
            expect(figure).to_contain_class("drawn", timeout=PATIENCE)
        pictures.append(save(figures.screenshot(), folder / "report-trials.png"))
        page.set_viewport_size({"width": 1280, "height": 900})
        results = load_results(address, study_id)
        runs = results.runs[results.runs["state"] == "complete"]
        final = runs[runs["role"] == "final"].iloc[0]
        experiment = str(final["url"]).split("/experiments/")[1].split("/")[0]
        open_page(page, f"{address}/{view_address(experiment, VIEWS[0])}", str(final["name"]))
        pictures.append(save(at_rest(page), folder / "mlflow-runs.png"))
        open_page(page, str(final["url"]), str(final["name"]))
        pictures.append(save(at_rest(page), folder / "mlflow-run.png"))
    return pictures


def open_page(page: Page, url: str, text: str) -> None:
    """Open a page of MLflow's and wait until it shows a text."""
    page.goto(url)
    page.get_by_text(text).first.wait_for(timeout=PATIENCE)


def at_rest(page: Page) -> bytes:
    """A picture of a page, once it changes no more."""
    latest, earlier = page.screenshot(animations="disabled"), b""
    for _ in range(MOST_PICTURES):
        if latest == earlier:
            break
        page.wait_for_timeout(EVERY)
        latest, earlier = page.screenshot(animations="disabled"), latest
    return latest


def save(png: bytes, path: Path) -> Path:
    """Write a picture with a palette, with as many colours as fit into its size."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in COLOURS:
        # Maximum coverage keeps the few pixels of a family's colour, which the default melts into grey.
        image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break
    return path


if __name__ == "__main__":
    main()
