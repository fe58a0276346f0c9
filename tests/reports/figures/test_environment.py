"""A figure is the same bytes whatever the user's environment says of matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DRAW = """
import os
from reports.figures import matplotlib
from reports.figures.grammar import Axis, Figure, Line, Panel
panel = Panel(Axis("x"), Axis("$y$"), [Line([1, 2], [1, 4], label="one")])
print(matplotlib.draw(Figure("A figure", [panel], legend=True), {}))
assert os.environ.get("MPLBACKEND") == os.environ.get("GIVEN")
"""


def drawn(**variables: str) -> tuple[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB"))}
    done = subprocess.run(
        [sys.executable, "-c", DRAW], cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def plain() -> str:
    return drawn()[0]


@pytest.mark.parametrize("backend", ["nonsense", "module://matplotlib_inline.backend_inline", "module://not.there"])
def test_any_backend_of_a_notebook_or_of_none(plain, backend):
    assert drawn(MPLBACKEND=backend, GIVEN=backend) == (plain, "")


def test_a_matplotlibrc_of_the_users(tmp_path, plain):
    settings = "text.usetex: True\nfont.family: No Such Font\naxes.facecolor: red\nlines.linewidth: 9\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    assert drawn(MATPLOTLIBRC=str(tmp_path / "matplotlibrc")) == (plain, "")
