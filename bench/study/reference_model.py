"""The reference model: a small model of exact likelihood that a study trains beside its arms. Imports no framework.

It is a reference code that learns from the study's own training images, and no arm: it is not swept, and enters neither
selection nor any comparison of arms. A reader sees by it what an exact likelihood of modest size and budget obtains.
"""

from __future__ import annotations

from dataclasses import replace

from bench.data.dataset import DatasetInfo
from bench.study.config import RECIPE
from bench.study.definition import BUDGETS, Arm, BoundStudy, Study
from models.autoregressive.config import AutoregressiveConfig
from models.base.size import TRAINING_PASSES

NAME = "reference model"
"""No arm can have this name, which has a space."""
RUN_KIND = f"{NAME} final"
"""The kind of its only run in the ETA."""
MOST_MULTIPLICATIONS = 5e12
"""Multiply-adds of its training at most, about three minutes of one core; validation and test take no more each."""
LEAST_STEPS = 500
"""Where this allows fewer steps than these, and the arms see more, there is none: it would say little."""
LEAST_BATCH_SIZE = 16
"""Images per step at least, where larger ones leave room for fewer steps than these; the rate stays the same."""
TRAINING = RECIPE.model_copy(update={"learning_rate": 1e-2})
"""At this rate validation was lower in every evaluation than at the recipe's, on the digits and on 12,000 of MNIST."""
MOST_HIDDEN_VALUES = 2**24
"""Values of a hidden layer over a batch at most, of which training holds some fifteen layers: 1 GiB."""
MOST_VALIDATION_IMAGES = 1000
"""Its evaluations choose the best weights, which needs no more."""
FEWEST_IMAGES = 2
"""Fewer have no standard error."""


def reference_study(bound: BoundStudy) -> BoundStudy | None:
    """The study of the reference model alone; None where the study wants none, or its images are too large for one.

    It is trained on as many images as the arm that sees the most, as far as its cost allows; its settings'
    ``evaluation_images`` limit validation.
    """
    if not _is_wanted(bound) or too_large(bound):
        return None
    settings, model = bound.settings, _model(bound.info)
    images, batch_size = min(_wanted_images(bound), _most_images(bound)), _batch_size(bound)
    changes = {**dict.fromkeys(BUDGETS), "images": images, "batch_size": batch_size, "seeds": 1}
    budget = settings.model_copy(update=changes)
    training = budget.training(TRAINING, bound.info.sizes["train"])
    validation = min(
        settings.evaluation_images or MOST_VALIDATION_IMAGES,
        MOST_VALIDATION_IMAGES,
        # So that all evaluations take no longer than the training does.
        max(FEWEST_IMAGES, TRAINING_PASSES * training.steps * training.batch_size // training.evaluations),
    )
    # Beyond a tenth of a short training, the warm-up would be most of it.
    recipe = TRAINING.model_copy(update={"warmup_steps": min(TRAINING.warmup_steps, training.steps // 10)})
    return replace(
        bound,
        study=Study(name="reference", question=bound.study.question, arms=(Arm(model, training=recipe),)),
        settings=budget.model_copy(update={"evaluation_images": validation}),
    )


def too_large(bound: BoundStudy) -> str:
    """Why the images of a study that wants a reference model are too large for one; empty where they are not."""
    images, batch_size = _most_images(bound), _batch_size(bound)
    if not _is_wanted(bound) or _wanted_images(bound) <= images or images >= least_images(bound):
        return ""
    if NAME in bound.images and images == bound.images[NAME]:
        return (
            f"not trained: the study's time leaves it fewer than {LEAST_STEPS} steps of {batch_size} images, and these "
            "say little of such a model"
        )
    return (
        f"not trained: on images of {'x'.join(map(str, bound.info.image_shape))}, the {MOST_MULTIPLICATIONS:.0e} "
        f"multiply-adds that it may take are {images // batch_size:,} steps of {batch_size} images, and fewer than "
        f"{LEAST_STEPS} say little of such a model"
    )


def least_images(bound: BoundStudy) -> int:
    """On how many images it is trained at least: fewer steps say little of such a model."""
    return LEAST_STEPS * _batch_size(bound)


def most_test_images(info: DatasetInfo) -> int:
    """On how many images of a data set it is measured at most: this costs no more than its training may."""
    return max(FEWEST_IMAGES, _most_likelihoods(info))


def _is_wanted(bound: BoundStudy) -> bool:
    return bound.settings.reference_model and all(
        arm.family != AutoregressiveConfig().family for arm in bound.study.arms
    )


def _model(info: DatasetInfo) -> AutoregressiveConfig:
    # Each channel of an image takes a share of the hidden ones, of which the preset has fewer than some images.
    small = AutoregressiveConfig.presets["small"]
    values = {**small, "hidden_channels": max(small["hidden_channels"], info.image_shape[2])}
    if not info.is_ordered:
        values["input_scaling"] = "one_hot"
    return AutoregressiveConfig(**values)


def _most_likelihoods(info: DatasetInfo) -> int:
    return int(MOST_MULTIPLICATIONS // _model(info).size(info.image_shape, info.grey_levels).multiplications)


def _most_images(bound: BoundStudy) -> int:
    """On how many images its cost lets it be trained, and the study's time, if that is limited."""
    most = _most_likelihoods(bound.info) // TRAINING_PASSES
    return min(most, bound.images.get(NAME, most))


def _wanted_images(bound: BoundStudy) -> int:
    """How many images the arm sees that sees the most."""
    return max(bound.base(arm).training.images for arm in bound.study.arms)


def _batch_size(bound: BoundStudy) -> int:
    # Large images leave room for fewer in a batch than small ones, which have the arms' number; and are they so costly
    # that a batch of this size would leave fewer steps than it takes, it is a smaller one.
    height, width, _ = bound.info.image_shape
    room = max(1, MOST_HIDDEN_VALUES // (height * width * _model(bound.info).hidden_channels))
    most = max(LEAST_BATCH_SIZE, _most_likelihoods(bound.info) // TRAINING_PASSES // LEAST_STEPS)
    return min(bound.settings.batch_size or TRAINING.batch_size, room, most)
