"""How the trials of an arm ended of which none completed, in words, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.core.results import RunState

ADVICE = {
    RunState.DIVERGED: "against divergence sweep lower learning rates, or set rescues=2 or a smaller clip_norm in the "
    "arm's training",
    RunState.PRUNED: "--pruner none lets all trials end",
    RunState.OUT_OF_MEMORY: "a smaller batch_size or smaller models take less memory",
    RunState.FAILED: "the traceback of a failed trial is the artifact traceback.txt of its MLflow run, or in the log "
    "of its process",
}
"""What to change, by how trials ended."""


def none_completed(arm: str, ends: Sequence[tuple[str, str]], kind: str = "trial") -> str:
    """That no trial of an arm completed, how many ended how, the reason of the last one, and what to change.

    Args:
        arm: the arm's name.
        ends: state and reason of each trial that ended, in the order in which they did.
        kind: what they are, if no trials.
    """
    states = Counter(state for state, _ in ends).most_common()
    counted = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in states)
    reason = ends[-1][1]
    last = f"; the last one by: {reason}" if reason else ""
    advice = "; ".join(ADVICE[RunState(state)] for state, _ in states if state in ADVICE)
    what = f"none of the {len(ends)} {arm} {kind}s completed" if len(ends) > 1 else f"no {arm} {kind} completed"
    return f"{what} ({counted}{last})" + (f": {advice}" if advice else "")
