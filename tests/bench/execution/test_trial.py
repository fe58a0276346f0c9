"""Real runs: what one leaves, what it may see, and that a study's search sees nothing of the test split."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import weakref
from dataclasses import replace
from types import FunctionType, ModuleType

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

import bench.evaluation.metrics
import bench.execution.trial
import bench.execution.worker
from bench.core.errors import DivergedError, PrunedError, StoppedAtRungError
from bench.core.metrics import METRICS
from bench.core.results import TABLES
from bench.core.seeds import derive_seed
from bench.data.dataset import Dataset, Split
from bench.evaluation.likelihood import log_likelihood
from bench.evaluation.programs import OutsideData
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.reading.model_runs import load_model_file
from bench.tracking.reading.reader import load_results
from bench.training.checkpoint import Checkpoint
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

TRAINING = TrainingConfig(batch_size=64, images=64, evaluations=1)


def config_of(model, tuning):
    return RunConfig(model=model, training=TRAINING, dataset_digest=tuning.digest, backend=os.environ["KERAS_BACKEND"])


LIKELIHOOD = {f"test/{name}" for name in ("bits_per_dim", "nll_nats", "elbo_nats", "effective_sample_size")}
OUTSIDE = {f"out_of_distribution/{name}" for name in ("bits_per_dim", "nll_nats", "auroc")}
SCORES = ("frechet_distance", "frechet_distance_infinity", "kid", "precision", "recall", "density", "coverage")
QUALITY = {f"quality/{name}{suffix}" for name in SCORES for suffix in ("", "_floor")} | {
    "quality/data_copying",
    "quality/non_finite_samples",
}
SPEEDS = {f"throughput/{name}_images_per_second" for name in ("train", "evaluate", "sample")} | {
    f"throughput/sample_latency_p{percentile}_seconds" for percentile in (50, 95, 99)
}
COSTS = {
    f"cost/{name}"
    for name in (
        "parameters",
        "operations_per_image",
        "peak_fraction",
        "training_seconds",
        "first_interval_seconds",
        "training_compile_seconds",
        "evaluation_compile_seconds",
        "peak_memory_bytes",
        "best_images",
        "clipped_share",
    )
}
EXPECTED = LIKELIHOOD | OUTSIDE | QUALITY | SPEEDS | COSTS | {"validation/selection_optimism"}
LATENT = {f"diagnostics/{name}" for name in ("kl_nats", "active_units", "collapsed_share")}
FLOW = {f"diagnostics/{name}" for name in ("round_trip_error", "condition_number", "outside_share")}


def noise(n):
    return np.random.default_rng(0).integers(0, 17, (n, 8, 8, 1), dtype=np.uint8)


VAE, GLOW = VAEConfig(hidden_sizes=(8,), latent_size=2), GlowConfig(levels=1, flow_depth=1, hidden_channels=4)


@pytest.mark.backend
def test_a_trial_leaves_validation_figures_costs_and_pictures_and_nothing_of_test(tuning):
    outcome = bench.execution.trial.run_trial(config_of(VAE, tuning), tuning, 0, 2, lambda record: None)
    keys = [row.key for row in outcome.measurements]
    assert keys[:2] == ["validation/bits_per_dim", "validation/nll_nats"]
    assert not any(key.startswith(("test/", "quality/")) for key in keys)
    assert {"throughput/train_images_per_second", "cost/parameters", "cost/peak_memory_bytes"} < set(keys)
    assert {"validation/selection_optimism", "cost/best_images", "cost/clipped_share"} < set(keys)
    assert bench.execution.trial.validation_bits_per_dim(outcome) == outcome.measurements[0].value
    assert [picture.kind for picture in outcome.pictures] == ["samples", "reconstructions"]
    assert all(picture.png.startswith(b"\x89PNG") for picture in outcome.pictures)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("model", "own"),
    [(VAE, ["reconstructions", "interpolations"]), pytest.param(GLOW, [], marks=pytest.mark.slow_on_jax)],
)
def test_a_final_run_leaves_everything_that_is_measured(digits, protocol, model, own):
    tuning, progress = digits.tuning, []
    outcome = bench.execution.trial.run_final(
        config_of(model, tuning),
        tuning,
        digits.open_test(),
        0,
        protocol(2, outside=OutsideData("noise", noise(64), "0" * 64)),
        lambda record: None,
        lambda *p: progress.append(p),
    )
    found = {row.key for row in outcome.measurements}
    family = FLOW if model is GLOW else LATENT
    assert not (EXPECTED | family) - found
    # A processor has no device memory, and its energy may be read by few.
    assert not found - EXPECTED - family - {"cost/training_joules", "cost/peak_device_memory_bytes"}
    assert len(outcome.measurements) == len(found)
    assert all(row.metric in METRICS and np.isfinite(row.value) for row in outcome.measurements)
    assert {picture.kind for picture in outcome.pictures} == {"data", "samples", "temperatures", "neighbours", *own}
    # Two weights of each of 64 images, and one more at the only share of the budget.
    assert progress[-1] == (192, 192)
    assert [done for done, _ in progress] == sorted({done for done, _ in progress})
    assert {total for _, total in progress} == {192}
    assert {name: list(table) for name, table in outcome.tables.items()} == {
        name: TABLES[name]
        for name in (
            "likelihood_by_image",
            "bound_by_samples",
            "budgets",
            "convolutions" if model is GLOW else "latents",
        )
    }
    assert outcome.unavailable == {}
    speeds = [row for row in outcome.measurements if row.split == "throughput"]
    assert all(re.search(r"^batch \d+, float32, \w+ on \w+:\d$", row.conditions) for row in speeds)


@pytest.fixture(scope="module")
def finished(start, tiny_study, digits, tmp_path_factory):
    """A tiny study, trained in earnest."""
    runner = start(small(tiny_study), digits, tmp_path_factory.mktemp("finished"), **SMALL)
    runner.run(digits)
    return runner


SMALL = {"images": 128, "batch_size": 64}


def small(tiny_study):
    """The arms as other tests here train them, of one shape each: compiling takes most of a tiny study's time."""
    arms = [
        replace(arm, model=model, sweep={"learning_rate": arm.sweep["learning_rate"]})
        for arm, model in zip(tiny_study.arms, (VAE, GLOW), strict=True)
    ]
    return replace(tiny_study, arms=tuple(arms))


