"""The audited place: every figure of every report comes from here."""

import math
import os
import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import logsumexp

import bench.evaluation.likelihood as likelihood
import bench.runtime.sharding
from bench.core.results import TABLES, Bound, BoundKind
from bench.core.seeds import derive_seed
from bench.evaluation.likelihood import LogLikelihood, bound_of, likelihood_program, log_likelihood
from models.autoregressive.config import AutoregressiveConfig
from models.base.likelihood_model import LikelihoodModel
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend

CONFIGURATIONS = {
    "vae": VAEConfig(hidden_sizes=(8,), latent_size=3),
    "glow": GlowConfig(levels=1, flow_depth=1, hidden_channels=4),
    "variational": GlowConfig(levels=1, flow_depth=1, hidden_channels=4, dequantisation="variational"),
}


class Toy(LikelihoodModel):
    """log w = level - D ln Q + spread·(sum of the noise): a bound that can be written down."""

    level, spread = 0.0, 0.0

    def __init__(self, image_shape=(2, 2, 1), grey_levels=4):
        super().__init__(VAEConfig(), image_shape, grey_levels)
        self.built = True

    @property
    def posterior_noise_shape(self):
        return (3,)

    def log_weights(self, images, noise, labels=None):
        from keras import ops

        uniform = ops.sum(0.0 * self.as_float(images), axis=(1, 2, 3)) - self.dimensions * math.log(self.grey_levels)
        return self.level + uniform + self.spread * ops.sum(noise, axis=-1)


@pytest.fixture(scope="module")
def built():
    """The models by name: nothing here writes to their weights."""
    return {}


@pytest.fixture
def model(perturb, images, built):
    """A small model of the digits with weights that are not the initial ones."""

    def build(name):
        if name not in built:
            model = build_model(CONFIGURATIONS[name], (8, 8, 1), 17)
            model.initialise(images)
            built[name] = perturb(model, scale=0.1)
        return built[name]

    return build


@pytest.fixture(scope="module")
def programs():
    """Programs by model."""
    return {}


@pytest.fixture
def judge(programs):
    """:func:`log_likelihood` by one program of a model: most of its time is compiling one."""

    def judged(model, *arguments, **options):
        program = programs.setdefault(id(model), (model, likelihood_program(model)))[1]
        return log_likelihood(model, *arguments, program=program, **options)

    return judged


def judged(bound):
    """Images of four dimensions with these bounds."""
    values = np.array([bound])
    nothing = np.full_like(values, np.nan)
    return LogLikelihood(np.array([1]), values, nothing, nothing[0], 4, bound_of(Toy(), 1), np.ones(1), 1, 0.0)


def stated_noise(model, n, k, seed):
    """(k, n, ...): the noise of image i is a Philox stream keyed by (seed, i)."""
    key = derive_seed(seed, "posterior noise")
    shape = (k, *model.posterior_noise_shape)
    streams = (np.random.Generator(np.random.Philox(key=(key, i))) for i in range(n))
    return np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams], axis=1)


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.slow_on_jax
def test_the_bound_is_the_log_mean_exp_of_the_weights_under_the_stated_noise(model, images, name):
    model, images = model(name), images[:5]
    log_weights = np.asarray(model.log_weights(images, stated_noise(model, 5, 6, seed=3)), dtype=np.float64)
    direct = logsumexp(log_weights, axis=0) - math.log(6)
    assert np.ptp(log_weights, axis=0).min() > 0.01
    np.testing.assert_allclose(log_likelihood(model, images, 6, seed=3).bound, direct, rtol=1e-5)


@pytest.mark.parametrize(("rows", "values"), [(1, 2**21), (4, 2**21), (5, 2**21), (1024, 64), (1024, 64 * 7)])
def test_the_bound_is_the_same_for_every_batch_size(model, judge, images, monkeypatch, rows, values):
    model, images = model("vae"), images[:7]
    expected = judge(model, images, 6, seed=0).bound
    monkeypatch.setattr(likelihood, "ROWS_PER_BATCH", rows)
    monkeypatch.setattr(likelihood, "VALUES_PER_BATCH", values)
    np.testing.assert_allclose(judge(model, images, 6, seed=0).bound, expected, rtol=2e-6)


