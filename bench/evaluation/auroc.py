"""How well a number separates two groups: the area under the ROC curve, with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Auroc(NamedTuple):
    """An area under a ROC curve and its standard error."""

    value: float
    standard_error: float


def auroc(higher: Array, lower: Array) -> Auroc:
    """P(a member of ``higher`` exceeds one of ``lower``), ties counted half.

    The statistic U of Mann and Whitney (1947) over m n; its standard error is that of DeLong et al. (1988, eqs. 5-8),
    from midranks (Sun & Xu 2014, section III).

    Args:
        higher: values (m,), at least 2.
        lower: values (n,), at least 2.
    """
    from scipy.stats import rankdata  # takes half a second to import, and trials do without

    m, n = len(higher), len(lower)
    ranks = rankdata(np.concatenate([higher, lower]))
    above = (ranks[:m] - rankdata(higher)) / n  # share of ``lower`` below each of ``higher``
    below = 1 - (ranks[m:] - rankdata(lower)) / m  # share of ``higher`` above each of ``lower``
    error = np.sqrt(np.var(above, ddof=1) / m + np.var(below, ddof=1) / n)
    return Auroc(float(np.mean(above)), float(error))
