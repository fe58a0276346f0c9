"""A headless Chromium, and an MLflow server for it to open; for the browser tests and the screenshots."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from bench.tracking.server import server_command, server_environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
SERVER_SECONDS = 180


class NoBrowserError(Exception):
    """There is no browser to be had; the message says why, and what to install."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, or else playwright's own.

    Raises:
        NoBrowserError: playwright is not installed, or there is no browser that it can start.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise NoBrowserError("playwright is not installed: pip install -e '.[dev]'") from error
    path = next(filter(None, map(shutil.which, NAMES)), None)
    # A root user's Chromium, as in a container, starts without its own sandbox only.
    sandbox = os.name == "nt" or os.geteuid() != 0
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=sandbox)
        except Error as error:
            first = error.message.splitlines()[0]
            raise NoBrowserError(f"{path or 'no Chromium'} does not start ({first}): install chromium") from error
        try:
            yield browser
        finally:
            browser.close()


WITHOUT_ASSISTANT = """
if (location.hostname === "127.0.0.1") {
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
  localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
}
"""
"""MLflow opens its assistant over a part of the page unless it has done so before."""


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """A fresh context 1280 pixels wide, in which nothing outside this machine can be asked for."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.route(
        lambda url: not url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")),
        lambda route: route.abort(),
    )
    context.add_init_script(WITHOUT_ASSISTANT)
    return context


def unfold_study(page: Page) -> None:
    """Show the runs of the one study in MLflow's list of runs, which is folded at first."""
    page.locator("[col-id*='Run Name'] button").first.click()


@contextmanager
def mlflow_server(uri: str, artifacts: Path, *options: str) -> Iterator[str]:
    """An MLflow server on a free loopback port while the block lasts, with more options; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with TemporaryFile() as output:
        process = subprocess.Popen(
            [*server_command(artifacts, port), *options],
            env={**os.environ, **server_environment(uri)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until = time.monotonic() + SERVER_SECONDS
            while not _answers(f"{address}/health"):
                if process.poll() is not None or time.monotonic() > until:
                    output.seek(0)
                    raise RuntimeError(f"the MLflow server did not start:\n{output.read().decode(errors='replace')}")
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - an address on this machine
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
