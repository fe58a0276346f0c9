"""What leaves the machine has no path of it, and is otherwise left as it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.exports.portable import json_value, portable, whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/a b/c", "…/c"),
        ("/data", "…/data"),
        ("cannot open /home/me/x.npz: no such file", "cannot open …/x.npz: no such file"),
        ("'/home/me/a b/c' is none", "'…/c' is none"),
        ("--output=/tmp/runs, then", "--output=…/runs, then"),
        ("sqlite:////home/me/store.db", "…/store.db"),
        ("file:///home/me/store", "…/store"),
        ("C:\\Users\\me\\data is none", "…/data is none"),
        ("\\\\server\\share\\me", "…/me"),
        ("/home/me/runs/", "…/runs"),
        ("no /home/u/x here", "no …/x here"),
        ("in /home/u/", "in …/u"),
        ("/home/u/x", "…/x"),
    ],
)
def test_paths_are_cut_to_their_last_part(text, shown):
    assert portable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "2.31 bits/dim at 41 images/s",
        "https://arxiv.org/abs/1906.02735 and http://127.0.0.1:5000/#/experiments/1",
        "CPU, tensorflow, float32, batch 1",
        "a/b, and/or, 1 / 2, x // y",
        "mean over height × width / 2",
        "models/vae.keras",
        "and /or",
        "/ is a slash",
        "a /b",
    ],
)
def test_other_text_is_left(text):
    assert portable(text) == text


def test_values_become_json():
    values = {"a": np.float64("nan"), "b": np.int64(3), "c": 16.0, "d": (1.5, pd.NA, None, np.bool_(True)), 5: pd.NaT}
    assert json_value(values) == {"a": None, "b": 3, "c": 16, "d": [1.5, None, None, True], "5": None}
    assert [whole(value) for value in (3, 3.0, 2.5, True, "3", None, np.inf)] == [3, 3, None, None, None, None, None]
