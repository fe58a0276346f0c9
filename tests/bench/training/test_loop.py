"""Training does what its configuration says, and tells what it did."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

import bench.runtime.sharding
import bench.training.loop
from bench.core.errors import DivergedError
from bench.core.seeds import derive_seed
from bench.evaluation.likelihood import log_likelihood
from bench.runtime.sharding import CACHE_BYTES, Sharding, forward_sharding, training_sharding
from bench.study.config import TrainingConfig
from bench.training.early_stopping import decide
from bench.training.loop import INITIALISATION_IMAGES, ImageStream, build_optimizer, compile_for_training, train
from bench.training.optimizers import ScheduledRate
from bench.training.program import training_program
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend


def stream_of(n, batch_size, steps, seed=0):
    return ImageStream(n, batch_size, steps, seed)


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(10, 4, 3), (12, 4, 3), (7, 16, 2), (5, 1, 4)])
def test_each_pass_visits_every_image_once_even_where_it_ends_inside_a_batch(n, batch_size, steps):
    stream = stream_of(n, batch_size, steps)
    intervals = math.ceil(4 * n / (batch_size * steps))
    visited = np.concatenate([stream.interval(i).ravel() for i in range(intervals)]).tolist()
    passes = [visited[i * n : (i + 1) * n] for i in range(4)]
    assert all(sorted(each) == list(range(n)) for each in passes)
    assert len({tuple(each) for each in passes}) == 4


def test_a_batch_is_a_function_of_seed_interval_and_index_alone():
    one, other = stream_of(10, 4, 3), stream_of(10, 4, 3)
    forwards = [one.interval(i).tolist() for i in range(4)]
    backwards = [other.interval(i).tolist() for i in reversed(range(4))]
    assert forwards == backwards[::-1]
    assert stream_of(10, 4, 3, seed=1).interval(0).tolist() != forwards[0]


def test_training_sees_the_stream_from_its_start_each_batch_once(tuning, monkeypatch):
    asked = []
    kind = type(training_program(tiny_vae()))
    original = kind.train

    def recording(program, images, labels, order, start, stop):
        assert images is tuning.train.images
        asked.extend(order[start:stop].tolist())
        return original(program, images, labels, order, start, stop)

    monkeypatch.setattr(kind, "train", recording)
    train(tiny_vae(), tuning, TrainingConfig(batch_size=16, images=96, evaluations=3), seed=5)
    stream = ImageStream(len(tuning.train), 16, 2, 5)
    assert asked == [batch for i in range(3) for batch in stream.interval(i).tolist()]


FITTED = {
    "vae": VAEConfig(hidden_sizes=(8,), latent_size=2, kl_warmup_steps=10),
    "iwae": VAEConfig(hidden_sizes=(8,), latent_size=2, training_samples=3),
    "vae, convolutional": VAEConfig(network="convolutional", hidden_channels=4, latent_size=2),
    "vae, free bits": VAEConfig(hidden_sizes=(8,), latent_size=2, free_bits=0.5),
    "glow": GlowConfig(levels=1, flow_depth=2, hidden_channels=4),
    "glow, classes": GlowConfig(levels=1, flow_depth=2, hidden_channels=4, classes=10, recompute=True),
    "glow, variational": GlowConfig(levels=1, flow_depth=1, hidden_channels=4, dequantisation="variational"),
}
LONG = ("glow", "glow, classes", "glow, variational")
"""Of these one is compared in every run of the tests, with smaller pieces."""


@pytest.mark.parametrize(
    ("name", "cache_bytes"),
    [
        *((name, 2**20) for name in ("vae", "vae, free bits")),
        *(pytest.param(name, 2**20, marks=pytest.mark.slow_on_jax) for name in ("iwae", "vae, convolutional")),
        *(pytest.param(name, 2**20, marks=pytest.mark.slow) for name in LONG),
        pytest.param("glow", 2**13, marks=pytest.mark.slow_on_jax),
        pytest.param("vae, convolutional", 2**13, marks=pytest.mark.slow),
    ],
)
def test_training_agrees_with_fit(tuning, monkeypatch, name, cache_bytes):
    """Weights, metrics and random state after the same steps, whether a batch is computed whole or in microbatches."""
    monkeypatch.setattr(bench.runtime.sharding, "CACHE_BYTES", cache_bytes)
    config = TrainingConfig(learning_rate=3e-3, batch_size=32, images=384, evaluations=2, warmup_steps=3)
    stream = ImageStream(len(tuning.train), 32, config.steps_per_evaluation, 0)
    with_labels = "classes" in name
    trained, fitted = (_seeded(FITTED[name], config) for _ in range(2))
    log = train(trained, tuning, config, seed=0)
    training_program(fitted).initialise(tuning.train.images[stream.permutation(0)[:INITIALISATION_IMAGES]])
    for evaluation in range(config.evaluations):
        order = stream.interval(evaluation).ravel()
        images = tuning.train.images[order]
        inputs = (images, tuning.train.labels[order]) if with_labels else images
        logs = fitted.fit(inputs, batch_size=32, shuffle=False, verbose=0).history
        for figure, (value,) in logs.items():
            assert log.records[evaluation].values[f"train/{figure}"] == pytest.approx(value, rel=2e-5)
    for found, expected in zip(trained.variables, fitted.variables, strict=True):
        np.testing.assert_allclose(np.array(found), np.array(expected), atol=2e-4, err_msg=found.path)


def _seeded(model_config, config):
    keras.utils.set_random_seed(0)
    model = build_model(model_config, (8, 8, 1), 17)
    compile_for_training(model, config)
    return model


def glow_of(**changes):
    return build_model(GlowConfig(levels=1, flow_depth=1, hidden_channels=64, **changes), (8, 8, 1), 17)


def test_a_batch_is_divided_among_cores_and_into_pieces_that_fit_their_caches():
    glow = glow_of()
    assert training_sharding(glow, 64, cores=2) == Sharding(2, 1)
    assert training_sharding(glow, 64, cores=6) == Sharding(4, 1)
    assert training_sharding(glow, 7, cores=2) == Sharding(1, 1)
    # 1,024 images of 4·16·(9·2 + 2·64 + 9·4) bytes are 11.4 times the cache: 8 is the largest divisor up to 12.
    assert CACHE_BYTES == 2**20
    assert training_sharding(glow, 2048, cores=2) == Sharding(2, 8)


@pytest.mark.slow_on_jax
def test_gradients_of_many_weights_are_not_added_up_piece_by_piece():
    wide = build_model(GlowConfig(levels=1, flow_depth=16, hidden_channels=512), (8, 8, 1), 17)
    assert training_sharding(wide, 128, cores=2) == Sharding(2, 1)
    assert forward_sharding(wide, 128, cores=2).microbatches > 1


def test_a_batch_whose_images_depend_on_each_other_is_not_divided():
    assert training_sharding(tiny_vae(free_bits=0.1), 64, cores=2) == Sharding()
    assert not tiny_vae(free_bits=0.1).objective_is_by_image
    assert not tiny_vae(gradient_estimator="score_function_baseline").objective_is_by_image
    assert not tiny_vae(dropout=0.1).objective_is_by_image
    assert tiny_vae().objective_is_by_image


def test_the_device_is_asked_after_chunks_that_grow_to_a_good_length(tuning, monkeypatch):
    chunks = []
    kind = type(training_program(tiny_vae()))
    original = kind.train

    def recording(program, images, labels, order, start, stop):
        chunks.append(stop - start)
        return original(program, images, labels, order, start, stop)

    monkeypatch.setattr(kind, "train", recording)
    monkeypatch.setattr(bench.training.loop, "CHUNK_SECONDS", 1e9)
    train(tiny_vae(), tuning, TrainingConfig(batch_size=8, images=320, evaluations=1), seed=0)
    assert chunks == [1, 8, 31]


def tiny_vae(**changes):
    return build_model(VAEConfig(hidden_sizes=(8,), latent_size=2, **changes), (8, 8, 1), 17)


def rates(steps, **settings):
    """The learning rate at some steps of ten."""
    optimizer = build_optimizer(TrainingConfig(batch_size=1, images=10, evaluations=1, learning_rate=0.5, **settings))
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


def test_the_rate_is_constant_unless_it_is_set_otherwise():
    assert rates([0, 5, 10]) == [0.5, 0.5, 0.5]


def test_the_rate_rises_linearly_from_zero_and_then_stays():
    assert rates([0, 1, 2, 4, 7, 10], warmup_steps=4) == pytest.approx([0, 0.125, 0.25, 0.5, 0.5, 0.5])


def test_the_rate_falls_as_a_cosine_to_zero_at_the_end_of_training():
    expected = [0.25 * (1 + math.cos(math.pi * step / 10)) for step in (0, 3, 5, 10)]
    assert rates([0, 3, 5, 10], decay="cosine") == pytest.approx(expected, abs=1e-7)


def test_the_staged_rate_takes_three_times_as_long_for_each_stage():
    """Burda et al. (2016): 3^i passes at 10^(-i/7) times the first rate, 3,280 passes in all."""
    config = TrainingConfig(learning_rate=1e-3, decay="staged", batch_size=1, images=3280, evaluations=1)
    optimizer = build_optimizer(config)

    def schedule(step):
        optimizer.iterations.assign(step)
        return float(optimizer.learning_rate)

    firsts = [(3**i - 1) // 2 for i in range(8)]
    found = [schedule(first + 1) for first in firsts]
    assert found == pytest.approx([1e-3 * 10 ** (-i / 7) for i in range(8)], rel=1e-5)
    assert schedule(3280) == pytest.approx(1e-4, rel=1e-5)
    assert schedule(13) == pytest.approx(1e-3 * 10 ** (-2 / 7), rel=1e-5)


def test_the_cosine_begins_where_the_warm_up_ends():
    found = rates([0, 1, 2, 6, 10], warmup_steps=2, decay="cosine")
    assert found == pytest.approx([0, 0.25, 0.5, 0.25, 0], abs=1e-7)


@pytest.mark.parametrize(("name", "kind"), [("adam", keras.optimizers.Adam), ("adamax", keras.optimizers.Adamax)])
def test_the_optimizer_is_the_one_named(name, kind):
    assert isinstance(build_optimizer(TrainingConfig(optimizer=name)), kind)


def test_the_gradient_is_clipped_by_its_global_norm():
    assert build_optimizer(TrainingConfig(clip_norm=0.25)).global_clipnorm == 0.25
    assert build_optimizer(TrainingConfig(clip_norm=0)).global_clipnorm is None


def stepped(optimizer, gradients, dtype="float32"):
    """Two weights of different shapes after a step for each gradient, and their averages."""
    weights = [keras.Variable(np.ones((2, 3)), dtype=dtype), keras.Variable(2.0, dtype=dtype)]
    optimizer.build(weights)
    for gradient in gradients:
        parts = [keras.ops.convert_to_tensor(part, dtype) for part in (gradient, gradient.sum())]
        optimizer.apply(parts, weights)
    raw = [np.asarray(weight) for weight in weights]
    optimizer.finalize_variable_values(weights)
    return raw + [np.asarray(weight) for weight in weights]


GRADIENTS = [np.random.default_rng(i).standard_normal((2, 3)).astype("float32") for i in range(3)]


def test_a_tiny_clipping_norm_holds_the_weights_near_their_start():
    # Adam divides by the gradient's size, but not by less than its epsilon of 1e-7.
    (held, *_), (moved, *_) = (
        stepped(build_optimizer(TrainingConfig(clip_norm=norm, learning_rate=0.1)), GRADIENTS) for norm in (1e-12, 0)
    )
    assert np.abs(held - 1).max() < 1e-4 < 1e-2 < np.abs(moved - 1).max()


@pytest.mark.parametrize(("name", "kind"), [("adam", keras.optimizers.Adam), ("adamax", keras.optimizers.Adamax)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_is_that_of_keras_optimizer(request, name, kind, dtype):
    if dtype == "float64":
        request.getfixturevalue("float64")
    config = TrainingConfig(
        learning_rate=0.1, warmup_steps=2, weight_average=0.9, clip_norm=0.5, weight_decay=0.1, optimizer=name
    )

    class Plain(ScheduledRate, kind):
        """Keras's own, at the same rates."""

        _backend_update_step = kind._backend_update_step

    ours = build_optimizer(config)
    plain = Plain(0.1, ours._learning_rate, 0.1, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9)
    stepped_both = (stepped(each, GRADIENTS, dtype) for each in (ours, plain))
    for found, expected in zip(*stepped_both, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [0, 1])