@pytest.mark.parametrize("family", ["vae", pytest.param("glow", marks=pytest.mark.slow_on_jax)])
# JAX alone cuts batches into pieces that fit the cache.
@pytest.mark.parametrize("cache_bytes", [2**20, 2**10] if os.environ["KERAS_BACKEND"] == "jax" else [2**20])
def test_the_program_computes_what_the_model_does(model, images, family, cache_bytes, monkeypatch):
    monkeypatch.setattr(bench.runtime.sharding, "CACHE_BYTES", cache_bytes)
    model = model(family)
    noise = np.random.default_rng(0).standard_normal((6, 4, *model.posterior_noise_shape), dtype=np.float32)
    found = likelihood_program(model).run(images[:6], noise)
    expected = np.asarray(model.log_weights_by_image(images[:6], noise))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_program_serves_batches_of_several_shapes(model, images):
    model = model("vae")
    program = likelihood_program(model)
    for n, k in ((6, 4), (3, 2), (6, 4), (1, 1)):
        found = log_likelihood(model, images[:n], k, seed=0, program=program).bound
        direct = log_likelihood(model, images[:n], k, seed=0, program=likelihood_program(model)).bound
        np.testing.assert_allclose(found, direct, rtol=2e-6)


def test_a_program_only_reads_the_weights(model, images):
    """One that fails for want of memory would else take them with it: JAX can hand them over to the device."""
    model = model("vae")
    before = [variable.value for variable in model.variables]
    log_likelihood(model, images[:5], 4, seed=0, program=likelihood_program(model))
    assert all(variable.value is value for variable, value in zip(model.variables, before, strict=True))


def test_an_image_is_judged_by_itself_whatever_stands_beside_it(model, judge, images):
    model = model("vae")
    among_others = judge(model, images[:6], 4, seed=0).bound
    others = np.concatenate([images[:2], images[20:24]])
    np.testing.assert_allclose(judge(model, others, 4, seed=0).bound[:2], among_others[:2], rtol=2e-6)
    np.testing.assert_allclose(judge(model, images[:1], 4, seed=0).bound, among_others[:1], rtol=2e-6)


def test_kept_noise_is_that_of_the_images_own_streams(model, judge, images):
    """Whether all samples of an image are drawn at once, and kept for the next evaluation, or one after the other."""
    model = model("vae")
    at_once = [judge(model, images[:5], 4, seed=0).bound for _ in range(2)]
    one_by_one = judge(model, images[:5], 4, seed=0, samples_at_once=1).bound
    np.testing.assert_array_equal(*at_once)
    np.testing.assert_allclose(one_by_one, at_once[0], rtol=2e-6)


def test_noise_is_kept_whatever_the_number_of_batches(model, judge, images, monkeypatch):
    model = model("vae")
    monkeypatch.setattr(likelihood, "ROWS_PER_BATCH", 2)
    many = images[np.arange(40) % len(images)]
    first = judge(model, many, 1, seed=5).bound
    drawn = likelihood._only_noise.cache_info().misses
    np.testing.assert_array_equal(judge(model, many, 1, seed=5).bound, first)
    assert likelihood._only_noise.cache_info().misses == drawn


