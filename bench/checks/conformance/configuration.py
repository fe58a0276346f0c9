"""Checks of a model's configuration."""

from __future__ import annotations

import json
import math

from bench.checks.conformance.outcome import FailedError, SkippedError
from bench.checks.conformance.subject import Subject


def size_is_that_of_the_model(subject: Subject) -> str:
    """``size()`` counts the trainable weights of the built model."""
    for model in (subject.small, subject.countable):
        size = subject.config.size(model.image_shape, model.grey_levels)
        if size is None:
            raise SkippedError("the configuration states no size(): a dry run cannot estimate the time")
        built = sum(math.prod(weight.shape) for weight in model.trainable_variables)
        if size.parameters != built:
            shape = "x".join(map(str, model.image_shape))
            raise FailedError(f"size() says {size.parameters:,} parameters on {shape} images, the model has {built:,}")
        if size.multiplications <= 0:
            raise FailedError(f"size() says {size.multiplications} multiplications")
    return f"{built:,} parameters"


def configuration_survives_storage(subject: Subject) -> str:
    """A configuration is the same after JSON, from which workers and loaded models take it, and cannot be changed."""
    from models.base.registry import parse_config

    config = subject.config
    if parse_config(json.loads(config.model_dump_json())) != config:
        raise FailedError("the configuration changes when it is stored as JSON")
    if not type(config).model_config.get("frozen"):
        raise FailedError("the configuration can be changed after it is made: keep ModelConfig's frozen=True")
    return f"{len(type(config).model_fields) - 1} settings"
