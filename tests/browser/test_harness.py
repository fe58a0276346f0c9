"""The browser's own fixtures: what they must notice, on pages that are wrong on purpose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent


def test_a_watched_page_notes_console_errors_uncaught_exceptions_and_dialogs(watch):
    watched = watch()
    watched.page.goto("data:text/html,<script>console.log('fine'); console.error('one'); alert('two')</script>")
    watched.page.evaluate("setTimeout(() => { throw new Error('three') })")
    watched.page.wait_for_timeout(200)
    assert sorted(watched.problems) == ["dialog: two", "one", "uncaught: three"]


def test_nothing_outside_this_machine_is_asked_for(watch):
    watched = watch()
    watched.page.goto("data:text/html,<img src='http://192.0.2.1/a.png'>")
    watched.page.wait_for_timeout(200)
    assert any("ERR_FAILED" in problem for problem in watched.problems)


def test_axe_finds_a_picture_without_words_and_nothing_in_a_page_that_is_whole(watch, axe):
    page = watch().page
    body = "<html lang='en'><title>t</title><main><h1>A title</h1>{}</main>"
    for picture, violated in (("<img src='data:,'>", ["image-alt"]), ("<img src='data:,' alt='a dot'>", [])):
        page.goto(f"data:text/html,{quote(body.format(picture))}")
        assert [violation["id"] for violation in axe(page)] == violated


def test_a_browser_that_does_not_start_is_an_error(tmp_path):
    """In a process of its own: playwright runs once in a process, and here it does."""
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", "from tests.browser.chromium import chromium; chromium().__enter__()"],
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1])))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"NoBrowserError: \S+/chromium does not start \(.*\): install chromium", done.stderr)
