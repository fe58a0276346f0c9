"""A row of the raw data, and what rows come to: the best so far at each budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.benchmarks.peers.likelihood.works import OURS, LikelihoodWork


@dataclass(frozen=True)
class Row:
    """One evaluation of one run.

    Attributes:
        work: key of the work.
        side: ours or a peer.
        learning_rate: of the run.
        run_images: the run's budget.
        images: training images seen so far.
        seconds: of training steps so far.
        metric: ``bits_per_dim`` or ``nll_nats``.
        value: on validation; None in the closing row of a run that ended early.
        standard_error: over validation images.
        validation_images: that it was evaluated on.
        others: share of the processors' time that others took during the run.
        seed: of the run.
        configuration: of our side, what departs from the defaults; empty for a peer.
        backend: of Keras, or ``torch``.
        versions: of packages.
        commit: of the harness.
        note: why the run ended early.
    """

    work: str
    side: str
    learning_rate: float
    run_images: int
    images: int
    seconds: float
    metric: str
    value: float | None
    standard_error: float | None
    validation_images: int
    others: float
    seed: int
    configuration: str
    backend: str
    versions: str
    commit: str
    note: str


@dataclass(frozen=True)
class Best:
    """The best of a side within a budget, over its learning rates and its evaluations.

    Attributes:
        value: on validation.
        standard_error: over validation images.
        learning_rate: of the run that reached it.
        seconds: that this run had trained for by then.
    """

    value: float
    standard_error: float | None
    learning_rate: float
    seconds: float


def best_within(rows: Iterable[Row], side: str, images: float = float("inf"), seconds: float = float("inf")) -> Best:
    """The best of a side's evaluations after at most so many images and seconds.

    Raises:
        LookupError: it has none.
    """
    own = [row for row in rows if row.side == side and row.images <= images and row.seconds <= seconds]
    measured = [row for row in own if row.value is not None]
    if not measured:
        raise LookupError(f"{side} has no evaluation within {images} images and {seconds} s")
    best = min(measured, key=lambda row: row.value or 0.0)
    assert best.value is not None
    return Best(best.value, best.standard_error, best.learning_rate, best.seconds)


@dataclass(frozen=True)
class Comparison:
    """One budget of one work.

    Attributes:
        work: its key.
        images: the budget.
        sides: the best of each side that was measured.
        at_equal_seconds: by peer, our best within the seconds after which the peer reached its best; None where
            ours had no evaluation by then.
    """

    work: str
    images: int
    sides: dict[str, Best]
    at_equal_seconds: dict[str, Best | None]

    @property
    def peers(self) -> dict[str, Best]:
        """The sides that are not ours."""
        return {name: best for name, best in self.sides.items() if name != OURS}

    @property
    def best_peer(self) -> str:
        """The one with the lowest value."""
        return min(self.peers, key=lambda name: self.peers[name].value)


def compare(rows: Sequence[Row], key: str, work: LikelihoodWork) -> list[Comparison]:
    """The comparison at each budget; no budget is compared before ours and a peer were measured."""
    own = [row for row in rows if row.work == key and row.run_images in work.budgets]
    comparisons = []
    for images in work.budgets:
        sides = {}
        for side in work.sides:
            try:
                sides[side] = best_within(own, side, images)
            except LookupError:
                continue
        equal: dict[str, Best | None] = {}
        for side in (name for name in sides if name != OURS):
            try:
                equal[side] = best_within(own, OURS, seconds=sides[side].seconds)
            except LookupError:
                equal[side] = None
        if OURS in sides and equal:
            comparisons.append(Comparison(key, images, sides, equal))
    return comparisons
