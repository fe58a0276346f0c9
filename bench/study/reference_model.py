"""The reference model: a small model of exact likelihood that a study trains beside its arms. Imports no framework.

It is a reference code that learns from the study's own training images, and no arm: it is not swept, and enters neither
selection nor any comparison of arms. A reader sees by it what an exact likelihood of modest size and budget obtains.
"""

from __future__ import annotations

from dataclasses import replace

from bench.study.config import RECIPE
from bench.study.definition import Arm, BoundStudy, Study
from models.autoregressive.config import AutoregressiveConfig
from models.base.size import TRAINING_PASSES

NAME = "reference model"
"""No arm can have this name, which has a space."""
RUN_KIND = f"{NAME} final"
"""The kind of its only run in the ETA."""
MOST_MULTIPLICATIONS = 5e12
"""Multiply-adds of its training at most: about three minutes of one core, and 8 times what the digits take."""
TRAINING = RECIPE.model_copy(update={"learning_rate": 1e-2})
"""At this rate validation was lower in every evaluation than at the recipe's, on the digits and on 12,000 of MNIST."""
MOST_HIDDEN_VALUES = 2**24
"""Values of a hidden layer over a batch at most, of which training holds some fifteen layers: 1 GiB."""
MOST_VALIDATION_IMAGES = 1000
"""Its evaluations choose the best weights; more images would take longer than its training does."""


def reference_study(bound: BoundStudy) -> BoundStudy | None:
    """The study of the reference model alone; None where the settings want none, or an arm is of its family.

    It is trained on as many images as the arm that sees the most, as far as its cost allows; its settings'
    ``evaluation_images`` limit validation.
    """
    settings, info = bound.settings, bound.info
    if not settings.reference_model or any(arm.family == AutoregressiveConfig().family for arm in bound.study.arms):
        return None
    # Each channel of an image takes a share of the hidden ones, of which the preset has fewer than some images.
    small = AutoregressiveConfig.presets["small"]
    width = max(small["hidden_channels"], info.image_shape[2])
    model = AutoregressiveConfig(**{**small, "hidden_channels": width})
    work = TRAINING_PASSES * model.size(info.image_shape, info.grey_levels).multiplications
    wanted = max(bound.base(arm).training.images for arm in bound.study.arms)
    images = max(1, min(wanted, int(MOST_MULTIPLICATIONS // work)))
    # Large images leave room for fewer in a batch than small ones, which have the arms' number.
    room = max(1, MOST_HIDDEN_VALUES // (info.image_shape[0] * info.image_shape[1] * width))
    validation = min(settings.evaluation_images or MOST_VALIDATION_IMAGES, MOST_VALIDATION_IMAGES)
    return replace(
        bound,
        study=Study(name="reference", question=bound.study.question, arms=(Arm(model, training=TRAINING),)),
        settings=settings.model_copy(
            update={
                "images": images,
                "epochs": None,
                "batch_size": min(settings.batch_size or TRAINING.batch_size, room),
                "seeds": 1,
                "evaluation_images": validation,
            }
        ),
    )
