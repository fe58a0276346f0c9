"""Importances find the parameter that a simulated study depends on."""

from __future__ import annotations

import numpy as np
import pytest

from bench.core.results import RunState
from reports.analysis.importance import FEWEST_TRIALS, importances
from reports.analysis.results import Study


def sweep(builder, trials, value):
    rng = np.random.default_rng(0)
    for number in range(trials):
        rate, size = float(10 ** rng.uniform(-4, -2)), int(rng.choice([2, 4, 8, 16]))
        activation = str(rng.choice(["relu", "tanh"]))
        run = builder.run(
            "vae",
            "search",
            number=number,
            param_learning_rate=rate,
            param_latent_size=size,
            param_activation=activation,
        )
        builder.measure(run, "validation", "bits_per_dim", value(rate, size, activation))
    return Study(builder.results(swept={"vae": ["learning_rate", "latent_size", "activation"]}))


@pytest.mark.parametrize(
    ("value", "parameter"),
    [
        (lambda rate, size, activation: np.log10(rate) ** 2, "learning_rate"),
        (lambda rate, size, activation: 1 / size, "latent_size"),
        (lambda rate, size, activation: float(activation == "tanh"), "activation"),
    ],
)
def test_all_the_variation_is_put_down_to_the_parameter_that_makes_it(empty, value, parameter):
    (found,) = importances(sweep(empty, 40, value))
    assert found.trials == 40
    assert found.shares["parameter"][0] == parameter
    assert found.shares["share"][0] > 0.9
    assert found.shares["share"].sum() == pytest.approx(1)
    assert (found.shares["low"] <= found.shares["share"]).all()
    assert (found.shares["share"] <= found.shares["high"]).all()


def test_nothing_is_said_of_few_trials_or_of_one_parameter(empty, study):
    assert importances(sweep(empty, FEWEST_TRIALS - 1, lambda rate, size, activation: rate)) == []
    one = study({"vae": [2.3]})
    assert importances(Study(one.results(swept={"vae": ["learning_rate"]}))) == []
    for row in one.runs:
        row["state"] = str(RunState.PRUNED)
    assert importances(Study(one.results())) == []


def test_a_parameter_that_depends_on_another_is_left_out(empty):
    rng = np.random.default_rng(0)
    for number in range(40):
        known = {"param_learning_rate": float(rng.uniform()), "param_latent_size": int(rng.choice([2, 4, 8]))}
        known |= {"param_momentum": float(rng.uniform())} if number % 2 else {}
        run = empty.run("vae", "search", number=number, **known)
        empty.measure(run, "validation", "bits_per_dim", known["param_learning_rate"])
    swept = {"vae": ["learning_rate", "latent_size", "momentum"]}
    (found,) = importances(Study(empty.results(swept=swept)))
    assert set(found.shares["parameter"]) == {"learning_rate", "latent_size"}
    assert found.trials == 40
