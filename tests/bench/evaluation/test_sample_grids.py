"""The pictures of a run show images of all kinds, in whatever order the user's file holds them."""

from __future__ import annotations

import numpy as np
import pytest

from bench.evaluation import sample_grids
from bench.evaluation.image_grid import Picture
from bench.evaluation.sample_grids import final_pictures, trial_pictures

CLASSES = 10


class Model:
    """Grey level = class: each image is of one level throughout."""

    grey_levels = CLASSES
    image_shape = (2, 2, 1)

    def reconstruct(self, images):
        return images.astype(float)

    def interpolate(self, first, second, shares):
        return np.stack([first + share * (second - first) for share in shares], axis=1)


class Sampler:
    model = Model()

    def draw(self, n, temperature, seed):
        return np.zeros((n, 4, 4, 1), np.int32)

    def draw_at(self, temperatures, n, seed):
        return np.zeros((len(temperatures) * n, 4, 4, 1), np.int32)


def sorted_images(each):
    """The same number of images of every class, sorted by class."""
    return np.repeat(np.arange(CLASSES), each)[:, None, None, None] * np.ones((1, 4, 4, 1), np.int32)


@pytest.fixture
def shown(monkeypatch):
    """The images of each picture, by its kind."""
    seen: dict[str, np.ndarray] = {}

    def picture(kind, caption, images, sampler):
        seen[kind] = np.asarray(images)
        return Picture(kind, caption, b"")

    monkeypatch.setattr(sample_grids, "_picture", picture)
    return seen


def classes(images):
    return set(np.unique(np.round(images)).astype(int))


def test_of_a_sorted_file_all_classes_are_shown(shown):
    images = sorted_images(100)
    pictures = {each.kind: each for each in final_pictures(Sampler(), images, "test", images, 0)}
    assert pictures["data"].caption == "64 test images, drawn at random"
    for kind in ("data", "reconstructions"):
        assert classes(shown[kind]) == set(range(CLASSES)), kind
    assert len(classes(shown["interpolations"][[0, 7]])) > 1
    assert "drawn at random" in pictures["reconstructions"].caption
    assert "drawn at random" in pictures["interpolations"].caption


def test_of_a_sorted_file_a_trial_reconstructs_all_classes(shown):
    trial_pictures(Sampler(), sorted_images(100), 0)
    assert classes(shown["reconstructions"]) == set(range(CLASSES))


def test_all_runs_show_the_same_images_and_none_twice(shown):
    images = np.arange(200)[:, None, None, None] * np.ones((1, 4, 4, 1), np.int32)
    drawn = []
    for seed in (0, 1):
        final_pictures(Sampler(), images, "test", images, seed)
        drawn.append(shown["data"])
    assert (drawn[0] == drawn[1]).all()
    assert len(classes(drawn[0])) == 64


def test_fewer_images_than_a_grid_holds_are_all_shown(shown):
    images = sorted_images(2)
    (first, *_) = final_pictures(Sampler(), images, "test", images, 0)
    assert first.caption == "All 20 test images"
    assert sorted(shown["data"][:, 0, 0, 0]) == sorted(images[:, 0, 0, 0])
