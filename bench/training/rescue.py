"""Takes training that diverged back to its last evaluation, from which it continues at a lower learning rate."""

from __future__ import annotations

from bench.core.errors import DivergedError
from bench.study.config import TrainingConfig
from bench.training.early_stopping import REDUCTION, decide
from bench.training.history import TrainingLog
from bench.training.kept_state import KeptState, all_variables
from models.base.likelihood_model import LikelihoodModel


def base_rate(config: TrainingConfig, log: TrainingLog, rescues: int) -> float:
    """The highest learning rate of the schedule after the plateaus of a training and so many rescues.

    Rescues lower it by the factor that plateaus do. A third, and not a half, as a rescue costs up to an interval: three
    of them go down by more than a decade, about as far as a sweep of the rate goes.
    """
    return config.learning_rate * REDUCTION ** (decide(log.validation, config).reductions + rescues)


class Rescue:
    """Keeps the state of the last evaluation, or of the start before the first one, and goes back to it.

    The state is that of a checkpoint: weights, their average, moments, the step of the schedule, the seed generators.
    The interval is repeated on the same images in the same order, and with the same noise, so that it is that of a
    training which took the lower rate from there, wherever in the interval the host noticed the divergence.

    Args:
        model: the model that trains, with a built optimizer.
        config: how it is trained.
        log: its log so far.
    """

    def __init__(self, model: LikelihoodModel, config: TrainingConfig, log: TrainingLog) -> None:
        self.count = log.rescues
        self._model = model
        self._config = config
        self._log = log
        self._last = KeptState(all_variables(model))

    def keep(self) -> None:
        """Keep the state as it is now, if there is a rescue left that may need it."""
        if self.count < self._config.rescues:
            self._last.capture()

    def go_back(self, error: DivergedError) -> str:
        """Restore the state that was kept, and lower the learning rate.

        Args:
            error: how training diverged.

        Returns:
            What happened, in a line.

        Raises:
            DivergedError: no rescue is left.
        """
        allowed = self._config.rescues
        if not allowed:
            raise error
        if self.count == allowed:
            raise DivergedError(f"{error}, after {allowed} rescue{'' if allowed == 1 else 's'}") from error
        self.count += 1
        self._last.restore()
        rate = base_rate(self._config, self._log, self.count)
        self._model.optimizer.base_rate.assign(rate)
        done = len(self._log.records)
        where = f"from evaluation {done} on" if done else "from the start"
        return f"{error}: rescue {self.count} of {allowed}, {where} at the learning rate {rate:.3g}"