def results_of(runner):
    return load_results(runner.bound.settings.tracking, runner.bound.study_id)


def test_a_finished_study_has_a_row_for_everything(finished):
    results = results_of(finished)
    assert results.runs.groupby(["role", "arm", "state"]).size().to_dict() == {
        ("final", "glow", "complete"): 1,
        ("final", "vae", "complete"): 1,
        ("search", "glow", "complete"): 2,
        ("search", "vae", "complete"): 2,
    }
    assert results.measurements.groupby("role")["split"].unique().map(set).to_dict() == {
        "search": {"validation", "throughput", "cost"},
        "final": {"test", "diagnostics", "throughput", "cost", "quality", "validation"},
    }
    likelihoods = results.measurements.query("metric == 'bits_per_dim'")
    assert likelihoods["monte_carlo_error"].notna().all()
    assert likelihoods[["standard_error", "n", "bound", "importance_samples", "dequantisation"]].notna().all(axis=None)
    assert set(likelihoods.query("split == 'test'")["importance_samples"]) == {4}
    assert results.histories.groupby("run_id").size().tolist() == [4] * 6
    kinds = {(grid.arm, grid.kind) for grid in results.images}
    assert kinds == {(f, k) for f in ("vae", "glow") for k in ("data", "samples", "temperatures", "neighbours")} | {
        ("vae", "reconstructions"),
        ("vae", "interpolations"),
    }
    finals = results.runs.query("role == 'final'")
    assert {name: set(table["run_id"]) for name, table in results.tables.items()} == {
        "likelihood_by_image": set(finals["run_id"]),
        "bound_by_samples": set(finals["run_id"]),
        "budgets": set(finals["run_id"]),
        "latents": set(finals.query("family == 'vae'")["run_id"]),
        "convolutions": set(finals.query("family == 'glow'")["run_id"]),
    }
    by_image = results.tables["likelihood_by_image"].groupby("run_id")["bound_nats"].mean()
    logged = results.measurements.query("split == 'test' and metric == 'nll_nats'").set_index("run_id")["value"]
    np.testing.assert_allclose(-by_image.loc[logged.index], logged, rtol=1e-12)
    assert results.provenance["backend"] == finished.bound.settings.backend


