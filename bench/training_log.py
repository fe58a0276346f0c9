"""What training leaves beside the model: its learning curve and its times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from bench.results import EpochRecord


@dataclass(frozen=True)
class TrainingLog:
    """The learning curve of one training and its times, over all processes that took part in it.

    Attributes:
        records: one for each look at validation.
        epoch_seconds: seconds of each epoch's training steps, validation excluded.
        images_per_epoch: training images in an epoch.
        starts: the epochs, counted from 0, with which a process began to train: the first is 0, and one more for each
            time that training was continued from a checkpoint. Their programs had to be compiled.
    """

    records: list[EpochRecord]
    epoch_seconds: list[float]
    images_per_epoch: int
    starts: list[int] = field(default_factory=lambda: [0])

    @property
    def seconds(self) -> float:
        """Seconds from the first step to the last look at validation, those between processes left out."""
        return self.records[-1].seconds if self.records else 0.0

    @property
    def was_continued(self) -> bool:
        """Whether more than one process took part."""
        return len(self.starts) > 1

    @property
    def compile_seconds(self) -> float:
        """What the first epoch took beyond the median of warm ones: tracing and compiling, where it had to."""
        return max(0.0, self.epoch_seconds[0] - float(np.median(self._warm_epoch_seconds())))

    def images_per_second(self) -> npt.NDArray[np.float64]:
        """Training speed of each warm epoch: of all but those with which a process began."""
        return self.images_per_epoch / np.asarray(self._warm_epoch_seconds())

    def continued(self) -> TrainingLog:
        """The log as a process that trains on from its end begins it."""
        return replace(self, starts=[*self.starts, len(self.records)])

    def _warm_epoch_seconds(self) -> list[float]:
        warm = [seconds for epoch, seconds in enumerate(self.epoch_seconds) if epoch not in self.starts]
        return warm or self.epoch_seconds