def test_a_gradient_of_some_rows_of_a_table_is_that_of_the_whole_table(clip_norm):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients of some rows are TensorFlow's")
    import tensorflow as tf

    table, whole = (keras.Variable(np.ones((4, 2), "float32")) for _ in range(2))
    values, rows = tf.constant([[1.0, 2.0], [0.5, -1.0], [1.0, 2.0]]), tf.constant([2, 0, 2])
    for weight, of_weight in ((table, lambda some: some), (whole, tf.convert_to_tensor)):
        optimizer = build_optimizer(TrainingConfig(learning_rate=0.1, clip_norm=clip_norm))
        optimizer.build([weight])
        # A norm of 4.6, and then of a tenth: with a limit the first step alone is clipped.
        for size in (1.0, 0.1, 0.1):
            optimizer.apply([of_weight(tf.IndexedSlices(size * values, rows, tf.constant([4, 2])))], [weight])
    assert np.ptp(np.asarray(whole)) > 0.1
    np.testing.assert_array_equal(np.asarray(table), np.asarray(whole))


@pytest.mark.parametrize(
    ("batch_size", "images", "reports", "per_report"),
    [(64, 10_000, 10, 16), (64, 64, 1, 1), (7, 100, 3, 5), (8, 8, 4, 1)],
)
def test_steps_come_nearest_to_the_budget_of_images_in_equal_chunkes(batch_size, images, reports, per_report):
    config = TrainingConfig(batch_size=batch_size, images=images, evaluations=reports)
    assert (config.steps_per_evaluation, config.steps) == (per_report, per_report * reports)
    rounding = batch_size * reports / 2
    assert per_report == 1 or abs(config.steps * batch_size - images) <= rounding


