"""Obtained beside published: the page made of two files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.pages.published import write_published

ROW = {
    "run_id": "a1",
    "model": "vae",
    "title": "VAE: 200-200 tanh | <b>bold</b>",
    "metric": "nll_nats",
    "dataset": "binarized_mnist",
    "published": 88.71,
    "source": "Burda et al. (2016), table 1",
    "obtained": 98.572,
    "standard_error": 0.25,
    "monte_carlo_error": 0.011,
    "importance_samples": 1000,
    "recipe_samples": 5000,
    "test_images": 10000,
    "images_seen": 5_000_000,
    "recipe_images": 164_000_000,
    "published_images": 164_000_000,
    "weights": 415_184,
    "training_seconds": 853.9,
    "seed": 0,
    "deviations": "Batches of 100.",
    "backend": "jax",
    "device": "cpu:0",
    "processor": "a processor",
    "cores": 2,
    "commit": "0123456789abcdef",
    "dirty": False,
    "config": "{}",
}
OURS = ROW | {"run_id": "b2", "model": "ours", "title": "Ours", "published": np.nan, "deviations": np.nan}
FLOW = ROW | {"run_id": "c3", "model": "glow", "title": "Glow", "metric": "bits_per_dim", "published": 1.05}


@pytest.fixture
def page(tmp_path):
    points = [
        {"run_id": run, "images": 1000 * i, "validation/nll_nats": 200 / i, "validation/bits_per_dim": 3 / i}
        for run in ("a1", "b2", "c3")
        for i in (1, 2, 3)
    ]
    pd.DataFrame([ROW, OURS, FLOW]).to_csv(tmp_path / "obtained.csv", index=False)
    pd.DataFrame(points).to_csv(tmp_path / "curves.csv", index=False)
    return write_published(tmp_path)


def test_the_gap_to_the_published_figure_stands_with_its_error_and_the_budget(page):
    text = page.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| VAE"))
    cells = [cell.strip().replace("\u00a0", " ") for cell in row.replace("\\|", "¦").strip("|").split("|")]
    assert cells[1:5] == ["88.71 nats", "98.57 ± 0.25 nats", "0.0110", "9.86 ± 0.25"]
    assert cells[6:8] == ["415,184", "5,000,000 images, 0.03 of the recipe's"]
    assert "Batches of 100." in text
    assert "<b>" not in text


def test_another_k_than_the_recipe_s_is_named(page):
    rows = page.read_text(encoding="utf-8").splitlines()
    assert "k = 1,000 (the recipe's: 5,000), 10,000 test images" in next(row for row in rows if row.startswith("| VAE"))


def test_the_data_set_of_each_run_is_named(page):
    assert r"data set binarized\_mnist, seed 0" in page.read_text(encoding="utf-8")


def test_a_single_evaluation_is_drawn(page):
    for name in ("obtained.csv", "curves.csv"):
        rows = pd.read_csv(page.parent / name).query("run_id == 'b2'")
        rows.iloc[:1].to_csv(page.parent / name, index=False)
    write_published(page.parent)
    assert "ours" in (page.parent / "curves-nll_nats.svg").read_text(encoding="utf-8")


def test_rows_of_versions_before_are_shown_without_what_they_lack(page):
    file = page.parent / "obtained.csv"
    pd.read_csv(file).drop(columns=["dataset", "weights", "published_images", "recipe_samples"]).to_csv(
        file, index=False
    )
    text = write_published(page.parent).read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| VAE"))
    assert [cell.strip() for cell in row.replace("\\|", "¦").strip("|").split("|")][5:7] == [
        "k = 1,000, 10,000 test images",
        "–",
    ]


def test_a_model_without_a_published_figure_has_no_gap(page):
    row = next(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| Ours"))
    assert row.split("|")[2].strip() == row.split("|")[5].strip() == "–"


def test_a_published_model_is_marked_where_its_images_are_known(page):
    figures = [path.read_text(encoding="utf-8") for path in sorted(page.parent.glob("*.svg"))]
    assert all("published, on test" in figure for figure in figures)
    unknown = pd.read_csv(page.parent / "obtained.csv").assign(published_images=np.nan)
    unknown.to_csv(page.parent / "obtained.csv", index=False)
    write_published(page.parent)
    assert not any("published, on test" in path.read_text(encoding="utf-8") for path in page.parent.glob("*.svg"))


def test_nats_and_bits_per_dim_never_share_an_axis(page):
    figures = {path.name: path.read_text(encoding="utf-8") for path in page.parent.glob("*.svg")}
    assert set(figures) == {"curves-nll_nats.svg", "curves-bits_per_dim.svg"}
    assert "ours" in figures["curves-nll_nats.svg"]
    assert "ours" not in figures["curves-bits_per_dim.svg"]
    assert all(name in page.read_text(encoding="utf-8") for name in figures)
