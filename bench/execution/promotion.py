"""Which of the trials that a person promotes are stopped at a rung, so that the search can continue them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.core.errors import SettingsError
from bench.search.queue import Attempt
from bench.search.sampler import Search
from bench.study.definition import HALVING
from bench.study.promotion import Promotion


def new_promotions(
    searches: Mapping[str, Search], wanted: Sequence[Promotion]
) -> tuple[dict[str, dict[int, int]], list[str]]:
    """What a search does not know yet of the promotions that are wanted.

    Args:
        searches: by arm.
        wanted: the trials.

    Returns:
        By arm and number the evaluation at which each trial that is to be continued was stopped, and lines about the
        others, for which nothing is to be done.

    Raises:
        SettingsError: a trial has not come to a rung, or nothing continues it as it ended; or trials do not halve.
    """
    found: dict[str, dict[int, int]] = {}
    lines = []
    for each in wanted:
        search = searches[each.arm]
        if not search.halves:
            raise SettingsError(
                f"promote={str(each)!r}: your own pruner stops no trial at a rung, from which it could be continued; "
                f"pruner={HALVING!r} does that"
            )
        attempts = search.attempts()
        settled = {attempt.number: attempt for attempt in attempts if attempt.counts}
        last = settled.get(each.number)
        if last is None:
            begun = any(attempt.number == each.number for attempt in attempts)
            problem = "it has not come to a rung yet" if begun else "there is no such trial"
            raise SettingsError(f"promote={str(each)!r}: {problem}; {_stopped(settled)}")
        if last.is_out and each.number in search.promoted:
            lines.append(f"{each} was promoted before, and ended since: {last.state}, {last.reason}")
        elif last.is_out:
            raise SettingsError(
                f"promote={str(each)!r}: nothing continues it, as it ended: {last.state}, {last.reason}; "
                f"{_stopped(settled)}"
            )
        elif last.reached >= search.evaluations:
            lines.append(f"{each} is trained to the whole budget already")
        elif each.number not in search.promoted:
            found.setdefault(each.arm, {})[each.number] = last.reached
    return found, lines


def describe_promotion(name: str, number: int, stopped: int, has_checkpoint: bool) -> str:
    """What becomes of a trial that is promoted and was stopped at an evaluation."""
    how = "continues from its checkpoint" if has_checkpoint else "begins again, as no checkpoint of it is here"
    return f"{name}:{number} is promoted by hand: it was stopped at evaluation {stopped}, and {how}"


def promotions_left(searches: Mapping[str, Search]) -> list[str]:
    """The trials that are promoted by hand, and not yet trained to the whole budget."""
    found = [
        (name, number, each, search.evaluations)
        for name, search in searches.items()
        if (promoted := search.promoted)
        for number, each in sorted(search.settled().items())
        if number in promoted
    ]
    return [f"{name}:{number}" for name, number, each, whole in found if each.reached < whole and not each.is_out]


def _stopped(settled: Mapping[int, Attempt]) -> str:
    """Which trials can be promoted."""
    numbers = sorted(number for number, each in settled.items() if each.stopped_at is not None)
    return f"stopped at a rung: {', '.join(map(str, numbers))}" if numbers else "none is stopped at a rung"
