"""Practical size in the page: a table of pairs, and the test images that separate them, where they were logged."""

from __future__ import annotations

import dataclasses
import re
from html import unescape

import pytest

from bench.core.results import WonImages
from reports.analysis.results import Study
from reports.analysis.won_images import wins
from reports.formatting import NO_BREAK
from reports.pages.document import Fold, Grids
from reports.pages.study import IMAGE_BUDGET, page
from reports.pages.templates import page_as_html, page_as_markdown
from reports.text.table import Table
from tests.reports.conftest import png, whole
from tests.reports.pages.test_first_screen import section, standing_open
from tests.reports.pages.test_study import HOSTILE, read

pytestmark = pytest.mark.usefixtures("no_figures")


def pictured(results, picture=None):
    """The results with the pictures that the end of a study logs."""
    found = [win for win in wins(Study(results)) if win.images]
    pictures = [
        WonImages(win.winner, win.loser, win.images, picture or png(seed=number)) for number, win in enumerate(found)
    ]
    return dataclasses.replace(results, won_images=pictures)


def close(**known):
    levels = {"vae": [2.01, 2.03, 2.02], "glow": [1.99, 2.02, 2.00]}
    return whole(levels, measured=True).results(**known)


def plain(text):
    return unescape(text).replace(NO_BREAK, " ")


def shown(document):
    """The grids of images that separate arms, folded ones included."""
    blocks = section(document, "comparison").blocks
    inside = [each for block in blocks for each in (block.blocks if isinstance(block, Fold) else [block])]
    return [grid for block in inside if isinstance(block, Grids) for grid in block.grids]


def test_table_and_pictures_stand_open(tmp_path):
    parsed, html, markdown = read(pictured(close()), tmp_path)
    assert "Practical size: are two arms further apart than 0.01 bits/dim?" in standing_open(html)
    for text in (plain(parsed.text), markdown.replace("\\", "")):
        assert "P(Glow better than VAE by more than 0.01 bits/dim) = 0." in text
        assert "Test images that separate Glow and VAE" in text
        assert re.search(r"Glow is better than VAE on \d+ of 360 test images \(\d+\.\d%\), by more than 0.01 ", text)
        assert "VAE is better than Glow on " in text
        assert "Benavoli et al. 2017" in text
    ours = wins(Study(close()))[0]
    labels = re.findall(r"<li>([\d.]+)</li>", html)
    assert labels[: len(ours.bits)] == [f"{bits:.2f}" for bits in ours.bits]
    assert f"Shown: the largest differences, in bits/dim: {', '.join(labels[: len(ours.bits)])}" in markdown
    assert (tmp_path / "images" / "won-1-glow.png").read_bytes() == png(seed=0)
    assert (tmp_path / "images" / "won-2-vae.png").read_bytes() == png(seed=1)


def test_the_readers_region_reaches_the_whole_page(tmp_path):
    parsed, _, _ = read(dataclasses.replace(close(), equivalence=0.25), tmp_path)
    assert "Practically equal (P" in plain(parsed.text)
    assert "further apart than 0.25 bits/dim" in plain(parsed.text)
    assert "0.01 bits/dim" not in plain(parsed.text).replace("(--equivalence, 0.01 unless set)", "")


def test_without_pictures_the_counts_are_said(tmp_path):
    document = page(close())
    assert shown(document) == []
    assert "Glow is better than VAE on " in plain(page_as_html(document))


def test_a_picture_that_is_not_of_these_images_is_not_shown(tmp_path):
    results = pictured(close())
    first, second = results.won_images
    others = [
        dataclasses.replace(first, images=first.images[::-1]),
        dataclasses.replace(first, loser="pixelcnn"),
        WonImages(HOSTILE, HOSTILE, (1,), png()),
        dataclasses.replace(first, png=b"<svg onload='alert(1)'>"),
    ]
    _, html, markdown = read(dataclasses.replace(results, won_images=[*others, second]), tmp_path)
    for text in (html, markdown):
        assert "Better under VAE" in text
        assert "Better under Glow" not in text
    assert [path.name for path in (tmp_path / "images").glob("won-*")] == ["won-2-vae.png"]
    assert "onload" not in html + markdown
    assert "alert('x')" not in html + markdown


def test_arms_of_any_name_are_text(tmp_path):
    name = "<b>évil|fam\u202e"
    levels = {name: [2.01, 2.03, 2.02], "glow": [1.99, 2.02, 2.00]}
    results = pictured(whole(levels, measured=True, families={name: "vae"}).results())
    parsed, html, markdown = read(results, tmp_path)
    assert "<b>évil" not in html
    assert "\u202e" not in html + markdown
    assert "Glow is better than <b>évil|fam\\u202e on" in parsed.text
    assert len([*(tmp_path / "images").glob("won-*")]) == 2


def test_further_pairs_are_folded_and_many_pairs_too(four):
    document = page(pictured(four))
    blocks = section(document, "comparison").blocks
    folds = [block.summary for block in blocks if isinstance(block, Fold) and block.summary.startswith("Test images")]
    assert folds == ["Test images that separate deep and conv", "Test images that separate deep and dense"]
    assert not any(isinstance(block, Table) and block.caption.startswith("Practical") for block in blocks)
    assert any(isinstance(block, Fold) and block.summary.startswith("Practical size") for block in blocks)
    assert "conv is better than deep on none of 360 test images." in plain(page_as_html(document))


def test_pictures_too_large_for_the_page_are_files_beside_it(tmp_path):
    big = png() + bytes(IMAGE_BUDGET)
    document = page(pictured(close(), big))
    assert [grid.data_uri for grid in shown(document)] == ["", ""]
    assert "Too large for this page" in page_as_html(document)
    assert "won-1-glow.png" in page_as_markdown(document)


def test_a_study_of_one_arm_or_of_one_seed_has_neither(study, tmp_path):
    alone = study({"vae": [2.3, 2.31]}, measured=True).results(swept={"vae": ["latent_size"]})
    parsed, _, _ = read(alone, tmp_path)
    assert "are two arms further apart" not in parsed.text
    assert "that separate" not in parsed.text
    single = pictured(study({"vae": [2.3], "glow": [2.0]}, measured=True).results())
    parsed, _, _ = read(single, tmp_path)
    assert "not known: both arms need two training seeds or more, not 1 of Glow and 1 of VAE." in plain(parsed.text)
    assert "Test images that separate Glow and VAE" in parsed.text
