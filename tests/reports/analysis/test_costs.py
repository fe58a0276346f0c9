"""What training and tuning cost, against attempts of which each cost is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reports.analysis.costs import IMAGES, JOULES, OPERATIONS, SECONDS, Costs, alone
from reports.analysis.curves import final_curves
from reports.analysis.results import Study


def points(builder, run, seconds, values=None):
    """A learning curve with an evaluation every 1,000 images, at these seconds."""
    builder.history(run, [2.0] * len(seconds) if values is None else values)
    for row, at in zip(builder.histories[-len(seconds) :], seconds, strict=True):
        row["seconds"] = at


def tuned(builder):
    """The cost of tuning the VAE of a study."""
    found = Costs(Study(builder.results()))
    return [found.of_tuning(cost, "vae") for cost in (IMAGES, SECONDS, OPERATIONS, JOULES)]


def test_tuning_counts_training_time_as_final_runs_do(empty):
    # Its wall time, of 80 s, has evaluation and measurement in it.
    points(empty, empty.run("vae", "search", number=0, seconds=80.0), [5.0, 10.0])
    assert tuned(empty)[1] == 10.0


def test_pruned_and_failed_attempts_are_on_the_bill(empty):
    points(empty, empty.run("vae", "search", number=0, seconds=11.0), [5.0, 10.0])
    points(empty, empty.run("vae", "search", "pruned", number=1, seconds=6.0), [5.0])
    empty.run("vae", "search", "failed", number=2, seconds=3.0)
    points(empty, empty.run("vae", "search", "diverged", number=3, seconds=7.0), [5.0], [np.nan])
    points(empty, empty.run("glow", "search", number=0, seconds=100.0), [5.0])
    points(empty, empty.run("vae", "final", seconds=1000.0), [5.0])
    assert tuned(empty)[:2] == [4000.0, 20.0]


def test_of_an_interrupted_attempt_only_its_training_counts_as_its_end_is_when_somebody_noticed(empty):
    points(empty, empty.run("vae", "search", "interrupted", number=0, seconds=90_000.0), [5.0])
    points(empty, empty.run("vae", "search", number=0, attempt=2, seconds=11.0), [4.0, 9.0])
    points(empty, empty.run("vae", "search", "running", number=1, seconds=np.nan), [4.0])
    # The second attempt began again, as its first evaluation shows.
    assert tuned(empty)[:2] == [4000.0, 5.0 + 9.0 + 4.0]


def test_an_attempt_that_continued_another_counts_from_there(empty):
    points(empty, empty.run("vae", "search", "interrupted", number=0, seconds=90_000.0), [5.0, 10.0])
    points(empty, empty.run("vae", "search", "interrupted", number=0, attempt=2, seconds=1.0), [5.0, 10.0, 15.0])
    points(empty, empty.run("vae", "search", number=0, attempt=3, seconds=8.0), [5.0, 10.0, 15.0, 20.0])
    assert tuned(empty)[:2] == [4000.0, 10.0 + 5.0 + 5.0]


def test_an_arm_that_was_not_tuned_cost_nothing_and_one_without_times_an_unknown_number_of_seconds(empty):
    points(empty, empty.run("vae", "final"), [5.0])
    assert tuned(empty) == [0.0] * 4
    points(empty, empty.run("vae", "search", number=0, seconds=np.nan), [np.nan])
    assert tuned(empty)[0] == 1000.0
    assert np.isnan(tuned(empty)[1])


def test_operations_are_known_of_every_run_of_a_shape_that_was_counted(empty):
    wide = {"param_latent_size": 8}
    points(empty, empty.run("vae", "search", number=0, param_learning_rate=0.1, **wide), [5.0])
    points(empty, empty.run("vae", "search", "pruned", number=1, param_learning_rate=0.2, **wide), [5.0])
    empty.run("glow", "final", param_flow_depth=3)
    empty.run("vae", "search", "failed", number=2, param_latent_size=2)  # it was never trained
    final = empty.run("vae", "final", param_learning_rate=0.1, **wide)
    points(empty, final, [5.0, 10.0])
    assert np.isnan(tuned(empty)[2])
    empty.measure(final, "cost", "operations_per_image", 100.0)
    # Three forward passes an image.
    assert tuned(empty)[2] == 2000 * 300
    study = Study(empty.results())
    (curve,) = final_curves(study, "vae")
    assert list(Costs(study).along(OPERATIONS, curve)) == [300_000.0, 600_000.0]
    points(empty, empty.run("vae", "search", "pruned", number=3, param_latent_size=2), [5.0])
    assert np.isnan(tuned(empty)[2])


def test_training_on_several_samples_costs_as_many_passes(empty):
    final = empty.run("vae", "final", param_training_samples=5)
    points(empty, final, [5.0])
    empty.measure(final, "cost", "operations_per_image", 100.0)
    study = Study(empty.results())
    assert list(Costs(study).along(OPERATIONS, final_curves(study, "vae")[0])) == [1000 * 5 * 300.0]


def test_energy_is_shared_out_over_training_time_and_known_where_it_was_measured(empty):
    final = empty.run("vae", "final")
    points(empty, final, [5.0, 20.0])
    search = empty.run("vae", "search", number=0)
    points(empty, search, [5.0])
    study = Study(empty.results())
    assert np.isnan(Costs(study).along(JOULES, final_curves(study, "vae")[0])).all()
    empty.measure(final, "cost", "training_joules", 1000.0, conditions="RAPL")
    study = Study(empty.results())
    assert list(Costs(study).along(JOULES, final_curves(study, "vae")[0])) == [250.0, 1000.0]
    assert np.isnan(tuned(empty)[3])
    empty.measure(search, "cost", "training_joules", 300.0, conditions="RAPL")
    assert tuned(empty)[3] == 300.0


def test_energy_by_different_meters_is_not_compared(empty):
    for arm, meter in (("vae", "RAPL"), ("glow", "NVML device 0")):
        run = empty.run(arm, "final")
        points(empty, run, [5.0])
        empty.measure(run, "cost", "training_joules", 1000.0, conditions=meter)
    assert Costs(Study(empty.results())).joules.empty


@pytest.mark.parametrize(
    ("cost", "value", "text"),
    [(IMAGES, 12_800.0, "12,800 images"), (SECONDS, 240.0, "4.00 min"), (OPERATIONS, 3e12, "3,000 G FLOP")],
)
def test_amounts_in_words(cost, value, text):
    assert cost.amount(value).replace("\u00a0", " ") == text


def test_each_seed_is_counted_with_the_start_of_the_run_that_compiled(empty):
    points(empty, empty.run("vae", "final", seed=0), [13.0, 14.0, 15.0])
    points(empty, empty.run("vae", "final", seed=1), [1.0, 2.0, 3.0])
    points(empty, empty.run("vae", "final", seed=2), [2.0])
    first, second, single = alone(Study(empty.results()), "vae")
    assert list(first.seconds) == list(second.seconds) == [13.0, 14.0, 15.0]
    assert list(single.seconds) == [2.0]  # of one evaluation the start is not known
    assert alone(Study(empty.results()), "glow") == []


def test_a_run_that_was_continued_is_counted_as_if_it_had_been_trained_in_one_go(empty):
    for attempt, begun in ((1, 0), (2, 2)):
        run = empty.run("vae", "final", seed=0, attempt=attempt, continued_from=begun, config_hash="a")
        points(empty, run, [3.0, 4.0, 25.0, 26.0][: 2 * attempt])
    points(empty, empty.run("vae", "final", seed=1, config_hash="a"), [1.0, 2.0, 3.0, 4.0])
    first, second = alone(Study(empty.results()), "vae")
    assert list(first.seconds) == list(second.seconds) == [3.0, 4.0, 5.0, 6.0]
