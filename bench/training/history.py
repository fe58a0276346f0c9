"""What training leaves beside the model: its learning curve and its times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from bench.core.results import EvaluationRecord

VALIDATION = "validation/bits_per_dim"
"""The metric of an evaluation that chooses among evaluations and trials."""
CLIPPED = "train/clipped"


@dataclass(frozen=True)
class TrainingLog:
    """The learning curve of one training and its times, over all processes that took part in it.

    Attributes:
        records: one for each evaluation on validation.
        interval_seconds: seconds of the training steps before each evaluation, the evaluation excluded.
        images_per_interval: training images between two evaluations.
        starts: the intervals, counted from 0, with which a process began to train: the first is 0, and one more each
            time that training was continued from a checkpoint. Their programs had to be compiled.
    """

    records: list[EvaluationRecord]
    interval_seconds: list[float]
    images_per_interval: int
    starts: list[int] = field(default_factory=lambda: [0])

    @property
    def seconds(self) -> float:
        """Seconds from the first step to the last look at validation, those between processes left out."""
        return self.records[-1].seconds if self.records else 0.0

    @property
    def validation(self) -> list[float]:
        """The validation value of each evaluation, by which the best is chosen: its one-sample bound in bits/dim."""
        return [record.values[VALIDATION] for record in self.records]

    @property
    def best(self) -> EvaluationRecord:
        """The evaluation whose weights the training left: the first of those with the lowest validation value.

        Raises:
            ValueError: nothing was evaluated yet.
        """
        return min(self.records, key=lambda record: record.values[VALIDATION])

    @property
    def clipped_share(self) -> float | None:
        """Share of the steps whose gradient was clipped; None where none is ever clipped."""
        shares = [record.values[CLIPPED] for record in self.records if CLIPPED in record.values]
        return float(np.mean(shares)) if shares else None

    @property
    def was_continued(self) -> bool:
        """Whether more than one process took part."""
        return len(self.starts) > 1

    @property
    def compile_seconds(self) -> float:
        """What the first interval took beyond the median of warm ones: tracing and compiling, where it had to."""
        return max(0.0, self.interval_seconds[0] - float(np.median(self._warm_interval_seconds())))

    def images_per_second(self) -> npt.NDArray[np.float64]:
        """Training speed of each warm interval: of all but those with which a process began."""
        return self.images_per_interval / np.asarray(self._warm_interval_seconds())

    def continued(self) -> TrainingLog:
        """The log as a process that trains on from its end begins it."""
        return replace(self, starts=[*self.starts, len(self.records)])

    def _warm_interval_seconds(self) -> list[float]:
        warm = [seconds for interval, seconds in enumerate(self.interval_seconds) if interval not in self.starts]
        return warm or self.interval_seconds