def test_the_seed_alone_decides_the_noise(model, judge, images):
    model = model("vae")
    first, again, other = (judge(model, images[:4], 2, seed=seed).bound for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@pytest.mark.parametrize("level", [-1e4, 0.0, 1e4])
def test_weights_far_outside_the_range_of_floats_are_averaged_exactly(monkeypatch, level):
    toy = Toy()
    toy.level, toy.spread = level, 10.0
    monkeypatch.setattr(likelihood, "ROWS_PER_BATCH", 4)
    sums = stated_noise(toy, 3, 12, seed=0).sum(axis=-1, dtype=np.float64)  # (k, n)
    expected = level - 4 * math.log(4) + logsumexp(10 * sums, axis=0) - math.log(12)
    found = log_likelihood(toy, np.zeros((3, 2, 2, 1), np.uint8), 12, seed=0).bound
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_a_uniform_model_needs_log2_q_bits_per_dimension():
    bits, nats = log_likelihood(Toy(), np.zeros((5, 2, 2, 1), np.uint8), 3, seed=0).measurements("test")
    assert bits.value == pytest.approx(2.0, abs=1e-6)
    assert nats.value == pytest.approx(4 * math.log(4), abs=1e-5)
    assert (bits.key, nats.key, bits.n, nats.n) == ("test/bits_per_dim", "test/nll_nats", 5, 5)


def test_the_bound_rises_with_the_number_of_samples_on_average(model, judge, images):
    model = model("vae")
    by_samples = [judge(model, images, k, seed=0).bound.mean() for k in (1, 4, 16, 64)]
    assert all(later > earlier for earlier, later in pairwise(by_samples)), by_samples


def test_the_standard_error_is_that_of_the_mean_over_images():
    measured = judged([-1.0, -2.0, -6.0]).measurements("test")
    deviation = math.sqrt((2**2 + 1**2 + 3**2) / 2)
    bits, nats = measured
    assert (nats.value, nats.standard_error) == pytest.approx((3.0, deviation / math.sqrt(3)))
    assert bits.standard_error == pytest.approx(nats.standard_error / (4 * math.log(2)))


def test_one_image_has_no_standard_error():
    measured = judged([-1.0]).measurements("test")
    assert [row.standard_error for row in measured] == [None, None]


def test_the_monte_carlo_error_is_the_spread_over_seeds():
    toy = Toy()
    toy.spread = 0.5
    images = np.zeros((6, 2, 2, 1), np.uint8)
    program = likelihood_program(toy)
    runs = [log_likelihood(toy, images, 64, seed=seed, program=program) for seed in range(100)]
    for level in (-1, 2):
        spread = np.std([run.bounds[level] for run in runs], axis=0, ddof=1)
        stated = np.mean([run.monte_carlo_errors[level] for run in runs], axis=0)
        # The standard deviation of 100 draws is known to 7 %.
        np.testing.assert_allclose(stated, spread, rtol=0.3)
    means = [run.measurements("test")[1] for run in runs]
    assert np.mean([m.monte_carlo_error for m in means]) == pytest.approx(np.std([m.value for m in means]), rel=0.25)
    bits, nats = runs[0].measurements("test")
    assert bits.monte_carlo_error == pytest.approx(nats.monte_carlo_error / (4 * math.log(2)))


def test_one_sample_has_no_monte_carlo_error():
    measured = log_likelihood(Toy(), np.zeros((3, 2, 2, 1), np.uint8), 1, 0)
    assert np.isnan(measured.monte_carlo_error).all()
    assert [row.monte_carlo_error for row in measured.measurements("test")] == [None, None]


@pytest.mark.slow_on_jax
def test_the_bound_against_the_number_of_samples_comes_from_the_same_weights(model, judge, images):
    model = model("vae")
    log_weights = np.asarray(model.log_weights(images[:3], stated_noise(model, 3, 6, seed=1)), dtype=np.float64)
    found = judge(model, images[:3], 6, seed=1)
    assert found.samples.tolist() == [1, 2, 4, 6]
    by_pairs = (logsumexp(log_weights.reshape(3, 2, 3), axis=1) - math.log(2)).mean(axis=0)
    expected = [log_weights.mean(axis=0), by_pairs, logsumexp(log_weights[:4], axis=0) - math.log(4), found.bound]
    np.testing.assert_allclose(found.bounds, expected, rtol=1e-5)
    table = found.table_by_samples()
    assert table["importance_samples"].tolist() == [1, 2, 4, 6]
    assert table["bits_per_dim"].iloc[-1] == pytest.approx(found.measurements("test")[0].value)
    assert table["monte_carlo_error"].notna().tolist() == [True, True, False, True]
    shares = np.exp(log_weights - logsumexp(log_weights, axis=0))
    np.testing.assert_allclose(found.effective_sample_size, 1 / np.sum(shares**2, axis=0), rtol=1e-4)


def test_the_table_by_image_has_the_bound_of_each(model, judge, images):
    found = judge(model("vae"), images[:5], 4, seed=0)
    table = found.table_by_image()
    assert list(table) == TABLES["likelihood_by_image"]
    np.testing.assert_array_equal(table["bound_nats"], found.bound)
    assert table["image"].tolist() == list(range(5))


def test_more_weights_than_are_held_at_once_are_cut_by_images(monkeypatch):
    toy = Toy()
    toy.spread = 1.0
    images = np.zeros((5, 2, 2, 1), np.uint8)
    expected = log_likelihood(toy, images, 12, seed=0).bounds
    monkeypatch.setattr(likelihood, "WEIGHTS_AT_ONCE", 24)
    np.testing.assert_allclose(log_likelihood(toy, images, 12, seed=0).bounds, expected, rtol=1e-6)


def test_an_image_without_any_probability_has_an_infinite_bound():
    toy = Toy()
    toy.level = -np.inf
    found = log_likelihood(toy, np.zeros((2, 2, 2, 1), np.uint8), 4, seed=0)
    assert np.all(found.bound == -np.inf)
    assert np.isnan(found.effective_sample_size).all()


@pytest.mark.slow_on_jax
def test_each_family_states_which_bound_it_is(model):
    bounds = {name: bound_of(model(name), 8) for name in CONFIGURATIONS}
    assert {name: (b.kind, b.importance_samples, b.dequantisation) for name, b in bounds.items()} == {
        "vae": (BoundKind.IMPORTANCE_WEIGHTED, 8, "none"),
        "glow": (BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION, 8, "uniform"),
        "variational": (BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION, 8, "variational"),
    }


def test_the_speed_leaves_out_the_first_batch_which_compiles(monkeypatch):
    monkeypatch.setattr(likelihood, "ROWS_PER_BATCH", 4)
    toy = Toy()
    found = log_likelihood(toy, np.zeros((8, 2, 2, 1), np.uint8), 4, 0)
    assert len(found.rates) == 7
    assert np.all(found.rates > 0)
    single = np.zeros((1, 2, 2, 1), np.uint8)
    assert len(log_likelihood(toy, single, 4, 0).rates) == 1


@pytest.mark.parametrize(("timed", "calls"), [(False, 1), (True, 2)])
def test_a_single_batch_is_computed_again_where_its_speed_counts(timed, calls):
    class Slow:
        """A program that takes longer the first time."""

        made = 0

        def run(self, images, noise):
            self.made += 1
            time.sleep(0.05 if self.made == 1 else 0.005)
            return np.zeros(noise.shape[:2])

    program = Slow()
    found = log_likelihood(Toy(), np.zeros((2, 2, 2, 1), np.uint8), 4, 0, program=program, timed=timed)
    assert program.made == calls
    if timed:
        assert 100 < found.rates[0] < 8 / 0.005
        assert found.compile_seconds > 0.02


def test_progress_counts_log_weights_up_to_their_total(monkeypatch):
    monkeypatch.setattr(likelihood, "ROWS_PER_BATCH", 4)
    seen = []
    log_likelihood(Toy(), np.zeros((5, 2, 2, 1), np.uint8), 6, 0, on_progress=lambda *progress: seen.append(progress))
    assert seen[-1] == (30, 30)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


class Cramped:
    """A program that a device has room for only up to so many log-weights at once, from one of its calls on."""

    def __init__(self, program, most, error, roomy_calls=0):
        self.program, self.most, self.error, self.roomy_calls = program, most, error, roomy_calls
        self.asked = []

    def run(self, images, noise):
        self.asked.append((len(images), noise.shape[1]))
        if len(images) * noise.shape[1] > self.most and len(self.asked) > self.roomy_calls:
            raise self.error
        return self.program.run(images, noise)


NO_ROOM = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1234 bytes.")


@pytest.mark.parametrize(("most", "sizes"), [(20, [(5, 6), (2, 6)]), (6, [(5, 6), (2, 6), (1, 6)]), (1, None)])
def test_what_there_is_no_room_for_is_computed_in_smaller_batches_to_the_same_bound(
    model, judge, programs, images, caplog, most, sizes
):
    model, images = model("vae"), images[:5]
    expected = judge(model, images, 6, seed=0)
    _, program = programs[id(model)]
    cramped, seen = Cramped(program, most, NO_ROOM), []
    found = log_likelihood(model, images, 6, 0, cramped, lambda *progress: seen.append(progress))
    np.testing.assert_allclose(found.bounds, expected.bounds, rtol=2e-6)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (len(set(cramped.asked)) - 1)
    assert "out of memory with 5 images of 6 samples at once: repeated with 2 images of 6 samples" in caplog.messages
    assert list(dict.fromkeys(cramped.asked)) == sizes or most == 1
    assert math.prod(cramped.asked[-1]) <= most
    assert found.batch_size == math.prod(cramped.asked[-1])
    assert seen[-1] == (30, 30)


def test_images_that_were_done_before_the_memory_ran_out_are_not_done_again(model, images, monkeypatch):
    monkeypatch.setattr(likelihood, "ROWS_PER_BATCH", 12)
    model, images = model("vae"), images[:8]
    program = likelihood_program(model)
    cramped = Cramped(program, 6, NO_ROOM, roomy_calls=3)
    found = log_likelihood(model, images, 6, seed=0, program=cramped)
    assert cramped.asked == [(2, 6)] * 4 + [(1, 6)] * 2
    np.testing.assert_allclose(found.bound, log_likelihood(model, images, 6, 0, program).bound, rtol=2e-6)
    assert len(found.rates) == 1


def test_a_single_weight_that_there_is_no_room_for_is_an_error(model, images):
    cramped = Cramped(None, 0, NO_ROOM)
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        log_likelihood(model("vae"), images[:5], 6, 0, cramped)
    assert cramped.asked[-1] == (1, 1)


def test_another_error_is_not_tried_again(model, images):
    cramped = Cramped(None, 0, RuntimeError("INVALID_ARGUMENT: no such thing"))
    with pytest.raises(RuntimeError, match="INVALID_ARGUMENT"):
        log_likelihood(model("vae"), images[:5], 6, 0, cramped)
    assert len(cramped.asked) == 1


def test_a_batch_that_was_made_smaller_is_timed_warm_too(monkeypatch):
    monkeypatch.setattr(likelihood, "ROWS_PER_BATCH", 2)
    cramped = Cramped(likelihood_program(Toy()), 1, NO_ROOM, roomy_calls=1)
    found = log_likelihood(Toy(), np.zeros((3, 2, 2, 1), np.uint8), 1, 0, cramped, timed=True)
    assert cramped.asked == [(2, 1), (2, 1), (1, 1), (1, 1)]
    assert len(found.rates) == 1


@pytest.mark.slow_on_jax
def test_an_exact_likelihood_is_computed_once_and_says_so(images, perturb):
    model = build_model(AutoregressiveConfig(hidden_channels=6, blocks=1), (8, 8, 1), 17)
    model.initialise(images)
    perturb(model, scale=0.1)
    done = []
    found = log_likelihood(model, images[:5], 256, seed=0, on_progress=lambda *progress: done.append(progress))
    np.testing.assert_allclose(found.bound, np.asarray(model.log_prob(images[:5])), rtol=1e-5)
    assert found.kind == Bound(BoundKind.EXACT, 1)
    assert str(found.kind) == "exact log-likelihood"
    assert done[-1] == (5, 5)
    assert found.samples.tolist() == [1]
    assert found.monte_carlo_error.tolist() == [0.0] * 5
    assert found.effective_sample_size.tolist() == [1.0] * 5
    assert found.tightness("test") == []
    assert [row.monte_carlo_error for row in found.measurements("test")] == [0.0, 0.0]
    assert len(found.table_by_samples()) == 1