def test_the_learning_curve_has_one_record_a_look_that_counts_images_and_time(tuning):
    received = []
    config = TrainingConfig(batch_size=16, images=96, evaluations=3)
    log = train(tiny_vae(), tuning, config, seed=0, on_evaluation=received.append)
    assert log.records == received
    assert [(record.evaluation, record.images) for record in received] == [(1, 32), (2, 64), (3, 96)]
    assert 0 < received[0].seconds < received[1].seconds < received[2].seconds == log.seconds
    for record in received:
        assert {"train/loss", "train/bits_per_dim", "validation/bits_per_dim"} <= set(record.values)
    assert len(log.interval_seconds) == 3
    assert log.images_per_second() == pytest.approx(32 / np.array(log.interval_seconds[1:]))


@pytest.mark.slow_on_jax
def test_training_improves_on_the_initial_model(tuning):
    model = build_model(GlowConfig(levels=1, flow_depth=1, hidden_channels=4), (8, 8, 1), 17)
    log = train(model, tuning, TrainingConfig(learning_rate=1e-2, batch_size=32, images=1024, evaluations=4), seed=0)
    bits = [record.values["validation/bits_per_dim"] for record in log.records]
    assert bits[-1] < bits[0] - 0.02


def test_the_average_of_the_weights_is_what_is_evaluated_and_kept(tuning):
    """The weights that train stay with the optimizer; the model has their average, near but not equal."""
    model = tiny_vae()
    config = TrainingConfig(learning_rate=0.05, weight_average=0.99, batch_size=32, images=256, evaluations=1)
    log = train(model, tuning, config, seed=0)
    raw = model.optimizer._model_variables_moving_average
    apart = [np.abs(np.asarray(w) - np.asarray(r)).max() for w, r in zip(model.trainable_variables, raw, strict=True)]
    assert 1e-3 < max(apart) < 0.5
    assert evaluated(model, tuning) == pytest.approx(log.best.values["validation/bits_per_dim"], rel=1e-6)


