"""A browser for tests of pages; without one they are skipped, and say why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import NoBrowserError, chromium, new_context

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    started = chromium()
    try:
        opened = started.__enter__()
    except NoBrowserError as error:
        pytest.skip(str(error))
    yield opened
    started.__exit__(None, None, None)


@dataclass
class Watched:
    """A page, and what went wrong in it so far."""

    page: Page
    problems: list[str] = field(default_factory=list)
    """Errors of the console, uncaught exceptions and dialogs, in the order in which they came."""


@contextmanager
def watching(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Open a page in a context of its own, with options of playwright's ``new_context``, and watch it."""
    contexts = []

    def opened(**options: Any) -> Watched:
        contexts.append(new_context(browser, **options))
        watched = Watched(contexts[-1].new_page())

        def dismiss(dialog: Any) -> None:
            watched.problems.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page = watched.page
        page.on("console", lambda said: watched.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: watched.problems.append(f"uncaught: {error}"))
        page.on("dialog", dismiss)
        return watched

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def watch(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """`watching` until the test ends."""
    with watching(browser) as opened:
        yield opened


@pytest.fixture
def axe() -> Callable[[Page], list[dict[str, Any]]]:
    """The violations that axe-core finds in a page: rule, impact, help, and the elements (``nodes``)."""
    package = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core: pip install -e '.[dev]'")
    checker = package.Axe()
    return lambda page: list(checker.run(page).response["violations"])
