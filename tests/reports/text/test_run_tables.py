"""The runs one by one: stability by learning rate."""

from __future__ import annotations

from bench.core.results import RunState
from reports.analysis.results import Study
from reports.text import run_tables
from tests.reports.conftest import texts


def test_each_half_decade_of_the_learning_rate_counts_its_ends(empty):
    trials = [
        (1.1e-3, RunState.COMPLETE, 2.0),
        (2.9e-3, RunState.COMPLETE, 2.2),
        (3.0e-3, RunState.PRUNED, None),
        (0.5, RunState.DIVERGED, None),
        (0.9, RunState.OUT_OF_MEMORY, None),
        (0.8, RunState.COMPLETE, 3.5),
        (-1.0, RunState.FAILED, None),
    ]
    for number, (rate, state, value) in enumerate(trials):
        run = empty.run("vae", "search", state, number=number, param_learning_rate=rate)
        if value is not None:
            empty.measure(run, "validation", "bits_per_dim", value)
    table = run_tables.learning_rate_stability(Study(empty.results()), "vae")
    assert table is not None
    assert texts(table) == [
        ["1.0e-03 to 3.2e-03", "3", "2", "1", "0", "0", "0.100"],
        ["3.2e-01 to 1.0e+00", "3", "1", "0", "2", "1.50", "1.50"],
    ]
    assert run_tables.learning_rate_stability(Study(empty.results(swept={"vae": ["latent_size"]})), "vae") is None


def test_rescued_trials_are_counted_by_learning_rate_where_trials_may_be_rescued(empty):
    trials = [
        (1.1e-3, RunState.COMPLETE, 0),
        (0.5, RunState.COMPLETE, 2),
        (0.9, RunState.PRUNED, 1),
        (0.7, RunState.DIVERGED, 1),
        (0.8, RunState.DIVERGED, None),  # before its first evaluation
        (0.8, RunState.COMPLETE, 0),
    ]
    for number, (rate, state, times) in enumerate(trials):
        run = empty.run("vae", "search", state, number=number, param_learning_rate=rate)
        if state == RunState.COMPLETE:
            empty.measure(run, "validation", "bits_per_dim", 2.0)
        if times is not None:
            empty.measure(run, "cost", "rescues", times)
    table = run_tables.learning_rate_stability(Study(empty.results()), "vae")
    assert table is not None
    assert table.columns[-1] == "Rescued"
    assert [row[-1] for row in texts(table)] == ["0", "3"]
