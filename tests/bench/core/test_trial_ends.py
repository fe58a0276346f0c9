"""What is said of an arm of which no trial completed fits the reasons that occurred, and no others."""

from __future__ import annotations

import pytest

from bench.core.trial_ends import none_completed

WORDS = {
    "diverged": "against divergence sweep lower learning rates, or set rescues=2 or a smaller clip_norm",
    "pruned": "--pruner none lets all trials end",
    "out_of_memory": "a smaller batch_size or smaller models take less memory",
    "failed": "the traceback of a failed trial is the artifact traceback.txt of its MLflow run",
}


@pytest.mark.parametrize("state", WORDS)
def test_the_advice_is_that_of_the_one_reason(state):
    said = none_completed("vae", [(state, "first"), (state, "last")])
    counted = f"2 {state.replace('_', ' ')}; the last one by: last"
    assert said.startswith(f"none of the 2 vae trials completed ({counted}): {WORDS[state]}")
    assert [name for name, words in WORDS.items() if words in said] == [state]


def test_several_reasons_are_counted_the_most_frequent_first():
    said = none_completed("vae", [("pruned", "slow"), ("diverged", "nan"), ("diverged", "")])
    assert said.startswith(f"none of the 3 vae trials completed (2 diverged, 1 pruned): {WORDS['diverged']}")
    assert said.endswith(f"; {WORDS['pruned']}")


def test_a_state_of_another_version_is_counted_without_advice():
    assert none_completed("vae", [("melted", "heat")]) == "no vae trial completed (1 melted; the last one by: heat)"