def test_the_average_begins_with_the_weights_and_forgets_the_first_ones_soon():
    """Momentum t/(9 + t) at step t = 0, 1, …, until it reaches the one that was asked for."""
    gradients = [np.full((2, 3), 1.0, "float32")] * 30
    optimizer = build_optimizer(TrainingConfig(learning_rate=0.1, weight_average=0.6, clip_norm=0))
    weight, other = (keras.Variable(np.full((2, 3), 4.0, "float32")) for _ in range(2))
    optimizer.build([weight, other])
    expected = np.zeros((2, 3))
    for t, gradient in enumerate(gradients):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)] * 2, [weight, other])
        momentum = min(0.6, t / (9 + t))
        expected = momentum * expected + (1 - momentum) * np.asarray(weight)
        np.testing.assert_allclose(np.asarray(optimizer._model_variables_moving_average[0]), expected, rtol=1e-5)


def test_weight_decay_shrinks_kernels_and_leaves_biases_pseudo_inputs_and_points_of_symbols_alone():
    names = ("kernel", "output_bias", "pseudo_inputs", "symbol_means", "symbol_logits")
    kernel, *others = (keras.Variable(np.ones((2, 2), "float32"), name=name) for name in names)
    optimizer = build_optimizer(TrainingConfig(learning_rate=0.1, weight_decay=0.5, clip_norm=0))
    optimizer.build([kernel, *others])
    optimizer.apply([keras.ops.zeros((2, 2))] * 5, [kernel, *others])
    np.testing.assert_allclose(np.asarray(kernel), 1 - 0.1 * 0.5, rtol=1e-6)
    for other in others:
        np.testing.assert_array_equal(np.asarray(other), 1.0)


