"""The pictures that the end of a study logs show the images that the runs' own tables name."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from PIL import Image

from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.workflows.won_images import picture_won_images
from reports.analysis.results import Study
from reports.analysis.won_images import wins
from tests.reports.analysis.test_won_images import two_arms

GAINS = np.random.default_rng(3).normal(0, 0.2, 30)


def dataset(shape, levels, n=30):
    images = np.random.default_rng(0).integers(0, levels, (n, *shape)).astype(np.uint8)
    info = DatasetInfo("made", shape, levels, {"train": n, "validation": n, "test": n}, 0, "here")
    return Dataset(info, Split(images[:0]), Split(images[:0]), Split(images))


def results(shape):
    made = two_arms(GAINS, dimensions=math.prod(shape))
    return dataclasses.replace(made, dataset={**made.dataset, "image_shape": shape})


def tiles(png, shape, n):
    """The images of a strip, without the lines between them and its enlargement."""
    height, width, _ = shape
    strip = np.asarray(Image.open(io.BytesIO(png)))
    factor = strip.shape[0] // height
    assert strip.shape[:2] == (height * factor, (n * (width + 1) - 1) * factor)
    strip = strip[::factor, ::factor].reshape(height, n * (width + 1) - 1, -1)
    return [strip[:, i * (width + 1) : i * (width + 1) + width] for i in range(n)]


@pytest.mark.parametrize(
    ("shape", "levels"), [((8, 8, 1), 17), ((28, 28, 1), 2), ((32, 32, 3), 256), ((64, 64, 3), 256), ((9, 12, 1), 256)]
)
def test_grey_colour_and_two_level_images_of_any_size(shape, levels):
    study, data = results(shape), dataset(shape, levels)
    found = picture_won_images(study, data, None)
    assert {(each.winner, each.loser) for each in found} == {("glow", "vae"), ("vae", "glow")}
    for each, win in zip(found, wins(Study(study)), strict=True):
        assert win.shows(each)
        for tile, image in zip(tiles(each.png, shape, len(each.images)), win.images, strict=True):
            expected = np.round(data.open_test().images[image] / (levels - 1) * 255)
            assert np.array_equal(tile, expected)


def test_the_images_are_those_that_final_runs_were_measured_on():
    shape, data = (8, 8, 1), dataset((8, 8, 1), 17, n=90)
    found = picture_won_images(results(shape), data, 30)
    used = data.open_test().some(30).images
    first = tiles(found[0].png, shape, len(found[0].images))[0]
    assert np.array_equal(first, np.round(used[found[0].images[0]] / 16 * 255))


def test_images_that_the_data_does_not_have_are_not_pictured():
    assert picture_won_images(results((8, 8, 1)), dataset((8, 8, 1), 17, n=5), None) == []


def test_the_test_split_stays_closed_where_no_run_was_measured_on_it(monkeypatch):
    closed = dataset((8, 8, 1), 17)
    monkeypatch.setattr(closed, "open_test", lambda: pytest.fail("it was opened"))
    study = results((8, 8, 1))
    assert picture_won_images(dataclasses.replace(study, tables={}), closed, None) == []
