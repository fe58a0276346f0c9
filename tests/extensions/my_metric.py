"""A metric of one's own: how grey a model's samples are beside held-out images."""

import numpy as np
from reparam_bench import EvaluationContext, register_metric


@register_metric(
    "grey_gap",
    label="Grey gap",
    unit="grey levels",
    higher_is_better=False,
    definition="Distance between the mean grey level of samples and that of held-out images.",
)
def grey_gap(context: EvaluationContext) -> float:
    """How far the samples' mean lies from the images' own."""
    return abs(float(np.mean(context.samples)) - float(np.mean(context.images)))
