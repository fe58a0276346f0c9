"""The project speaks the field's words: some private ones of earlier versions must not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("bench", "models", "reports", "studies", "deploy", "tests")
SUFFIXES = {".py", ".md", ".j2", ".js", ".css", ".sh", ".yaml", ".ipynb"}
WORDS = re.compile(
    r"\b(told|gone on with|looked at|yardsticks?|crews?|couriers?|spool\w*|workbench\w*)\b", re.IGNORECASE
)


def files() -> list[Path]:
    own = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Makefile", *own]


@pytest.mark.parametrize("text", ["what it told us", "A Yardstick", "the spool folder", "no more than"])
def test_the_pattern_finds_the_words(text):
    assert bool(WORDS.search(text)) == (text != "no more than")


def test_no_file_has_a_private_word():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert not found, "\n".join(found)