def test_the_selected_trial_is_the_best_on_validation_and_its_configuration_is_the_final_one(finished):
    results = results_of(finished)
    client = MlflowClient(tracking_uri=finished.bound.settings.tracking)
    selected = json.loads(client.get_run(finished.parent.run_id).data.tags["reparam.selected"])
    validation = results.measurements.query("split == 'validation' and metric == 'bits_per_dim'")
    for arm, chosen in selected.items():
        rows = validation[validation["arm"] == arm]
        best = rows.loc[rows["value"].idxmin()]
        assert (chosen["number"], chosen["config_hash"]) == (best["trial"], best["config_hash"])
        finals = results.runs.query("role == 'final' and arm == @arm")
        assert set(finals["config_hash"]) == {chosen["config_hash"]}


def test_a_model_kept_by_a_final_run_has_the_likelihood_that_was_logged(finished, digits, tmp_path):
    import keras

    results, uri = results_of(finished), finished.bound.settings.tracking
    for run_id in results.runs.query("role == 'final'")["run_id"]:
        model = keras.saving.load_model(load_model_file(uri, run_id, tmp_path))
        assert not model.compiled
        found = log_likelihood(model, digits.open_test().images, 4, derive_seed("test")).measurements("test")[0]
        logged = results.measurements.query("run_id == @run_id and split == 'test' and metric == 'bits_per_dim'").iloc[
            0
        ]
        assert (found.value, found.standard_error) == pytest.approx(
            (logged["value"], logged["standard_error"]), rel=1e-6
        )


def test_the_search_is_bitwise_the_same_whatever_the_test_split_holds(
    finished, start, tiny_study, digits, tmp_path, monkeypatch
):
    garbage = np.random.default_rng(0).integers(0, 17, digits.open_test().images.shape, dtype=np.uint8)
    tuning = digits.tuning
    other = Dataset(digits.info, tuning.train, tuning.validation, Split(garbage))
    assert other.digest != digits.digest
    # The digests name the study and seed its search: kept, so that the images alone differ.
    vars(other).update(digest=digits.digest, labels_digest=digits.labels_digest)

    def sealed(dataset):
        raise PermissionError("the test split was opened")

    monkeypatch.setattr(Dataset, "open_test", sealed)
    runner = start(small(tiny_study), other, tmp_path, **SMALL)
    runner.run(other)
    finals = load_results(runner.bound.settings.tracking, runner.bound.study_id).runs.query("role == 'final'")
    assert set(finals["reason"]) == {"PermissionError: the test split was opened"}

    def found(study, arm):
        attempts = study.searches[arm].attempts()
        return [(each.number, each.attempt, each.values, each.state, each.objective) for each in attempts]

    for arm in ("vae", "glow"):
        assert found(runner, arm) == found(finished, arm)
    one, two = (
        MlflowClient(tracking_uri=r.bound.settings.tracking).get_run(r.parent.run_id).data.tags["reparam.selected"]
        for r in (finished, runner)
    )
    assert one == two


