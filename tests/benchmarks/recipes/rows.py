"""A row of the raw data of `make benchmark-recipes`."""

from __future__ import annotations

from dataclasses import dataclass

FINISHED, DIVERGED = "finished", "diverged"
"""In place of a metric: the closing row of a case."""


@dataclass(frozen=True)
class Row:
    """One evaluation of one case, or its closing row.

    Attributes:
        group: of the case.
        case: its name.
        side: always ours here, as in older tables that held peers too.
        data: name of the data set.
        images_seen: training images so far.
        seconds: since training began, compilation and evaluations included.
        metric: ``bits_per_dim`` or ``nll_nats``; ``finished`` or ``diverged`` in the closing row.
        value: on validation; None in the closing row.
        standard_error: over validation images.
        validation_images: that it was evaluated on.
        seed: of the case.
        commit: of the harness.
        backend: of Keras.
        configuration: what departs from the defaults, as JSON.
    """

    group: str
    case: str
    side: str
    data: str
    images_seen: int
    seconds: float
    metric: str
    value: float | None
    standard_error: float | None
    validation_images: int
    seed: int
    commit: str
    backend: str
    configuration: str

    @property
    def case_and_data(self) -> tuple[object, ...]:
        """What no two cases share."""
        return self.group, self.case, self.data, self.seed

    @property
    def identity(self) -> tuple[object, ...]:
        """What two measurements share only if one of them suffices."""
        return *self.case_and_data, self.side, self.validation_images, self.backend, self.configuration

    @property
    def closes(self) -> bool:
        """Whether it is a closing row."""
        return self.metric in (FINISHED, DIVERGED)
