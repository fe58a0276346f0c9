"""The notebook in studies/ runs from its first cell to its last, and shows the answer."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "studies" / "your_arrays.ipynb"


@pytest.mark.slow
def test_the_notebook_shows_the_answer_and_leaves_a_report(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        output["data"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "execute_result"
    ]
    answer = next(each["text/html"] for each in shown if "<strong>" in each.get("text/html", ""))
    assert "has the lowest test bits/dim" in answer or "do not decide" in answer
    table = next(each["text/html"] for each in shown if "param.learning_rate" in each.get("text/html", ""))
    assert all(arm in table for arm in ("dense", "convolutional", "glow"))
    (page,) = (tmp_path / "runs" / "reports").glob("*/report.html")
    assert page.stat().st_size > 10_000
