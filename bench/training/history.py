"""The learning curve and the times of a training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bench.core.results import EvaluationRecord

VALIDATION = "validation/bits_per_dim"
"""The metric by which evaluations and trials are chosen."""
CLIPPED = "train/clipped"
RESCUES = "train/rescues"
"""The number of rescues so far, at each evaluation of a training that may be rescued."""


@dataclass(frozen=True)
class TrainingLog:
    """The learning curve and the times of one training, over all processes that took part in it.

    Attributes:
        records: one per evaluation on validation.
        interval_seconds: seconds of the training steps before each evaluation, without the evaluation; with all that a
            rescue took back.
        images_per_interval: training images between two evaluations.
        starts: the intervals, from 0, with which a process began: 0, and one more each time that training resumed from
            a checkpoint. They include compilation.
    """

    records: list[EvaluationRecord]
    interval_seconds: list[float]
    images_per_interval: int
    starts: list[int] = field(default_factory=lambda: [0])

    @property
    def seconds(self) -> float:
        """Seconds from the first step to the last evaluation, without those between processes."""
        return self.records[-1].seconds if self.records else 0.0

    @property
    def validation(self) -> list[float]:
        """The one-sample bound of each evaluation, in bits/dim, by which the best one is chosen."""
        return [record.values[VALIDATION] for record in self.records]

    @property
    def best(self) -> EvaluationRecord:
        """The first evaluation with the lowest validation value; the model ends with its weights.

        Raises:
            ValueError: nothing was evaluated yet.
        """
        return min(self.records, key=lambda record: record.values[VALIDATION])

    @property
    def clipped_share(self) -> float | None:
        """Share of the steps whose gradient was clipped; None without a clip norm."""
        shares = [record.values[CLIPPED] for record in self.records if CLIPPED in record.values]
        return float(np.mean(shares)) if shares else None

    @property
    def rescues(self) -> int:
        """How often training was rescued up to the last evaluation."""
        return int(self.records[-1].values.get(RESCUES, 0)) if self.records else 0

    @property
    def was_continued(self) -> bool:
        """Whether more than one process took part."""
        return len(self.starts) > 1

    @property
    def compile_seconds(self) -> float:
        """Seconds of the first interval beyond the median of warm ones: tracing and compiling.

        0 where it was rescued, as what was repeated is in it too.
        """
        if 0 in self._rescued_intervals():
            return 0.0
        return max(0.0, self.interval_seconds[0] - float(np.median(self._warm_interval_seconds())))

    def images_per_second(self) -> npt.NDArray[np.float64]:
        """Training speed of each warm interval; those with which a process began, or with rescues, are left out."""
        return self.images_per_interval / np.asarray(self._warm_interval_seconds())

    def continued(self) -> TrainingLog:
        """The log for a process that resumes training from its end."""
        return replace(self, starts=[*self.starts, len(self.records)])

    def _rescued_intervals(self) -> list[int]:
        rescues = pairwise([0.0, *(record.values.get(RESCUES, 0.0) for record in self.records)])
        return [interval for interval, (before, after) in enumerate(rescues) if after > before]

    def _warm_interval_seconds(self) -> list[float]:
        cold = {*self.starts, *self._rescued_intervals()}
        warm = [seconds for interval, seconds in enumerate(self.interval_seconds) if interval not in cold]
        return warm or self.interval_seconds