def reachable_arrays(*roots):
    """Every array that can be reached from objects: through containers, attributes, closures and views."""
    seen, arrays, queue = set(), [], list(roots)
    while queue:
        item = queue.pop()
        # Modules and globals lead everywhere, to this very test too: what counts is what is handed over.
        if id(item) in seen or isinstance(item, ModuleType | type):
            continue
        seen.add(id(item))
        if isinstance(item, FunctionType):
            queue += [item.__closure__, item.__defaults__, item.__kwdefaults__]
        elif isinstance(item, np.ndarray):
            arrays.append(item)
            queue.append(item.base)
        else:
            queue += gc.get_referents(item)
    return arrays


def test_what_a_trial_is_given_does_not_lead_to_the_test_split(start, tiny_study, tmp_path, monkeypatch):
    """As real data comes: the three splits out of one archive, and a runner that knows its study."""
    from bench.data.registry import load

    digits = load("digits")
    test = digits.open_test().images
    given = []

    def refuse(*arguments):
        given.append(arguments)
        arrays = reachable_arrays(*arguments)
        assert any(np.shares_memory(array, digits.tuning.train.images) for array in arrays)
        assert not any(array.nbytes and np.shares_memory(array, test) for array in arrays)
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.execution.worker, "run_trial", refuse)
    with pytest.raises(KeyboardInterrupt):
        start(tiny_study, digits, tmp_path).run(digits)
    assert len(given) == 1
    assert any(np.shares_memory(array, test) for array in reachable_arrays(digits))


def test_what_a_test_split_is_too_small_for_is_refused_with_the_reason(digits, protocol):
    tuning = digits.tuning
    outcome = bench.execution.trial.run_final(
        config_of(VAE, tuning), tuning, digits.open_test().some(49), 0, protocol(1), lambda r: None, lambda *p: None
    )
    measured = {row.metric for row in outcome.measurements if row.split == "quality"}
    assert {"kid", "kid_floor", "precision", "coverage", "data_copying"} < set(outcome.unavailable)
    # The extractor of these tests has few features, for whose covariance 49 images are enough.
    assert "frechet_distance" in measured
    assert not measured & set(outcome.unavailable)
    assert all("at least 50" in reason for reason in outcome.unavailable.values())


AVERAGED = TrainingConfig(batch_size=64, images=256, evaluations=2, weight_average=0.9, decay="cosine")


@pytest.mark.backend
def test_a_run_repeats_itself_bitwise_whatever_ran_before_it(tuning):
    """Runs of one configuration share their compiled programs: nothing else may pass from one to the next."""
    model = VAEConfig(hidden_sizes=(8,), latent_size=2, kl_warmup_steps=3)
    config = config_of(model, tuning).model_copy(update={"training": AVERAGED})

    def figures(seed):
        curve = []
        outcome = bench.execution.trial.run_trial(config, tuning, seed, 2, lambda record: curve.append(record.values))
        return bench.execution.trial.validation_bits_per_dim(outcome), curve

    in_a_row = [figures(seed) for seed in (0, 1, 0)]
    bench.execution.trial.run_trial(config_of(VAE, tuning), tuning, 7, 1, lambda record: None)
    alone = figures(1)
    assert in_a_row[0] == in_a_row[2]
    assert in_a_row[1] == alone
    assert in_a_row[0] != in_a_row[1]


def test_a_trial_whose_checkpoint_is_beyond_the_rung_is_stopped_there_and_not_complete(tuning, tmp_path):
    """A larger budget has a higher first rung: a smaller one finds what was interrupted between both."""
    training = TrainingConfig(batch_size=64, images=512, evaluations=8)
    config, counts = config_of(VAE, tuning).model_copy(update={"training": training}), []
    for until in (3, 2):
        checkpoint = Checkpoint(tmp_path / "trial.npz", config.hash, 0, "code")
        with pytest.raises(StoppedAtRungError, match="stopped at evaluation 3 of 8"):
            bench.execution.trial.run_trial(config, tuning, 0, 2, counts.append, checkpoint, until=until)
    assert [record.evaluation for record in counts] == [1, 2, 3]


