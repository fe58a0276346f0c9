"""The one place where nats become bits per dimension."""

from __future__ import annotations

import math
from typing import Any


def bits_per_dim(log_prob: Any, dimensions: int) -> Any:
    """-log P(x) / (D ln 2), from a log-probability in nats per image of D dimensions.

    P is the probability of the *discrete* image; a lower bound on log P gives an upper bound on bits/dim.
    A uniform distribution over Q grey levels has exactly log2 Q bits/dim.
    """
    return -log_prob / (dimensions * math.log(2.0))