def few_images(tuning, n=24):
    """A data set that a VAE learns by heart within a few hundred steps."""
    return replace(tuning, train=tuning.train.some(n), validation=tuning.validation.some(64))


def evaluated(model, tuning):
    """The value of an evaluation of a model as it is."""
    measured = log_likelihood(model, tuning.validation.images, 1, derive_seed("evaluation"))
    return measured.measurements("validation")[0].value


OVERFITTING = {"learning_rate": 0.01, "batch_size": 24}


def test_training_leaves_the_weights_of_its_best_evaluation(tuning):
    few, model = few_images(tuning), tiny_vae()
    log = train(model, few, TrainingConfig(**OVERFITTING, images=24 * 200, evaluations=20), seed=0)
    assert log.best.evaluation < 20
    assert log.validation[-1] > log.best.values["validation/bits_per_dim"] + 0.05
    assert evaluated(model, few) == pytest.approx(log.best.values["validation/bits_per_dim"], rel=1e-6)


@pytest.mark.parametrize("decay", ["constant", pytest.param("plateau", marks=pytest.mark.slow_on_jax)])
def test_more_budget_never_makes_the_answer_worse(tuning, decay):
    """The longer training begins with the shorter one, and keeps the best evaluation of both."""
    few, best, curves = few_images(tuning), [], []
    for passes in (60, 200):
        keras.utils.set_random_seed(0)
        model = tiny_vae()
        config = TrainingConfig(**OVERFITTING, images=24 * passes, evaluations=passes // 5, decay=decay, patience=5)
        log = train(model, few, config, seed=0)
        best.append(evaluated(model, few))
        curves.append(log.validation)
    assert best[1] <= best[0] + 1e-6
    assert max(log.validation[-5:]) > best[1] + (0.01 if decay == "constant" else 0)  # there was something to lose
    shorter, longer = curves
    np.testing.assert_allclose(longer[: len(shorter)], shorter, rtol=1e-6)


def test_patience_ends_training(tuning):
    few = few_images(tuning)
    config = TrainingConfig(**OVERFITTING, images=24 * 1000, evaluations=200, patience=4)
    log = train(tiny_vae(), few, config, seed=0)
    assert len(log.records) < 100
    assert log.best.evaluation >= len(log.records) - 10


class Saved:
    """Keeps, of each evaluation that lowered the rate, the weights that train on and the best ones."""

    def __init__(self, config):
        self.config, self.pairs = config, []

    def restore(self, model):
        return None

    def save(self, model, log, best, milestones, is_last=False):
        if decide(log.validation, self.config).lowers_rate:
            self.pairs += [(np.array(w), best[f"model_{i}"].copy()) for i, w in enumerate(model.weights)]


def test_a_plateau_takes_back_the_best_weights_and_lowers_the_rate(tuning):
    few, model, rates = few_images(tuning), tiny_vae(), []
    config = TrainingConfig(**OVERFITTING, images=24 * 2000, evaluations=400, decay="plateau", patience=4)
    saved = Saved(config)
    log = train(model, few, config, 0, lambda record: rates.append(float(model.optimizer.base_rate)), saved)
    reductions = [decide(log.validation[:i], config).reductions for i in range(len(log.records))]
    assert reductions[-1] >= 1
    assert rates == pytest.approx([0.01 / 3**each for each in reductions], rel=1e-5)
    for weight, best in saved.pairs:
        np.testing.assert_array_equal(weight, best)
    assert evaluated(model, few) == pytest.approx(min(log.validation), rel=1e-6)


@pytest.mark.parametrize(("clip_norm", "share"), [(1e-6, 1.0), (1e6, 0.0), (0.0, None)])
def test_the_share_of_clipped_steps_is_logged(tuning, clip_norm, share):
    config = TrainingConfig(batch_size=32, images=128, evaluations=2, clip_norm=clip_norm)
    log = train(tiny_vae(), tuning, config, seed=0)
    assert log.clipped_share == share


class Table:
    """Stands for a model whose loss is the sum of the rows of a table that labels pick; other weights are unused."""

    trackers, non_trainable_variables, objective_is_by_image = (), [], False

    def __init__(self, weights, config):
        self.trainable_variables = [keras.Variable(np.ones((3, 2), "float32")) for _ in range(weights)]
        self.optimizer = build_optimizer(config)
        self.optimizer.build(self.trainable_variables)

    def initialise(self, images):
        pass

    def training_noise(self, n):
        return None

    def objective(self, images, noise, labels, training):
        return keras.ops.take(self.trainable_variables[0], labels, axis=0)

    def step_metrics(self, rows):
        return {"loss": keras.ops.sum(rows)}


@pytest.mark.parametrize("weights", [1, 2])
def test_the_norm_of_a_gradient_is_that_of_the_sum_of_all_picks_of_a_row_and_0_of_an_unused_weight(weights):
    model = Table(weights, TrainingConfig(learning_rate=0.1, clip_norm=4.0))
    images, labels = np.zeros((4, 1, 1, 1), np.uint8), np.zeros(4, np.int32)
    logs = training_program(model).train(images, labels, np.arange(4)[None], 0, 1)
    # The gradient of the first row is (4, 4): a norm of 5.7, and of 2.8 if each pick counted for itself.
    assert logs["clipped"].tolist() == [1.0]
    first_moment = np.asarray(model.optimizer._momentums[0])
    np.testing.assert_allclose(first_moment, 0.1 * np.array([[1, 1], [0, 0], [0, 0]]) * 4 / np.sqrt(2), rtol=1e-5)
    for unused in model.trainable_variables[1:]:
        np.testing.assert_array_equal(np.asarray(unused), 1.0)


@pytest.mark.parametrize(("looked_at", "expected"), [(2**16, "sometimes"), (2**16 + 1, "often")])
def test_xla_looks_at_validation_where_there_is_much_to_look_at(monkeypatch, looked_at, expected):
    uses = []
    monkeypatch.setattr(bench.training.loop, "likelihood_program", lambda model, use: uses.append(use))
    bench.training.loop.TrainingPrograms(tiny_vae(), looked_at)
    assert uses == [expected]


@pytest.mark.slow_on_jax
def test_a_learning_rate_without_measure_ends_as_divergence_at_once(tuning):
    model, seen = tiny_vae(), []
    config = TrainingConfig(learning_rate=1e30, clip_norm=0, batch_size=32, images=320, evaluations=1)
    with pytest.raises(DivergedError, match=r"loss became (nan|inf|-inf) at step \d+$") as raised:
        train(model, tuning, config, seed=0, on_evaluation=seen.append)
    assert int(str(raised.value).rsplit(maxsplit=1)[-1]) < 10
    assert seen == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_training_at_its_step(tuning, monkeypatch, value):
    model = tiny_vae()
    objective = type(model).objective
    monkeypatch.setattr(
        type(model), "objective", lambda *args, **kwargs: {k: v - value for k, v in objective(*args, **kwargs).items()}
    )
    with pytest.raises(DivergedError, match=rf"^training loss became {value} at step 1$"):
        train(model, tuning, TrainingConfig(batch_size=32, images=64, evaluations=1), seed=0)


def test_a_validation_that_is_no_number_ends_training_before_it_is_recorded(tuning, monkeypatch):
    seen = []
    model = tiny_vae()
    # Training has an objective of its own; an evaluation goes through the log-weights.
    log_weights = type(model).log_weights
    monkeypatch.setattr(type(model), "log_weights", lambda *arguments: log_weights(*arguments) * float("nan"))
    with pytest.raises(DivergedError, match=r"^validation/\w+ became nan in evaluation 1$"):
        train(model, tuning, TrainingConfig(batch_size=32, images=64, evaluations=2), seed=0, on_evaluation=seen.append)
    assert seen == []


@pytest.mark.slow_on_jax
def test_labels_reach_a_model_that_is_conditioned_on_them(tuning):
    model = build_model(GlowConfig(levels=1, flow_depth=1, hidden_channels=4, classes=10), (8, 8, 1), 17)
    prior = [np.asarray(weight) for weight in model.trainable_variables]
    train(model, tuning, TrainingConfig(learning_rate=1e-2, batch_size=32, images=64, evaluations=1), seed=0)
    moved = [np.abs(np.asarray(w) - s).max() for w, s in zip(model.trainable_variables, prior, strict=True)]
    assert min(moved) > 0