@pytest.mark.backend
@pytest.mark.parametrize(
    ("reason", "keeps"), [(KeyboardInterrupt(), False), (PrunedError("late"), True), (DivergedError("NaN"), True)]
)
def test_a_run_after_one_that_was_stopped_is_as_if_there_had_been_none(tuning, reason, keeps):
    def stop(record):
        raise reason

    config = config_of(VAE, tuning)
    undisturbed = bench.execution.trial.validation_bits_per_dim(
        bench.execution.trial.run_trial(config, tuning, 0, 1, lambda record: None)
    )
    compiled = bench.execution.trial._compiled_model(config, tuning, seed=0)
    with pytest.raises(type(reason)):
        bench.execution.trial.run_trial(config, tuning, 1, 1, stop)
    assert (bench.execution.trial._compiled_model(config, tuning, seed=0) is compiled) == keeps
    again = bench.execution.trial.run_trial(config, tuning, 0, 1, lambda record: None)
    assert bench.execution.trial.validation_bits_per_dim(again) == undisturbed


@pytest.mark.backend
def test_a_run_on_a_model_that_was_built_for_another_is_as_if_it_were_built_for_it(tuning):
    config = config_of(VAE, tuning)

    def bound(seed):
        return bench.execution.trial.validation_bits_per_dim(
            bench.execution.trial.run_trial(config, tuning, seed, 1, lambda record: None)
        )

    bench.execution.trial._kept.clear()
    expected = bound(0)
    bench.execution.trial._kept.clear()
    bench.execution.trial._compiled_model(config.with_values({"learning_rate": 0.5}), tuning, seed=0)
    assert bound(0) == expected
    bench.execution.trial._kept.clear()
    bench.execution.trial._compiled_model(config, tuning, seed=1)
    assert bound(0) == expected


@pytest.mark.slow_on_jax
@pytest.mark.backend
def test_models_that_are_forgotten_are_freed_and_the_same_run_comes_to_the_same(tuning):
    config = config_of(VAEConfig(hidden_sizes=(6,), latent_size=2), tuning)

    def run():
        outcome = bench.execution.trial.run_trial(config, tuning, 3, 2, lambda record: None)
        return weakref.ref(outcome.model), outcome.measurements[0].value

    model, value = run()
    assert model() is not None
    bench.execution.trial.forget_models()
    assert model() is None
    assert run()[1] == value


@pytest.mark.backend
@pytest.mark.parametrize(
    ("role", "module", "split"),
    [
        ("search", bench.execution.trial, "validation"),
        ("final", bench.execution.trial, "validation"),
        ("final", bench.evaluation.metrics, "test"),
    ],
)
def test_a_bound_that_is_no_number_is_a_divergence(digits, protocol, monkeypatch, role, module, split):
    def broken(*arguments, **options):
        likelihood = log_likelihood(*arguments, **options)
        likelihood.bound[3] = -np.inf
        return likelihood

    monkeypatch.setattr(module, "log_likelihood", broken)
    shared = (config_of(VAE, digits.tuning), digits.tuning)
    nobody = (lambda record: None, lambda *progress: None)
    runs = {
        "search": lambda: bench.execution.trial.run_trial(*shared, 0, 1, nobody[0]),
        "final": lambda: bench.execution.trial.run_final(*shared, digits.open_test(), 0, protocol(1), *nobody),
    }
    with pytest.raises(DivergedError, match=f"^the {split} bound is not finite for 1 of 64 images$"):
        runs[role]()


