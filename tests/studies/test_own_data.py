"""A user's own images: what the dry run says of them, and how they reach every command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

STUDY = """
from bench import Arm, Study
from models import VAEConfig
from studies.cli.main import run_script

STUDY = Study(name="own", question="Does it run?", arms=(Arm(VAEConfig(hidden_sizes=(8,), latent_size=2)),))
"""


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Colour images of mixed sizes, dark cats and bright dogs."""
    rng = np.random.default_rng(0)
    for i in range(130):
        kind, values = (("cats", (0, 128)), ("dogs", (128, 256)))[i % 2]
        (tmp_path / "pets" / kind).mkdir(parents=True, exist_ok=True)
        image = rng.integers(*values, (8 + i % 3, 9, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "pets" / kind / f"{i}.png")
    (tmp_path / "own_study.py").write_text(STUDY)
    return tmp_path / "pets"


def said(out: str) -> dict[str, str]:
    """The lines of a dry run by their first word."""
    return {line.split()[0]: line for line in out.splitlines() if line.strip()}


@pytest.mark.usefixtures("pets")
def test_the_dry_run_says_what_it_found(cli):
    code, out, err = cli("study", "own_study.py", "--dataset", "pets", "--resize", "8", "--dry-run")
    assert code == 0, err
    lines = said(out)
    assert lines["data"] == (
        "data      pets: 8x8x3, 256 grey levels, colour; 91 train, 13 validation, 26 test, "
        "split off by a fixed permutation"
    )
    assert lines["labels"] == "labels    2 classes: cats, dogs"
    assert lines["quality"].endswith("is not measured: it needs 50 training and test images, not 26")
    assert re.search(r"memory    1\.\d GiB a process, .*; the images take 24\.4 KiB of it$", lines["memory"])


def test_the_dry_run_says_that_there_are_no_labels_and_which_splits_it_made(cli):
    np.savez("plain.npz", x_train=np.zeros((900, 8, 8), np.uint8), x_test=np.zeros((60, 8, 8), np.uint8))
    code, out, err = cli("study", "vae_vs_glow", "--dataset", "plain.npz", "--dry-run", "--workers", "2")
    assert code == 0, err
    lines = said(out)
    assert "2 grey levels, grey; 750 train, 150 validation, 60 test, validation split off" in lines["data"]
    assert lines["labels"].startswith("labels    none")
    assert lines["quality"].endswith("learns the four orientations, as there are no labels")
    assert lines["memory"].endswith("of it once for all")


@pytest.mark.usefixtures("undrawn_here")
def test_a_folder_of_mixed_images_is_studied_evaluated_and_repeated(cli, pets):
    code, _, err = cli("study", "own_study.py", "--dataset", "pets", "--resize", "6x4", "--grey", "--smoke")
    assert code == 0, err
    (page,) = Path("runs/reports").glob("*/report.html")
    measured = pd.read_csv(page.parent / "measurements.csv")
    codes = pd.read_csv(page.parent / "tables" / "reference_codes.csv").set_index("code")
    assert (codes.loc["code_pixelcnn", "images"], codes.loc["code_uniform", "images"]) == (26, 26)
    accuracy = measured.query("metric == 'extractor_accuracy'")
    assert set(accuracy["n"]) == {13}
    assert accuracy["conditions"].str.contains("classifier of 2 classes").all()
    assert (accuracy["value"] > measured.query("metric == 'extractor_chance'")["value"].max()).all()
    run = accuracy["run_id"].iloc[0]
    moved = pets.rename(pets.with_name("moved"))
    for command in ("evaluate", "repeat"):
        code, out, err = cli(command, run, "--dataset", str(moved))
        assert code == 0, err
        assert {"repeat": "the same, bit by bit", "evaluate": "extractor"}[command] in out
