"""How well a number separates two groups: the area under the ROC curve, with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.core.blocks import independent
from bench.core.sequences import Kind

Array = npt.NDArray[np.float64]


class Auroc(NamedTuple):
    """An area under a ROC curve and its standard error."""

    value: float
    standard_error: float


def auroc(higher: Array, lower: Array, kind: Kind = "image") -> Auroc:
    """P(a member of ``higher`` exceeds one of ``lower``), ties counted half.

    The statistic U of Mann and Whitney (1947) over m n; its standard error is that of DeLong et al. (1988, eqs. 5-8),
    from midranks (Sun & Xu 2014, section III). Of windows, which resemble their neighbours, both variances are over
    blocks (:func:`bench.core.blocks.independent`).

    Args:
        higher: values (m,), at least 2.
        lower: values (n,), at least 2.
        kind: what they are of; those of windows in the windows' order.
    """
    from scipy.stats import rankdata  # takes half a second to import, and trials do without

    m, n = len(higher), len(lower)
    ranks = rankdata(np.concatenate([higher, lower]))
    above = (ranks[:m] - rankdata(higher)) / n  # share of ``lower`` below each of ``higher``
    below = 1 - (ranks[m:] - rankdata(lower)) / m  # share of ``higher`` above each of ``lower``
    value = float(np.mean(above))
    above, below = independent(above, kind), independent(below, kind)
    error = np.sqrt(np.var(above, ddof=1) / len(above) + np.var(below, ddof=1) / len(below))
    return Auroc(value, float(error))