def test_a_number_that_a_single_weight_of_0_makes_infinite_is_missing_with_that_reason(digits, protocol, monkeypatch):
    """The bound by all weights of an image is finite; another data set's image may have none that is above 0."""

    def with_weights_of_0(model, images, importance_samples, seed, *arguments, **options):
        likelihood = log_likelihood(model, images, importance_samples, seed, *arguments, **options)
        if importance_samples > 1:
            likelihood.bounds[0, 3] = -np.inf
        if seed == derive_seed("outside"):
            likelihood.bound[3] = -np.inf
        return likelihood

    for module in (bench.execution.trial, bench.evaluation.metrics):
        monkeypatch.setattr(module, "log_likelihood", with_weights_of_0)
    shared, nobody = (config_of(VAE, digits.tuning), digits.tuning), lambda *arguments: None
    optimism = {"selection_optimism": "validation/selection_optimism is inf"}
    measured = protocol(2, outside=OutsideData("noise", noise(64), "0" * 64))
    trial = bench.execution.trial.run_trial(*shared, 0, 2, nobody)
    final = bench.execution.trial.run_final(*shared, digits.open_test(), 0, measured, nobody, nobody)
    assert trial.unavailable == optimism
    assert final.unavailable == optimism | {
        "elbo_nats": "test/elbo_nats is -inf",
        "bits_per_dim": "out_of_distribution/bits_per_dim is inf",
        "nll_nats": "out_of_distribution/nll_nats is inf",
    }
    rows = [*trial.measurements, *final.measurements]
    assert all(np.isfinite(row.value) for row in rows)
    # An image without any probability has the lowest rank.
    assert {"test/bits_per_dim", "out_of_distribution/auroc"} < {row.key for row in rows}


@pytest.mark.backend
def test_samples_are_drawn_while_a_final_model_trains_and_leave_its_training_as_it_was(digits, protocol, monkeypatch):
    tuning, test = digits.tuning, digits.open_test()
    config = config_of(VAE, tuning).with_values({"evaluations": 5, "images": 5 * 64})

    def curve():
        records = []
        outcome = bench.execution.trial.run_final(config, tuning, test, 0, protocol(2), records.append, lambda *p: None)
        return records, outcome.measurements[0].value

    records, reached = curve()
    grids = {record.evaluation: record.samples for record in records}
    assert [evaluation for evaluation, grid in grids.items() if grid] == [1, 2, 5]
    width, height = Image.open(io.BytesIO(grids[1])).size
    assert width > 3 * height
    assert grids[1] != grids[5]
    monkeypatch.setattr(bench.execution.trial, "shows_samples", lambda evaluation, last: False)
    without, same = curve()
    assert [record.samples for record in without] == [None] * 5
    assert [record.values for record in without] == [record.values for record in records]
    assert same == reached


@pytest.mark.backend
def test_runs_that_share_programs_equal_runs_that_do_not(digits):
    config = config_of(GLOW, digits.tuning).model_copy(update={"training": AVERAGED})

    def figures(seed):
        outcome = bench.execution.trial.run_trial(config, digits.tuning, seed, 2, lambda record: None)
        values = [m.value for m in outcome.measurements if m.split == "validation"]
        return values + [record.values["train/loss"] for record in outcome.log.records]

    first, second = figures(1), figures(2)
    bench.execution.trial.run_trial(config_of(VAE, digits.tuning), digits.tuning, 7, 1, lambda record: None)
    first_again = figures(1)
    bench.execution.trial._kept.clear()
    assert first == first_again
    assert first != second
    assert figures(2) == second


@pytest.mark.backend
def test_programs_are_kept_for_so_many_shapes_and_bytes_the_latest_used(digits, monkeypatch):
    bench.execution.trial._kept.clear()
    shapes = [config_of(VAEConfig(latent_size=size, hidden_sizes=(4,)), digits.tuning) for size in (1, 2, 3)]

    def bench_of(config):
        return bench.execution.trial._compiled_model(config, digits.tuning, seed=0)

    monkeypatch.setattr(bench.execution.trial, "SHAPES_KEPT", 2)
    first, second = bench_of(shapes[0]), bench_of(shapes[1])
    assert bench_of(shapes[0].with_values({"learning_rate": 0.5})) is first
    bench_of(shapes[2])
    assert bench_of(shapes[0]) is first
    assert bench_of(shapes[1]) is not second
    monkeypatch.setattr(bench.execution.trial, "WEIGHT_BYTES_KEPT", 1)
    assert bench_of(shapes[1]) is bench_of(shapes[1])
    assert bench_of(shapes[0]) is not first
    bench.execution.trial._kept.clear()
